"""`adb:[SERIAL][@HOST[:PORT]]` in, that device out, over the user's own `adb`; one client process a command, one server for all.

adb's own exit code does not tell a program's from its own, so the shell that starts a command also says how it ended, on a line with
a mark that only this command has. How commands are started and ended there: guard.py. Devices without adb's second shell protocol
(Android 6 and older) take no end of stdin and give one merged stream: there stdin is a file that is pushed first, and stderr one that follows.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import DeviceError, InputError
from edgekit.transport import CONNECT_S
from edgekit.transport.adb_connection import AdbConnection
from edgekit.transport.adb_devices import ADDRESS, Server
from edgekit.transport.adb_push import LOST_S, PUSH_BYTES, push, send
from edgekit.transport.adb_shells import (
    COMMAND_LIMIT_BYTES,
    FIRST_COMMAND_LIMIT_BYTES,
    FIRST_LAUNCH,
    LAUNCH,
    SCRATCH,
    Ending,
    receiver,
    said_by,
    sender,
)
from edgekit.transport.adb_states import choose
from edgekit.transport.guard import wait_ready
from edgekit.transport.local import exchange
from edgekit.transport.streams import last_line


def connect(address: str, *, timeout_s: float = CONNECT_S) -> AdbTransport:
    """Find the device, start its guard, and see that commands run there.

    Raises:
        InputError: the address cannot be used, or `adb:` is and several devices are attached.
        SetupError: adb is missing, or would end a server of another version.
        Unreachable: the device is absent, or in a state in which it takes no commands; or the server cannot be asked.
        DeviceError: it is there, but runs no commands.
    """
    found = ADDRESS.fullmatch(address)
    if not found or int(found["port"] or 1) not in range(1, 65536):
        raise InputError(f"{address!r} is not the address of a device: write adb: for the only one, adb:SERIAL, or adb:SERIAL@HOST for another host's server")
    server = Server((found["host"] or "").strip("[]"), int(found["port"]) if found["port"] else None)
    device = choose(address, found["serial"] or os.environ.get("ANDROID_SERIAL", ""), server, timeout_s=timeout_s)
    transport = AdbTransport(f"adb:{device.serial}{server.address.removeprefix('adb:')}", device.serial, server)
    with contextlib.ExitStack() as undo:
        undo.callback(transport.close)
        transport.start(timeout_s)
        probe = transport.run(["true"], timeout_s=timeout_s, check=False)
        if probe.code != 0:
            raise DeviceError(transport.address, f"its shell runs `true` with code {probe.code} ({last_line(probe.stderr)}): restart the device")
        undo.pop_all()
    return transport


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and who feeds and hears it; `deadline` in monotonic seconds."""

    argv: Sequence[str]
    feed: Iterable[bytes]
    out: Callable[[bytes], object]
    err: Callable[[bytes], object]
    deadline: float
    doing: str
    watch: Callable[[], object] | None


class AdbTransport(AdbConnection):
    """An open connection to a device. Calls from several threads are allowed."""

    def __init__(self, address: str, serial: str, server: Server) -> None:
        super().__init__(address, serial, server)
        self.scratch = ""  # the first protocol's folder for what it pushes

    def start(self, timeout_s: float) -> None:
        super().start(timeout_s)
        if not self.separate:
            self.scratch = self.run(["sh", "-c", SCRATCH], timeout_s=timeout_s).stdout.strip()

    def push(self, source: Path, destination: str, *, timeout_s: float, progress: Callable[[int], None] | None = None) -> None:
        started = time.monotonic()
        if source.stat().st_size >= PUSH_BYTES and push(self, source, destination, timeout_s=timeout_s, progress=progress):
            return
        super().push(source, destination, timeout_s=max(round(timeout_s - (time.monotonic() - started), 1), 0.1), progress=progress)

    def stream(
        self,
        argv: Sequence[str],
        *,
        feed: Iterable[bytes],
        out: Callable[[bytes], object],
        err: Callable[[bytes], object],
        timeout_s: float,
        doing: str,
        watch: Callable[[], object] | None = None,
    ) -> int:
        command = Command(argv, feed, out, err, time.monotonic() + timeout_s, doing, watch)
        with self.told(argv, doing, timeout_s):
            return self.second(command) if self.separate else self.first(command)

    def second(self, command: Command) -> int:
        """Run a command under the second shell protocol."""
        mark = secrets.token_hex(8)
        line = "exec sh -c " + shlex.join([LAUNCH, "sh", mark, *command.argv])
        if len(line.encode()) > COMMAND_LIMIT_BYTES:
            raise InputError(f"the command {command.argv[0]!r} is {len(line)} characters long, more than a device takes: pass what is long through stdin")
        ending = Ending(mark, command.err)
        return self.follow(["shell", "-T", line], command, itertools.chain([b"go\n"], command.feed), command.out, ending.feed, ending)

    def first(self, command: Command) -> int:
        """Run a command under the first: what it cannot take otherwise is pushed as files before.

        It has no input that could hold it back until the guard knows of it: one that is lost within these milliseconds runs on there.
        """
        mark = secrets.token_hex(8)
        aside = f"{self.scratch}/.edgekit.{mark}"
        source = iter(command.feed)
        data = next(source, b"")
        stdin, stderr = f"{aside}.in" if data else "/dev/null", f"{aside}.err" if self.scratch else "/dev/null"
        line = "exec sh -c " + shlex.join([FIRST_LAUNCH, "sh", mark, stdin, stderr, *command.argv])
        files: dict[str, Iterable[bytes]] = {stdin: itertools.chain([data], source)} if data else {}
        if len(line.encode()) > FIRST_COMMAND_LIMIT_BYTES:
            files[f"{aside}.sh"] = [line.encode()]
            line = f"exec sh {aside}.sh"
        left = [*files, *([stderr] if self.scratch else [])]
        try:
            for path in left:
                self.expect(path)
            for path, content in files.items():
                if complaint := self.stage(path, content, command.deadline):
                    self.alive(command.doing, wait_s=LOST_S)
                    command.err(complaint.encode())
                    return 1
            ending = Ending(mark, command.out, command.err)
            return self.follow(["exec-out", line], command, [], ending.feed, command.err, ending)
        finally:
            for path in left:
                self.remove(path)

    def stage(self, path: str, data: Iterable[bytes], deadline: float) -> str:
        """Push what an iterator gives to a file of ours there; returns what adb complains of."""
        with tempfile.NamedTemporaryFile() as file:
            for chunk in data:
                file.write(chunk)
            file.flush()
            return send(self, Path(file.name), path, deadline)

    def follow(
        self,
        adb: list[str],
        command: Command,
        feed: Iterable[bytes],
        out: Callable[[bytes], object],
        err: Callable[[bytes], object],
        ending: Ending,
    ) -> int:
        """Start a client and stay with it to the command's end; returns the command's code."""
        assert self.guard is not None
        client = self.client(adb)
        assert client.stdin is not None
        assert client.stdout is not None
        process = None
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended already, and will be heard to say why
                sender(client.stdin)(b"hello\n")
            try:
                process, rest = wait_ready(receiver(client.stdout), command.deadline)
            except EOFError as exc:
                raise EOFError(str(exc) or said_by(client)) from exc
            self.guard.started(process)
            if rest:
                out(rest)
            for name, data in exchange(client, iter(feed), command.deadline, command.watch):
                (out if name == "out" else err)(data)
            code = client.wait(timeout=max(command.deadline - time.monotonic(), 0.001))
            ending.finish()
            ended, process = process, None
            if ending.code is not None:
                with contextlib.suppress(OSError):
                    self.guard.ended(ended)
                return ending.code
            try:
                self.guard.kill(ended)  # what may be left of it; and that the guard answers tells that the connection is there
            except (OSError, EOFError) as exc:
                raise self.lost(command.doing) from exc
            if code > 128:  # the whole group was killed, with the shell that would have told
                return code
            raise DeviceError(self.address, f"the shell was ended by the device while {command.doing}: look into its log (`adb logcat`)", argv=command.argv)
        finally:
            if process is not None:
                self.kill(process)
            self.dismiss(client)
