"""What is changed on a device for as long as somebody here wants it: released, lost, killed, silent; under each shell, and over SSH."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.errors import CommandFailed, DeviceError, DeviceTimeout
from edgekit.hold import Hold
from edgekit.transport import Completed, Transport, connect
from tests.lab.adb import adb_server, genuine
from tests.lab.shells import SHELLS, programs
from tests.lab.sshd import sshd, wait_until

# Writes `changed` to a file, and `undone` when it is over.
SCRIPT = 'echo changed >"$1"; echo "ready $$"; while read -r beat; do :; done; echo undone >"$1"; echo "undone $2"'


@pytest.fixture(params=SHELLS)
def device(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
    monkeypatch.setenv("PATH", str(programs(request.param, tmp_path / "programs")))
    with connect("local:") as transport:
        yield transport


@pytest.fixture
def state(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path / "state"


def is_(state: Path, word: str) -> bool:
    return state.exists() and state.read_text() == f"{word}\n"


def gone(process: int) -> bool:
    """Whether a process has ended; whoever inherited it may be slow to notice."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].startswith("Z")
    return True


def session_of(hold: Hold) -> list[int]:
    """The processes of a hold's session there."""
    session = os.getsid(int(hold.said.split()[1]))
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and os.getsid(int(folder.name)) == session:
                found.append(int(folder.name))
    return found


def test_it_lasts_until_it_is_released_and_leaves_no_process(device: Transport, state: Path) -> None:
    with Hold.start(device, SCRIPT, str(state), "it's $HOME") as hold:
        assert hold.said.startswith("ready ")
        assert is_(state, "changed")
        assert hold.alive
        processes = session_of(hold)
        assert len(processes) >= 4
        assert os.getpid() not in processes
    assert is_(state, "undone")
    assert hold.release() == ("undone it's $HOME",)
    assert (hold.alive, hold.code, hold.lost) == (False, 0, None)
    wait_until(lambda: all(gone(process) for process in processes))


def test_a_script_that_fails_before_it_begins_is_said(device: Transport) -> None:
    with pytest.raises(CommandFailed, match=r"^local: a script ended with code 3 before it began: no such governor$"):
        Hold.start(device, "echo no such governor >&2; exit 3")


def test_a_script_that_says_nothing_is_ended(device: Transport, state: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DeviceTimeout, match=r"^local: a script did not begin within 0\.3 s"):
        Hold.start(device, 'while read -r beat; do :; done; echo undone >"$1"', str(state), ready_s=0.3)
    assert time.monotonic() - started < 3
    wait_until(lambda: is_(state, "undone"))


def test_commands_run_beside_it(device: Transport, state: Path) -> None:
    with Hold.start(device, SCRIPT, str(state), "") as hold, Hold.start(device, SCRIPT, f"{state}2", ""):
        assert device.run(["cat", str(state)], timeout_s=10).stdout == "changed\n"
        hold.release()
        assert is_(Path(f"{state}2"), "changed")


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_killed_host_changed_is_undone(shell: str, state: Path, tmp_path: Path) -> None:
    program = f"""
import sys, time
from edgekit.hold import Hold
from edgekit.transport import connect
transport = connect("local:")
Hold.start(transport, {SCRIPT!r}, sys.argv[1], "")
time.sleep(60)
"""
    env = {**os.environ, "PATH": str(programs(shell, tmp_path / "programs")), "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen([sys.executable, "-c", program, state], env=env) as host:
        wait_until(lambda: is_(state, "changed"))
        host.send_signal(signal.SIGKILL)
    wait_until(lambda: is_(state, "undone"))


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "mksh"])  # Android has setsid; macOS has not, but Perl
def test_without_setsid_it_works_all_the_same(shell: str, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = programs(shell, tmp_path / "programs")
    (folder / "setsid").unlink()
    monkeypatch.setenv("PATH", str(folder))
    with connect("local:") as here:
        with Hold.start(here, SCRIPT, str(state), "") as hold:
            assert is_(state, "changed")
            if (folder / "perl").exists():
                assert os.getsid(int(hold.said.split()[1])) != os.getsid(0)
        assert is_(state, "undone")
        assert not hold.alive


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "busybox"])  # which takes no other `sleep` than its own
def test_without_a_beat_for_a_minute_it_ends_by_itself(shell: str, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute is four times fifteen seconds there: `sleep` is replaced by one that is a hundred times as fast."""
    (tmp_path / "fast").mkdir()
    (tmp_path / "fast" / "sleep").write_text(f'#!/bin/sh\n[ "$1" = 15 ] || exit 1\nexec {shutil.which("sleep")} 0.15\n')
    (tmp_path / "fast" / "sleep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'fast'}:{programs(shell, tmp_path / 'programs')}")
    with connect("local:") as here, Hold.start(here, SCRIPT, str(state), "") as hold:  # the next beat comes after ten seconds
        time.sleep(0.3)
        assert is_(state, "changed")
        wait_until(lambda: is_(state, "undone"), 3)
        assert hold.alive  # that it is over is heard with the next beat


def test_a_killed_script_ends_the_hold(device: Transport, state: Path) -> None:
    with Hold.start(device, SCRIPT, str(state), "") as hold:
        processes = session_of(hold)
        os.kill(int(hold.said.split()[1]), signal.SIGKILL)
        wait_until(lambda: all(gone(process) for process in processes))
        assert is_(state, "changed")
    assert hold.code == 137


def test_a_transport_that_cannot_stream_is_said() -> None:
    class Telegraph:
        address = "telegraph:"

        def run(self, *args: object, **kwargs: object) -> Completed:
            raise NotImplementedError

        push = pull = close = __enter__ = __exit__ = run

    with pytest.raises(DeviceError, match=r"^telegraph: commands cannot be kept running over this transport"):
        Hold.start(Telegraph(), SCRIPT)  # type: ignore[arg-type]


@pytest.mark.lab
def test_over_ssh_it_ends_with_the_connection_however_that_ends(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sshd() as server:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
        for way in ("release", "close", "drop", "kill"):
            there = server.home / way
            transport = connect("ssh:bench")
            hold = Hold.start(transport, SCRIPT, str(there), "")
            assert is_(there, "changed")
            assert transport.run(["echo", "beside"], timeout_s=10).stdout == "beside\n"
            processes = session_of(hold)
            {"release": hold.release, "close": transport.close, "drop": server.drop, "kill": server.kill}[way]()
            wait_until(lambda path=there: is_(path, "undone"))  # type: ignore[misc]
            wait_until(lambda left=processes: all(gone(process) for process in left))  # type: ignore[misc]
            if way == "release":
                assert (hold.code, hold.lost) == (0, None)
            hold.release()
            transport.close()


@pytest.mark.lab
def test_over_adb_it_ends_with_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with adb_server() as server, genuine(server) as phone:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for way in (Hold.release, lambda _: phone.drop(), lambda _: server.kill()):
            there = phone.folder / "state"
            with connect(phone.address) as transport, Hold.start(transport, SCRIPT, str(there), "") as hold:
                assert is_(there, "changed")
                assert transport.run(["echo", "beside"], timeout_s=10).stdout == "beside\n"
                way(hold)
                wait_until(lambda path=there: is_(path, "undone"))  # type: ignore[misc]
            phone.attach()
