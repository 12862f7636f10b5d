"""A device that an adb server lists in, a connection to it out: the guard that runs there, and the adb clients that are ours.

What guards a device: guard.py. How a command is carried: adb.py.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import time
from abc import ABC
from collections.abc import Iterator, Sequence

from edgekit.errors import Unreachable
from edgekit.transport.adb_devices import Server, adb, adb_path
from edgekit.transport.adb_shells import ENDS_WITH_STDIN, drain, end, receiver, said_by, sender
from edgekit.transport.guard import GUARD, Guard, Pulse, wait_ready
from edgekit.transport.streams import StreamTransport, timed_out

GOODBYE_S = 1.0


class AdbConnection(StreamTransport, ABC):
    """The guard and the clients of one connection; what runs commands is added by adb.py."""

    def __init__(self, address: str, serial: str, server: Server) -> None:
        self.address = address
        self.server = server
        self.adb = [adb_path(), *server.argv, "-s", serial]
        self.serial = serial
        self.separate = True  # shell v2: stdin ends, stderr apart, codes
        self.guard_client: subprocess.Popen[bytes] | None = None
        self.guard: Guard | None = None
        self.pulse: Pulse | None = None
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

    def client(self, command: list[str], under: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start an adb client, out of reach of the terminal's Ctrl-C: it has to end what it started."""
        argv = [*under, *self.adb, *command]
        client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.clients.add(client)
        return client

    def dismiss(self, client: subprocess.Popen[bytes]) -> None:
        """End a client."""
        end(client)
        self.clients.discard(client)

    @contextlib.contextmanager
    def told(self, argv: Sequence[str], doing: str, timeout_s: float) -> Iterator[None]:
        """What goes wrong within, in words.

        Raises:
            DeviceTimeout: a deadline has passed.
            Unreachable: the connection is lost, or was before.
        """
        self.alive(doing)
        try:
            yield
        except (TimeoutError, subprocess.TimeoutExpired) as exc:
            raise timed_out(self.address, argv, doing, timeout_s) from exc
        except (EOFError, BrokenPipeError) as exc:
            raise self.lost(doing, str(exc)) from exc

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
