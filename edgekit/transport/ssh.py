"""`ssh:[user@]host[:port]` in, one connection to that device out, for a whole run.

How commands are started and ended there: guard.py.
"""

from __future__ import annotations

import contextlib
import logging
import select
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from edgekit.errors import DeviceError, InputError, Unreachable
from edgekit.transport import CONNECT_S
from edgekit.transport.guard import GRACE_S, GUARD, LAUNCH, Guard, Pulse, wait_ready
from edgekit.transport.streams import StreamTransport, last_line, timed_out

if TYPE_CHECKING:
    import socket

    import paramiko

PACKET_BYTES = 1 << 15  # what one SSH data message carries
WINDOW_WAIT_S = 0.001  # while the device does not take more input; its window opens without an event
COMMAND_LIMIT_BYTES = 120_000  # Linux takes no single argument above 128 KiB, and a command is one argument of the login shell


def connect(address: str, *, timeout_s: float = CONNECT_S) -> SshTransport:
    """Log in over all hops, and see that commands run there.

    Raises:
        InputError: the address or the SSH configuration cannot be used.
        Unreachable: a host is absent or refuses, its key is not the known one, or it does not accept the user's keys.
        DeviceError: it lets the user in, but runs no commands.
    """
    from edgekit.transport import ssh_login
    from edgekit.transport.ssh_config import hops

    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else its thread prints tracebacks; they come as exceptions too
    connections: list[paramiko.Transport] = []
    proxies: list[subprocess.Popen[bytes]] = []
    way = hops(address)
    with contextlib.ExitStack() as undo:
        undo.callback(hang_up, connections, proxies)
        for hop in way:
            limit_s = hop.connect_s or timeout_s
            sock: socket.socket | paramiko.Channel
            if connections:
                sock = tunnel(address, connections[-1], hop.host, hop.port, limit_s)
            elif hop.proxy_command:
                sock, proxy = ssh_login.through_command(hop.proxy_command)
                proxies.append(proxy)
            else:
                connections.append(ssh_login.reach(address, hop, limit_s))
                continue
            connections.append(ssh_login.log_in(address, hop, sock, limit_s))
        transport = SshTransport(address, connections, proxies)
        undo.callback(transport.close)
        transport.start_guard(timeout_s)
        probe = transport.run(["true"], timeout_s=timeout_s, check=False)
        if probe.code != 0:
            raise DeviceError(
                address, f"lets {way[-1].user} in, but `true` ends with code {probe.code} ({last_line(probe.stderr)}): check that account's login shell"
            )
        undo.pop_all()
    return transport


def tunnel(address: str, jump: paramiko.Transport, host: str, port: int, timeout_s: float) -> paramiko.Channel:
    """A connection from a jump host on to the next one."""
    import paramiko

    try:
        return jump.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout_s)
    except (paramiko.SSHException, EOFError, OSError) as exc:
        cure = "check that it is switched on and that the jump host allows forwarding (AllowTcpForwarding)"
        raise Unreachable(address, f"{host} port {port} cannot be reached from the jump host ({exc}): {cure}") from exc


def hang_up(connections: list[paramiko.Transport], proxies: list[subprocess.Popen[bytes]]) -> None:
    """Close the connections, the device's first, and end what a ProxyCommand started."""
    for connection in reversed(connections):
        connection.close()
    for proxy in proxies:
        proxy.terminate()
        try:
            proxy.wait(timeout=2)
        except subprocess.TimeoutExpired:
            proxy.kill()
            proxy.wait()


class SshTransport(StreamTransport):
    """An open connection to a device. Calls from several threads are allowed."""

    def __init__(self, address: str, connections: list[paramiko.Transport], proxies: list[subprocess.Popen[bytes]]) -> None:
        self.address = address
        self.connections = connections
        self.proxies = proxies
        self.guard: Guard | None = None

    def start_guard(self, timeout_s: float) -> None:
        """Start the guard; that it speaks is the first sign that commands run there."""
        with self.deadline(["sh"], timeout_s, "starting a shell") as deadline:
            channel = self.connections[-1].open_session(timeout=timeout_s)
            channel.settimeout(timeout_s)
            channel.exec_command("exec sh -c " + shlex.quote(GUARD) + " sh")
            self.guard = Guard(channel.sendall, receiver(channel))
            try:
                wait_ready(self.guard.receive, deadline)
            except EOFError as exc:
                words = str(exc) or last_line(channel.recv_stderr(PACKET_BYTES).decode(errors="replace"))
                raise DeviceError(self.address, f"lets you in, but runs no commands ({words or 'it says nothing'}): check that account's login shell") from exc
        self.pulse = Pulse(self.guard, self.close)

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
        command = "exec sh -c " + shlex.join([LAUNCH, "sh", *argv])
        if len(command.encode()) > COMMAND_LIMIT_BYTES:
            raise InputError(f"the command {argv[0]!r} is {len(command)} characters long, more than a device takes: pass what is long through stdin")
        assert self.guard is not None
        process = None
        with self.deadline(argv, timeout_s, doing) as deadline:
            channel = self.connections[-1].open_session(timeout=timeout_s)
            try:
                channel.settimeout(timeout_s)
                channel.exec_command(command)
                process, rest = wait_ready(receiver(channel), deadline)
                self.guard.started(process)
                if rest:
                    out(rest)
                exchange(channel, feed, out, err, deadline, watch)
                code = channel.recv_exit_status()
                if code != -1:
                    self.guard.ended(process)
                    process = None
            finally:
                if process is not None:
                    self.kill(process)
                channel.close()
        if code == -1:
            self.connections[-1].join(timeout=0.5)
            if not self.connections[-1].is_active():
                raise self.lost(doing)
            raise DeviceError(self.address, f"the session was ended by the device while {doing}: look into its system log", argv=argv)
        return code

    def kill(self, process: int) -> None:
        """Have a process group killed and wait until it is; a guard that does not answer loses its connection, which does the same."""
        import paramiko

        assert self.guard is not None
        try:
            self.guard.kill(process)
        except (OSError, EOFError, paramiko.SSHException):
            self.close()

    def expect(self, path: str) -> None:
        with self.deadline([], GRACE_S, "preparing to send a file"):
            assert self.guard is not None
            self.guard.expect(path)

    def remove(self, path: str) -> None:
        with contextlib.suppress(OSError, EOFError):  # the connection may be what failed; then the guard does it by itself
            assert self.guard is not None
            self.guard.remove(path)

    @contextlib.contextmanager
    def deadline(self, argv: Sequence[str], timeout_s: float, doing: str) -> Iterator[float]:
        """Map what paramiko raises to our words, and see that nothing outlasts the deadline: yields it, in monotonic seconds."""
        import paramiko

        end = time.monotonic() + timeout_s
        watchdog = threading.Timer(timeout_s + GRACE_S, self.connections[-1].close)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield end
        except TimeoutError as exc:
            raise timed_out(self.address, argv, doing, timeout_s) from exc
        except paramiko.ChannelException as exc:
            raise DeviceError(self.address, f"the SSH server opens no further session ({exc.text}): raise MaxSessions in its sshd_config") from exc
        except (EOFError, OSError, paramiko.SSHException) as exc:
            if isinstance(exc, OSError) and exc.errno is not None and not isinstance(exc, ConnectionError):  # a file of ours: paramiko's have no number
                raise
            raise self.lost(doing) if time.monotonic() < end else timed_out(self.address, argv, doing, timeout_s) from exc
        finally:
            watchdog.cancel()

    def lost(self, doing: str) -> Unreachable:
        return Unreachable(self.address, f"the connection was lost while {doing}: check the device's power and network, then repeat the command")

    def close(self) -> None:
        if self.pulse is not None:
            self.pulse.stop()
        hang_up(self.connections, self.proxies)


def receiver(channel: paramiko.Channel) -> Callable[[float], bytes]:
    """What waits for a command's next words."""

    def receive(wait_s: float) -> bytes:
        channel.settimeout(wait_s)
        return channel.recv(PACKET_BYTES)

    return receive


def exchange(
    channel: paramiko.Channel,
    feed: Iterable[bytes],
    out: Callable[[bytes], object],
    err: Callable[[bytes], object],
    deadline: float,
    watch: Callable[[], object] | None,
) -> None:
    """Feed a command and hand on what it writes until both its streams and itself have ended, or the channel is gone. Calls `watch` all the while.

    Raises:
        TimeoutError: the deadline has passed.
    """
    source = iter(feed)
    pending, fed = memoryview(b"go\n"), False
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while True:
        if time.monotonic() > deadline:
            raise TimeoutError
        if watch is not None:
            watch()
        over = channel.exit_status_ready() and (channel.eof_received or channel.closed)
        idle = True
        while channel.recv_stderr_ready():
            err(channel.recv_stderr(PACKET_BYTES))
            idle = False
        if channel.recv_ready():
            out(channel.recv(PACKET_BYTES))
            idle = False
        elif over:
            return
        if not fed and not channel.exit_status_ready() and channel.send_ready():
            pending = pending[channel.send(pending[:PACKET_BYTES].tobytes()) :]
            idle = False
            if not pending and not (pending := memoryview(next(source, b""))):
                channel.shutdown_write()
                fed = True
        if not idle:
            continue
        wait_s = min(deadline - time.monotonic(), 1.0) if fed else WINDOW_WAIT_S
        if channel.eof_received:
            channel.status_event.wait(max(wait_s, 0))
        else:
            poll.poll(max(wait_s, 0) * 1000)
