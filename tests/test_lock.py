"""One device, one edgekit: refused while another lives, free as soon as it does not; under each shell, and over SSH."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from edgekit.deliver import Delivery
from edgekit.errors import AgentError, DeviceError
from edgekit.hold import Hold
from edgekit.lock import Holder, age_text, in_use, lock
from edgekit.transport import Transport, connect
from tests.lab.adb import adb_server, genuine
from tests.lab.shells import SHELLS, programs
from tests.lab.sshd import sshd, wait_until

MINE, OTHERS = Holder("ml@laptop", "edgekit deploy", 1234), Holder("ci@runner", "edgekit bench", 77)
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip() if Path("/proc/sys/kernel/random/boot_id").exists() else "none"


@pytest.fixture(params=SHELLS)
def device(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
    monkeypatch.setenv("PATH", str(programs(request.param, tmp_path / "programs")))
    with connect("local:") as transport:
        yield transport


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path / "it's a root"


def written(root: Path, boot: str, pid: int, born: str) -> Path:
    """A lock as its holder would have written it."""
    (root / "lock").mkdir(parents=True)
    (root / "lock" / "info").write_text(f"{boot} {pid} 5 0123456789abcdef\n{born}\n{OTHERS.line}\n")
    return root / "lock"


def born(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]


def free(transport: Transport, root: Path) -> bool:
    try:
        with lock(transport, str(root), OTHERS):
            return True
    except DeviceError as exc:
        assert "in use by" in str(exc)  # noqa: PT017
        return False


def test_the_second_is_refused_by_name_and_age_until_the_first_is_done(device: Transport, root: Path) -> None:
    with lock(device, str(root), MINE):
        words = r"^local: in use by ml@laptop since \d s \(edgekit deploy\): wait until it is done, or end process 1234 on laptop$"
        with pytest.raises(DeviceError, match=words), lock(device, str(root), OTHERS):
            pytest.fail("both hold it")
        assert [path.name for path in root.iterdir()] == ["lock"]
    assert not root.exists()
    with lock(device, str(root), OTHERS) as held:
        assert held.alive


def test_what_else_is_in_the_folder_stays(device: Transport, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(root))
    delivery = Delivery.open(device)
    with lock(device, delivery.root, MINE):
        pass
    assert sorted(path.name for path in root.iterdir()) == ["blobs", "jobs", "trees"]


def test_of_many_at_once_one_gets_it(device: Transport, root: Path) -> None:
    holders: list[AbstractContextManager[Hold]] = []

    def take(number: int) -> bool:
        taken = lock(device, str(root), Holder(f"user{number}@laptop", "edgekit deploy", number))
        try:
            taken.__enter__()
        except DeviceError as exc:
            assert re.search(r"in use by user\d@laptop", str(exc))  # noqa: PT017
            return False
        holders.append(taken)
        return True

    for stale in (False, True):
        if stale:
            written(root, "another boot", os.getpid(), born(os.getpid()))
        with ThreadPoolExecutor(6) as threads:
            assert sum(threads.map(take, range(6))) == 1
        assert [path.name for path in root.iterdir()] == ["lock"]
        holders.pop().__exit__(None, None, None)
        assert not root.exists()


@pytest.mark.parametrize("stale", ["boot", "dead", "reused", "nonsense", "empty"])
def test_a_lock_of_another_boot_or_a_dead_process_is_nobodys(device: Transport, root: Path, stale: str) -> None:
    me = os.getpid()
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    if stale in ("nonsense", "empty"):
        written(root, BOOT, me, born(me)).joinpath("info").write_bytes(b"\xff\n\0" if stale == "nonsense" else b"")
    else:
        pid = dead.pid if stale == "dead" else me
        written(root, "0b5d9c1e-0000-4000-8000-000000000000" if stale == "boot" else BOOT, pid, "1" if stale == "reused" else born(me))
    with lock(device, str(root), MINE):
        assert not free(device, root)
    assert not root.exists()


def test_no_clock_counts(device: Transport, root: Path) -> None:
    """A living holder's lock is held, whatever the times of its files say."""
    me = os.getpid()
    held = written(root, BOOT, me, born(me))
    for moment in (0, 4_000_000_000):
        os.utime(held / "info", (moment, moment))
        os.utime(held, (moment, moment))
        assert not free(device, root)
    uptime = int(float(Path("/proc/uptime").read_text().split()[0]))
    with pytest.raises(DeviceError, match=f"in use by ci@runner since ({re.escape(age_text(uptime - 5))}|{re.escape(age_text(uptime - 4))}) "):
        with lock(device, str(root), MINE):
            pytest.fail("both hold it")


@pytest.mark.slow
def test_a_taker_that_died_half_way_is_passed(root: Path) -> None:
    (written(root, "another boot", 1, "1") / "taking").mkdir()
    with connect("local:") as here:
        assert free(here, root)


@pytest.mark.parametrize("how", ["host", "device"])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_killed_holder_leaves_no_lock(shell: str, how: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"""
import time
from edgekit.lock import Holder, lock
from edgekit.transport import connect
with lock(connect("local:"), {str(root)!r}, Holder.here("edgekit deploy")):
    print("held", flush=True)
    time.sleep(60)
"""
    monkeypatch.setenv("PATH", str(programs(shell, tmp_path / "programs")))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen([sys.executable, "-c", program], env=env, stdout=subprocess.PIPE) as host, connect("local:") as here:
        assert host.stdout is not None
        assert host.stdout.readline() == b"held\n"
        assert not free(here, root)
        there = int((root / "lock" / "info").read_text().split()[1])
        os.kill(host.pid if how == "host" else there, signal.SIGKILL)
        wait_until(lambda: free(here, root))
        host.kill()
    assert not root.exists()


def test_a_folder_that_cannot_be_made_is_said(device: Transport, root: Path) -> None:
    root.touch()
    with pytest.raises(DeviceError, match=r"^local: cannot be held for this run alone \(.*(Not a directory|File exists).*\): correct that"):
        with lock(device, str(root), MINE):
            pytest.fail("nothing is held")


def test_a_device_that_answers_garbage_is_said(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").write_text("#!/bin/bash\necho 'held? perhaps'\n")
    (tmp_path / "bin" / "sh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with connect("local:") as here, pytest.raises(AgentError, match="its half of the lock said 'held\\? perhaps'"), lock(here, str(root), MINE):
        pytest.fail("nothing is held")


def test_words() -> None:
    assert Holder.read(MINE.line) == MINE
    assert Holder.read(Holder("naïve\t\x1b[1m@x", "two\nlines", None).line) == Holder("na?ve?[1m@x", "two?lines", None)
    assert Holder.read("\x1b[1mnonsense") == Holder("somebody", "edgekit", None)
    assert in_use(MINE, 245) == "in use by ml@laptop since 4 min (edgekit deploy): wait until it is done, or end process 1234 on laptop"
    assert in_use(Holder.read(""), None) == "in use by somebody (edgekit): wait until it is done, or end it there"
    assert [age_text(age_s) for age_s in (0, 119, 120, 7199, 7200, 172_800)] == ["0 s", "119 s", "2 min", "119 min", "2 h", "2 days"]
    assert Holder.here("edgekit bench").pid == os.getpid()


@pytest.mark.lab
def test_over_ssh_a_lost_connection_lets_the_next_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sshd() as server:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
        for lose in (server.drop, server.restart):
            with connect("ssh:bench") as first, connect("ssh:bench") as second:
                root = Path(Delivery.open(first).root)
                with lock(first, str(root), MINE) as held:
                    assert not free(second, root)
                    pid = int(first.run(["sh", "-c", f"read -r boot pid rest <{shlex.quote(str(root))}/lock/info; echo $pid"], timeout_s=10).stdout)
                    assert Path(f"/proc/{pid}").exists()
                    lose()
                    with connect("ssh:bench") as third:
                        wait_until(lambda now=third, there=root: free(now, there))  # type: ignore[misc]
                    assert held.alive  # heard of with the next beat


@pytest.mark.lab
@pytest.mark.slow
def test_a_holder_hears_that_it_holds_no_more(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sshd() as server:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
        with connect("ssh:bench") as device, lock(device, f"{server.home}/root", MINE) as held:
            server.drop()
            wait_until(lambda: held.lost is not None, 15)
            assert "connection was lost" in str(held.lost)


@pytest.mark.lab
def test_over_adb_a_lost_connection_lets_the_next_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with adb_server() as server, genuine(server) as phone:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with connect(phone.address) as first:
            root = phone.folder / "root"
            with lock(first, str(root), MINE):
                with connect(phone.address) as second:
                    assert not free(second, root)
                phone.drop()
                phone.attach()
                with connect(phone.address) as third:
                    wait_until(lambda: free(third, root))
