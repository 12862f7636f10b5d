"""A daemon's port in, a port that leads to it out, whose wire a test can cut, let fall silent, or cut after so many bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

CHUNK_BYTES = 1 << 16


class Wire:
    """Carries TCP connections to a port of 127.0.0.1."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.whole = True
        self.garbles = False
        """Whether what the daemon says is turned over on its way."""
        self.carries = threading.Event()
        self.carries.set()
        self.left_bytes: int | None = None
        """How many bytes more it carries to the daemon before it is cut; None for any number."""
        self.ends: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def cut(self) -> None:
        """All connections break, and no new one comes about."""
        self.whole = False
        ends, self.ends = self.ends, []
        for end in ends:
            close(end)

    def mend(self) -> None:
        self.whole, self.garbles, self.left_bytes = True, False, None
        self.carries.set()

    def silence(self) -> None:
        """Nothing is carried any more; nobody is told."""
        self.carries.clear()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listening.accept()
                try:
                    assert self.whole
                    far = socket.create_connection(("127.0.0.1", self.to))
                except (AssertionError, OSError):
                    close(near)
                    continue
                self.ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self.carry, args=(one, other, one is near), daemon=True).start()

    def carry(self, source: socket.socket, to: socket.socket, outward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                self.carries.wait()
                to.sendall(bytes(byte ^ 0x55 for byte in data) if self.garbles and not outward else data)
                if outward and self.left_bytes is not None:
                    self.left_bytes -= len(data)
                    if self.left_bytes < 0:
                        self.cut()
        close(source)
        close(to)


def close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextlib.contextmanager
def wire(to: int) -> Iterator[Wire]:
    made = Wire(to)
    try:
        yield made
    finally:
        made.mend()
        made.cut()
        close(made.listening)
