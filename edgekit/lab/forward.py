"""A listening socket of one network namespace in; its connections carried to a port of the namespace of the calling process, until it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading

AT_ONCE = 1 << 20  # the largest pipe that anybody may ask for: fcntl(2), F_SETPIPE_SZ
SPLICE_MOVE = 1


def forward(listener: socket.socket, port: int) -> None:
    """Carry each connection of `listener` to 127.0.0.1:`port` as seen from here; returns at once, threads do the work."""
    threading.Thread(target=accept, args=(listener, port), daemon=True).start()


def accept(listener: socket.socket, port: int) -> None:
    while True:
        outer, _ = listener.accept()
        threading.Thread(target=carry, args=(outer, port), daemon=True).start()


def carry(outer: socket.socket, port: int) -> None:
    """Both directions of one connection; where nobody listens inside, it is closed, as a device's kernel would."""
    with outer, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as inner:
        for sock in (outer, inner):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=pour, args=(inner, outer), daemon=True)
        back.start()
        pour(outer, inner)
        back.join()


def pour(source: socket.socket, sink: socket.socket) -> None:
    """Move bytes inside the kernel until the source has no more, then say so to the sink."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, AT_ONCE)
    try:
        with contextlib.suppress(OSError):
            while moved := os.splice(source.fileno(), writer, AT_ONCE, flags=SPLICE_MOVE):
                while moved:
                    moved -= os.splice(reader, sink.fileno(), moved, flags=SPLICE_MOVE)
    finally:
        os.close(reader)
        os.close(writer)
        # An end that failed ends the other direction too, or a device that has gone would leave it waiting.
        for sock, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                sock.shutdown(how)
