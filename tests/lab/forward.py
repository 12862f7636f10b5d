"""A listening socket of the world outside and a daemon's command line in: runs the daemon in this network namespace and lets connections in.

forward.py FD COMMAND…     run it in a namespace of its own (unshare --net): a socket stays where it was made
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

PORT = 5599  # not 5555, which adb takes for an emulator
CHUNK_BYTES = 1 << 20


def main() -> None:
    listening = socket.socket(fileno=int(sys.argv[1]))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.Popen(sys.argv[2:], env={**os.environ, "ADBD_PORT": str(PORT)})
    while True:
        outside, _ = listening.accept()
        inside = dial()
        for one, other in ((outside, inside), (inside, outside)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=carry, args=(one, other), daemon=True).start()


def dial() -> socket.socket:
    """Connect to the daemon, as soon as it listens."""
    for _ in range(100):
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", PORT))
        time.sleep(0.05)
    sys.exit("the daemon does not listen")


def carry(source: socket.socket, to: socket.socket) -> None:
    """Bytes of one direction, until either end closes; then both are closed."""
    space = memoryview(bytearray(CHUNK_BYTES))
    with contextlib.suppress(OSError):
        while count := source.recv_into(space):
            to.sendall(space[:count])
    for end in (source, to):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main()
