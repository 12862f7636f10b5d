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
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence

from edgekit.errors import DeviceError, InputError, Unreachable
from edgekit.transport import CONNECT_S
from edgekit.transport.adb_devices import ADDRESS, Server, adb, adb_path
from edgekit.transport.adb_shells import (
    COMMAND_LIMIT_BYTES,
    ENDS_WITH_STDIN,
    FIRST_COMMAND_LIMIT_BYTES,
    FIRST_LAUNCH,
    LAUNCH,
    SCRATCH,
    Ending,
    drain,
    end,
    receiver,
    said_by,
    sender,
)
from edgekit.transport.adb_states import choose
from edgekit.transport.guard import GUARD, Guard, Pulse, wait_ready
from edgekit.transport.local import exchange
from edgekit.transport.streams import StreamTransport, last_line, timed_out

GOODBYE_S = 1.0
LOST_S = 0.5  # all clients of a connection that is lost have ended by then


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


class AdbTransport(StreamTransport):
    """An open connection to a device. Calls from several threads are allowed."""

    def __init__(self, address: str, serial: str, server: Server) -> None:
        self.address = address
        self.server = server
        self.adb = [adb_path(), *server.argv, "-s", serial]
        self.serial = serial
        self.separate = True  # shell v2: stdin ends, stderr apart, codes
        self.scratch = ""
        self.guard_client: subprocess.Popen[bytes] | None = None
        self.guard: Guard | None = None
        self.clients: set[subprocess.Popen[bytes]] = set()
        self.closed = False

    def start(self, timeout_s: float) -> None:
        """Learn what the device's adbd can do and start the guard; that it speaks is the first sign that commands run there."""
        deadline = time.monotonic() + timeout_s
        told = adb(self.server, ["-s", self.serial, "features"], timeout_s=timeout_s)
        self.separate = "shell_v2" in told.stdout.split()
        line = f"exec sh -c {shlex.quote(GUARD)} sh"
        self.guard_client = client = self.client(["shell", "-T", line]) if self.separate else self.client(["shell", line], ["sh", "-c", ENDS_WITH_STDIN, "sh"])
        assert client.stdin is not None
        assert client.stdout is not None
        self.guard = Guard(sender(client.stdin), receiver(client.stdout))
        try:
            with contextlib.suppress(BrokenPipeError):
                self.guard.tell("hello")
            wait_ready(self.guard.receive, deadline)
        except TimeoutError as exc:
            raise timed_out(self.address, ["sh"], "starting a shell", timeout_s) from exc
        except EOFError as exc:
            words = str(exc) or said_by(client)
            raise Unreachable(self.address, f"runs no commands ({words or 'it says nothing'}): unlock it, replug it, or restart it") from exc
        drain(client.stderr)
        self.pulse = Pulse(self.guard, self.hang_up)
        if not self.separate:
            self.scratch = self.run(["sh", "-c", SCRATCH], timeout_s=timeout_s).stdout.strip()

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
        deadline = time.monotonic() + timeout_s
        self.alive(doing)
        try:
            return (self.second if self.separate else self.first)(argv, feed, out, err, deadline, doing, watch)
        except (TimeoutError, subprocess.TimeoutExpired) as exc:
            raise timed_out(self.address, argv, doing, timeout_s) from exc
        except (EOFError, BrokenPipeError) as exc:
            raise self.lost(doing, str(exc)) from exc

    def second(
        self,
        argv: Sequence[str],
        feed: Iterable[bytes],
        out: Callable[[bytes], object],
        err: Callable[[bytes], object],
        deadline: float,
        doing: str,
        watch: Callable[[], object] | None,
    ) -> int:
        """Run a command under the second shell protocol."""
        mark = secrets.token_hex(8)
        line = "exec sh -c " + shlex.join([LAUNCH, "sh", mark, *argv])
        if len(line.encode()) > COMMAND_LIMIT_BYTES:
            raise InputError(f"the command {argv[0]!r} is {len(line)} characters long, more than a device takes: pass what is long through stdin")
        ending = Ending(mark, err)
        return self.follow(["shell", "-T", line], argv, itertools.chain([b"go\n"], feed), out, ending.feed, ending, deadline, doing, watch)

    def first(
        self,
        argv: Sequence[str],
        feed: Iterable[bytes],
        out: Callable[[bytes], object],
        err: Callable[[bytes], object],
        deadline: float,
        doing: str,
        watch: Callable[[], object] | None,
    ) -> int:
        """Run a command under the first: what it cannot take otherwise is pushed as files before.

        It has no input that could hold it back until the guard knows of it: one that is lost within these milliseconds runs on there.
        """
        mark = secrets.token_hex(8)
        aside = f"{self.scratch}/.edgekit.{mark}"
        source = iter(feed)
        data = next(source, b"")
        stdin, stderr = f"{aside}.in" if data else "/dev/null", f"{aside}.err" if self.scratch else "/dev/null"
        line = "exec sh -c " + shlex.join([FIRST_LAUNCH, "sh", mark, stdin, stderr, *argv])
        files: dict[str, Iterable[bytes]] = {stdin: itertools.chain([data], source)} if data else {}
        if len(line.encode()) > FIRST_COMMAND_LIMIT_BYTES:
            files[f"{aside}.sh"] = [line.encode()]
            line = f"exec sh {aside}.sh"
        left = [*files, *([stderr] if self.scratch else [])]
        try:
            for path in left:
                self.expect(path)
            for path, content in files.items():
                if complaint := self.stage(path, content, deadline):
                    self.alive(doing, wait_s=LOST_S)
                    err(complaint.encode())
                    return 1
            ending = Ending(mark, out, err)
            return self.follow(["exec-out", line], argv, [], ending.feed, err, ending, deadline, doing, watch)
        finally:
            for path in left:
                self.remove(path)

    def follow(
        self,
        command: list[str],
        argv: Sequence[str],
        feed: Iterable[bytes],
        out: Callable[[bytes], object],
        err: Callable[[bytes], object],
        ending: Ending,
        deadline: float,
        doing: str,
        watch: Callable[[], object] | None,
    ) -> int:
        """Start a client and stay with it to the command's end; returns the command's code."""
        assert self.guard is not None
        client = self.client(command)
        assert client.stdin is not None
        assert client.stdout is not None
        process = None
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended already, and will be heard to say why
                sender(client.stdin)(b"hello\n")
            try:
                process, rest = wait_ready(receiver(client.stdout), deadline)
            except EOFError as exc:
                raise EOFError(str(exc) or said_by(client)) from exc
            self.guard.started(process)
            if rest:
                out(rest)
            for name, data in exchange(client, iter(feed), deadline, watch):
                (out if name == "out" else err)(data)
            code = client.wait(timeout=max(deadline - time.monotonic(), 0.001))
            ending.finish()
            ended, process = process, None
            if ending.code is not None:
                with contextlib.suppress(OSError):
                    self.guard.ended(ended)
                return ending.code
            try:
                self.guard.kill(ended)  # what may be left of it; and that the guard answers tells that the connection is there
            except (OSError, EOFError) as exc:
                raise self.lost(doing) from exc
            if code > 128:  # the whole group was killed, with the shell that would have told
                return code
            raise DeviceError(self.address, f"the shell was ended by the device while {doing}: look into its log (`adb logcat`)", argv=argv)
        finally:
            if process is not None:
                self.kill(process)
            end(client)
            self.clients.discard(client)

    def stage(self, path: str, data: Iterable[bytes], deadline: float) -> str:
        """Push what an iterator gives to a file of ours there, by adb's own service for files; returns what adb complains of."""
        with tempfile.NamedTemporaryFile() as file:
            for chunk in data:
                file.write(chunk)
            file.flush()
            done = subprocess.run(
                [*self.adb, "push", file.name, path],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=max(deadline - time.monotonic(), 0.001),
                start_new_session=True,
            )
        lines = [line for line in (done.stderr + done.stdout).splitlines() if "error" in line]
        return "" if done.returncode == 0 else (lines or ["adb push failed"])[0]

    def client(self, command: list[str], under: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start an adb client, out of reach of the terminal's Ctrl-C: it has to end what it started."""
        argv = [*under, *self.adb, *command]
        client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.clients.add(client)
        return client

    def alive(self, doing: str, wait_s: float = 0.0) -> None:
        """See that the guard's client still runs: it ends with the connection, if need be a moment later than others."""
        if not self.closed and self.guard_client is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.guard_client.wait(timeout=wait_s)
                self.closed = True
        if self.closed:
            raise self.lost(doing)

    def kill(self, process: int) -> None:
        """Have a process group killed and wait until it is; a guard that does not answer loses its connection, which does the same."""
        assert self.guard is not None
        try:
            self.guard.kill(process)
        except (OSError, EOFError):
            self.close()

    def expect(self, path: str) -> None:
        assert self.guard is not None
        self.alive("preparing to send a file")
        try:
            self.guard.expect(path)
        except OSError as exc:
            raise self.lost("preparing to send a file") from exc

    def remove(self, path: str) -> None:
        assert self.guard is not None
        with contextlib.suppress(OSError):  # the connection may be what failed; then the guard does it by itself
            self.guard.remove(path)

    def lost(self, doing: str, words: str = "") -> Unreachable:
        said = f" (adb: {words.removeprefix('adb: ').removeprefix('error: ').rstrip('.')})" if words else ""
        return Unreachable(self.address, f"the connection was lost while {doing}{said}: check its power and its cable or network, then repeat the command")

    def hang_up(self) -> None:
        """End all that waits for a device that has fallen silent: it hears that the connection is lost."""
        self.closed = True
        for client in list(self.clients):
            client.kill()

    def close(self) -> None:
        self.closed = True
        if self.pulse is not None:
            self.pulse.stop()
        if self.guard_client is not None and self.guard_client.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.guard_client.stdin.close()  # the guard hears what it was told last, and that this is the end
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.guard_client.wait(timeout=GOODBYE_S)
            end(self.guard_client)
