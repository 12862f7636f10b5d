"""A genuine daemon behind a wire in, a device out that faults can be done to, over SSH and over ADB alike."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekit.places import cache_dir
from edgekit.records import Run, Variant
from edgekit.store import open_store
from tests.lab.adb import adb_server, genuine
from tests.lab.cli import EDGEKIT, Said, edgekit
from tests.lab.sshd import end_processes_of, sshd, wait_until
from tests.lab.wire import Wire, wire

TOLD_BYTES = 5000
"""What an agent has written once it told latencies, and not before."""
ON_ITS_WAY_S = 0.2
"""What a daemon takes to carry what an agent has written."""
SHELLS = ("sh", "dash", "bash", "busybox")


@dataclass
class Ill:
    """A device, and what can happen to it."""

    address: str
    root: Path
    """Where edgekit keeps its files there."""
    wire: Wire
    environment: dict[str, str]
    """What edgekit needs to reach it."""
    power_off: Callable[[], None]
    power_on: Callable[[], None]
    """Also: plug in again."""
    daemon: Callable[[], int] = int
    """The process id of what serves there; all that runs there comes from it."""

    def agents(self) -> list[int]:
        """The process ids of the agents that run there."""
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and self.is_job((folder / "cmdline").read_bytes()) and os.readlink(folder / "exe").rpartition("/")[2] not in SHELLS:
                    found.append(int(folder.name))
        return found

    def is_job(self, cmdline: bytes) -> bool:
        return any(word.startswith(f"{self.root}/jobs/") and word.endswith("/job") for word in cmdline.decode(errors="replace").split("\0"))

    def measuring(self) -> bool:
        """Whether an agent has told latencies that it measured; one that has made outputs checks a file."""
        for pid in self.agents():
            with contextlib.suppress(OSError, ValueError):  # it ends meanwhile
                io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
                (folder,) = [word for word in Path(f"/proc/{pid}/cmdline").read_text().split("\0") if word.endswith("/job")]
                if int(io["wchar"]) > TOLD_BYTES and not Path(folder, "0.npy").exists():
                    return True
        return False

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Its agents stand still in the block; whether one of them was measuring, and what it told until then is on its way."""
        self.signal(signal.SIGSTOP)
        try:
            time.sleep(ON_ITS_WAY_S)
            yield self.measuring()
        finally:
            self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        for pid in self.agents():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def jobs(self) -> list[Path]:
        """What jobs have left there."""
        return list((self.root / "jobs").glob("*"))

    def edgekit(self, *argv: object, **env: str) -> Said:
        return edgekit(*argv, "--target", self.address, **self.environment, **env)

    @contextlib.contextmanager
    def begun(self, *argv: object) -> Iterator[Begun]:
        """A command that runs meanwhile; killed at the end of the block if it still does."""
        words = [str(EDGEKIT), *(str(word) for word in argv), "--target", self.address]
        environment = {**os.environ, "COLUMNS": "200", **self.environment}
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
            try:
                yield Begun(process)
            finally:
                process.kill()


class Ended(Exception):
    """A command ended before what a test waited for."""


@dataclass
class Begun:
    """A command that runs."""

    process: subprocess.Popen[str]

    def end(self, timeout_s: float = 120) -> Said:
        """What it said, once it has ended by itself."""
        stdout, stderr = self.process.communicate(timeout=timeout_s)
        assert "Traceback" not in stderr, stderr
        return Said(self.process.returncode, stdout, stderr)

    def wait(self, true: Callable[[], object], timeout_s: float = 60) -> None:
        """Wait until it is so; raises `Ended` if the command ends before."""

        def so() -> object:
            if self.process.poll() is not None:
                raise Ended(*self.process.communicate())
            return true()

        wait_until(so, timeout_s)


@contextlib.contextmanager
def over_ssh(*options: str) -> Iterator[Ill]:
    """A user of a genuine sshd; `options` are further lines of its configuration."""
    with sshd(*options) as server, wire(server.port) as line:
        known = server.known_hosts.read_text()
        server.known_hosts.write_text(known + known.replace(f":{server.port} ", f":{line.port} "))
        environment = {"EDGEKIT_SSH_CONFIG": str(server.config)}

        def power_off() -> None:
            server.kill()
            end_processes_of(pwd.getpwnam(server.user).pw_uid)

        def power_on() -> None:
            line.mend()
            if server.process is None:
                server.start()

        yield Ill(
            f"ssh:{server.user}@127.0.0.1:{line.port}",
            server.home / ".cache/edgekit",
            line,
            environment,
            power_off,
            power_on,
            lambda: server.process.pid if server.process else 0,
        )


@contextlib.contextmanager
def over_adb() -> Iterator[Ill]:
    """A genuine adbd, as root."""
    with adb_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            if name != "HOME":
                patch.setenv(name, value)
        with genuine(server) as device, wire(device.port) as line:
            root = device.folder / "cache"
            device.kill()
            server.adb("disconnect", device.serial, check=False)

            def power_on() -> None:
                line.mend()
                if device.process is None:
                    with pytest.MonkeyPatch.context() as its:
                        its.setenv("EDGEKIT_CACHE_DIR", str(root))  # adbd gives its environment to shells
                        device.start()
                serial = f"127.0.0.1:{line.port}"
                server.adb("disconnect", serial, check=False)

                def connected() -> bool:
                    with contextlib.suppress(subprocess.TimeoutExpired):  # a server may wait long for what a broken wire said last
                        server.adb("connect", serial, check=False)
                    return f"{serial}\tdevice" in server.devices()

                wait_until(connected, 100)

            power_on()
            environment = {**server.environment, "EDGEKIT_CACHE_DIR": str(cache_dir())}
            yield Ill(f"adb:127.0.0.1:{line.port}", root, line, environment, device.kill, power_on)


WAYS = {"ssh": over_ssh, "adb": over_adb}


def stored() -> Run | None:
    """The newest run, as far as it is in the store."""
    with open_store() as store:
        return store.get("last") if store.list(1) else None


def whole(run: Run | None) -> Sequence[Variant]:
    """The variants of a run that were measured to their end."""
    return [variant for variant in run.variants if variant.measurement and variant.measurement.complete] if run else []


def cut_short(ill: Ill, argv: Sequence[object], fault: Callable[[Begun], object]) -> Said:
    """What a command says whose device meets a fault while it measures, with one variant measured and another not."""
    for _ in range(5):
        before = stored()
        with ill.begun(*argv) as begun:
            with contextlib.suppress(Ended):  # too fast for us: once more
                begun.wait(lambda: (run := stored()) != before and whole(run))  # noqa: B023
                while True:
                    begun.wait(ill.measuring)
                    with ill.held() as measuring:  # or it may be done before the fault is
                        if measuring:
                            fault(begun)
                            break
                return begun.end()
    raise AssertionError("it was never seen to measure")
