"""`local:` in, this machine as a device out: commands in process groups of their own, files copied."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from edgekit.errors import InputError
from edgekit.transport import CONNECT_S
from edgekit.transport.streams import StreamTransport, timed_out

PIPE_BYTES = 1 << 16
WIDE_PIPE_BYTES = 1 << 20  # what Linux grants to anybody
POLL_S = 0.05
PAUSE_S = 0.0005  # a wide pipe is full for longer


def connect(address: str, *, timeout_s: float = CONNECT_S) -> LocalTransport:
    """Open the way to this machine; nothing can fail but the address.

    Raises:
        InputError: something follows `local:`.
    """
    if address != "local:":
        raise InputError(f"{address!r} is not the address of a device: this machine is local: with nothing after it")
    return LocalTransport()


class LocalTransport(StreamTransport):
    """This machine."""

    address = "local:"

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
        try:
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        except OSError as exc:
            err(f"{argv[0]}: {exc.strerror}\n".encode())
            return 127 if isinstance(exc, FileNotFoundError) else 126  # as a shell says it
        ended = False
        try:
            for name, data in exchange(process, iter(feed), deadline, watch):
                (out if name == "out" else err)(data)
            code = process.wait(timeout=max(deadline - time.monotonic(), 0))
            ended = True
        except (TimeoutError, subprocess.TimeoutExpired) as exc:
            raise timed_out(self.address, argv, doing, timeout_s) from exc
        finally:
            if not ended:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            process.wait()
        return code if code >= 0 else 128 - code

    def expect(self, path: str) -> None:
        """Nothing to do: there is no connection to lose."""

    def remove(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing to do: commands end with their calls."""


def exchange(
    process: subprocess.Popen[bytes], feed: Iterator[bytes], deadline: float, watch: Callable[[], object] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Write what is fed as fast as it is taken; yield ("out" | "err", bytes) as they come, until both have ended. Calls `watch` all the while.

    Raises:
        TimeoutError: the deadline has passed.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    stdin, pending = process.stdin.fileno(), memoryview(b"")
    os.set_blocking(stdin, False)
    wide = widened(stdin)
    with selectors.DefaultSelector() as ready:
        ready.register(stdin, selectors.EVENT_WRITE, "in")
        ready.register(process.stdout, selectors.EVENT_READ, "out")
        ready.register(process.stderr, selectors.EVENT_READ, "err")
        while ready.get_map():
            if time.monotonic() > deadline:
                raise TimeoutError
            if watch is not None:
                watch()
            for key, _ in ready.select(POLL_S):
                if key.data != "in":
                    data = os.read(key.fd, PIPE_BYTES)
                    if data:
                        yield key.data, data
                    else:
                        ready.unregister(key.fileobj)
                    continue
                pending = pending or memoryview(next(feed, b""))
                try:
                    written = os.write(stdin, pending)
                    pending = pending[written:]
                    if wide and pending and written < PIPE_BYTES:
                        time.sleep(PAUSE_S)  # let there be room: else each page that is read there would wake us here
                    done = not pending and not (pending := memoryview(next(feed, b"")))
                except BrokenPipeError:  # it does not read to the end: its own business
                    done = True
                if done:
                    ready.unregister(stdin)
                    process.stdin.close()


def widened(pipe: int) -> bool:
    """Make a pipe wide, for files; whether it is: Linux only, and as long as the user has not too many of them."""
    with contextlib.suppress(AttributeError, OSError):
        return fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, WIDE_PIPE_BYTES) >= WIDE_PIPE_BYTES
    return False
