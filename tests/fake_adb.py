"""A stand-in for `adb` and its server: devices and their properties in; an `adb` on PATH that answers as documented out.

It answers `adb version`, `adb devices -l` (in the columns of adb's source, transport.cpp) and `adb -s SERIAL shell …`, where `getprop`
gives the properties of that device. A thread answers `host:version` at the server's port.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPT = """#!/bin/sh
here={folder}
printf '%s\\n' "$*" >> "$here/asked"
case $1 in
    version) echo 'Android Debug Bridge version 1.0.41' ;;
    devices) cat "$here/devices" ;;
    -s)
        props=$here/$2
        shift 3
        [ -e "$props" ] || {{ echo 'error: device not found' >&2; exit 1; }}
        getprop() {{ sed -n "s/^$1=//p" "$props"; }}
        eval "$*" ;;
    *) exit 1 ;;
esac
"""


class FakeAdb:
    """What is attached; its files are read anew at each call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "adb").write_text(SCRIPT.format(folder=folder))
        (folder / "adb").chmod(0o755)
        self.lines = ["List of devices attached"]
        self.write()

    def write(self) -> None:
        (self.folder / "devices").write_text("\n".join(self.lines) + "\n\n")

    def attach(self, serial: str, state: str = "device", model: str = "", soc: str = "", silent: bool = False) -> None:
        """One device more; a silent one is listed with its model, and does not answer."""
        known = f" product:x model:{model.replace(' ', '_')} device:x" if model else ""
        self.lines.append(f"{serial:<22} {state} usb:1-1{known} transport_id:{len(self.lines)}")
        self.write()
        if state == "device" and not silent:
            (self.folder / serial).write_text(f"ro.product.model={model}\nro.soc.model={soc}\n")

    @property
    def asked(self) -> list[str]:
        """The command lines so far."""
        log = self.folder / "asked"
        return log.read_text().splitlines() if log.exists() else []


@contextmanager
def server_that_answers() -> Iterator[int]:
    """The port of an adb server that tells its version (41)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(64)
                    connection.sendall(b"OKAY00040029")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def fake_adb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAdb]:
    """An `adb` first on PATH, and a server for it."""
    with server_that_answers() as port:
        made = FakeAdb(folder)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        for name in ("ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS", "ANDROID_SERIAL"):
            monkeypatch.delenv(name, raising=False)
        yield made


def no_adb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without `adb`."""
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
