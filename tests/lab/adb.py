"""Genuine adb and adbd out of Debian's packages, and our own daemon for faults: `with genuine() as device:` gives an address for edgekit.

The genuine daemon listens on every address, so it lives in a network namespace of its own with a forwarder at its door on 127.0.0.1.
The adb server has a private port and a private home: nobody's keys are read, and nobody's server or devices are touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.errors import SetupError
from edgekit.lab.packages import unpacked
from tests.conftest import missing
from tests.lab.sshd import free_port, listens, wait_until

START_S = 10.0
FORWARD = Path(__file__).with_name("forward.py")
ADBD = Path(__file__).with_name("adbd.py")
PROPERTIES = {"ro.product.model": "edgekit lab", "ro.product.name": "lab", "ro.product.device": "lab"}


@dataclass
class AdbServer:
    """A private adb server; `environment` is what its clients need."""

    home: Path
    port: int = field(default_factory=free_port)

    @property
    def environment(self) -> dict[str, str]:
        return {"ANDROID_ADB_SERVER_PORT": str(self.port), "HOME": str(self.home), "ANDROID_USER_HOME": str(self.home), "ADB_MDNS": "0"}

    def adb(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run(["adb", *argv], env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=30)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def devices(self) -> str:
        return self.adb("devices", check=False)

    def kill(self) -> None:
        if listens(self.port):
            self.adb("kill-server", check=False)


@dataclass
class Device:
    """A daemon that adb can connect to."""

    port: int
    folder: Path  # of its own, writable there
    argv: list[str]
    server: AdbServer
    listening: socket.socket | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"adb:{self.serial}"

    @property
    def log(self) -> str:
        return (self.folder.parent / "log").read_text(errors="replace")

    def start(self) -> None:
        environment = {**os.environ, "TMPDIR": str(self.folder)}
        handed = () if self.listening is None else (self.listening.fileno(),)
        with (self.folder.parent / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment, pass_fds=handed, cwd=self.folder
            )
        if self.listening is None:
            wait_until(lambda: listens(self.port), START_S)

    def attach(self) -> None:
        """Have the private server connect to it, and wait until it is in order."""
        deadline = time.monotonic() + START_S
        while f"{self.serial}\tdevice" not in self.server.devices():
            assert time.monotonic() < deadline, self.log
            self.server.adb("connect", self.serial, check=False)
            time.sleep(0.1)

    def kill(self) -> None:
        """End the daemon and all that runs under it, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def drop(self) -> None:
        """End adb's connection to it; the daemon goes on."""
        self.server.adb("disconnect", self.serial, check=False)


@contextlib.contextmanager
def adb_server() -> Iterator[AdbServer]:
    """A private place for an adb server; the first client starts it. Set `environment` for what shall use it."""
    if shutil.which("adb") is None:
        missing("adb", "sudo apt-get install adb")
    with tempfile.TemporaryDirectory(prefix="edgekit-adb-") as home:
        server = AdbServer(Path(home))
        try:
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def genuine(server: AdbServer) -> Iterator[Device]:
    """Android's own adbd, as root, with this machine's shell and files, in network and process namespaces of its own."""
    if os.geteuid() != 0:
        missing("the right to make a network namespace", "run the tests as root")
    try:
        files = unpacked(["adbd"], "amd64")
    except SetupError as exc:
        missing("adbd", str(exc))
    libraries = files / "usr/lib/x86_64-linux-gnu"
    daemon = [
        str(libraries / "ld-linux-x86-64.so.2"),
        "--library-path",
        f"{libraries}:{libraries / 'android'}",
        str(files / "usr/lib/android-sdk/platform-tools/adbd"),
    ]
    with tempfile.TemporaryDirectory(prefix="edgekit-adbd-") as scratch, socket.create_server(("127.0.0.1", 0)) as listening:
        folder = Path(scratch, "data")
        folder.mkdir()
        apart = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        argv = [*apart, sys.executable, "-I", str(FORWARD), str(listening.fileno()), *daemon]
        with started(Device(listening.getsockname()[1], folder, argv, server, listening)) as device:
            yield device


@contextlib.contextmanager
def faulty(server: AdbServer, options: Sequence[str] = ()) -> Iterator[Device]:
    """Our own daemon; `options` are those of adbd.py."""
    with tempfile.TemporaryDirectory(prefix="edgekit-adbd-") as scratch:
        folder, port = Path(scratch, "data"), free_port()
        folder.mkdir()
        with started(Device(port, folder, [sys.executable, "-I", str(ADBD), "--port", str(port), *options], server), "--no-attach" in options) as device:
            yield device


@contextlib.contextmanager
def started(device: Device, detached: bool = False) -> Iterator[Device]:
    device.start()
    try:
        if not detached:
            device.attach()
        yield device
    finally:
        device.drop()
        device.kill()
