"""The scripts that run a command under either of adb's shell protocols in, and the clients that carry them: what adb.py is made of.

The second protocol (`shell_v2`, since Android 7) has stdin with an end, stderr apart, and codes. The first has one stream each way and no end of
stdin: there stdin is a file that is pushed before, and stderr one that is shown after.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
from collections.abc import Callable
from typing import IO

from edgekit.transport.guard import GRACE_S
from edgekit.transport.local import PIPE_BYTES
from edgekit.transport.streams import last_line

COMMAND_LIMIT_BYTES = 60_000  # adb's server takes 65535 bytes for the name of a service, and a command is a part of that name
FIRST_COMMAND_LIMIT_BYTES = 3_500  # of the first shell protocol, with its messages of 4096 bytes
ENDED = "edgekit-ended"

# The first line comes at once: until the client says something, adb's server holds back what the device says, for the 40 ms of a delayed
# acknowledgement. Files are for their owner alone: on a phone adb's shell makes them for everybody.
LAUNCH = r"""umask 077; mark=$1; shift; printf "\nedgekit-ready %s\n" "$$"; read -r hello && read -r go || exit 143
(exec "$@"); code=$?; printf "edgekit-ended %s %s\n" "$mark" "$code" >&2; exit "$code" """
# $2 is where stdin is read from, $3 where stderr is kept.
FIRST_LAUNCH = r"""umask 077; mark=$1 in=$2 err=$3; shift 3; printf "\nedgekit-ready %s\n" "$$"
(exec "$@") <"$in" 2>"$err"; code=$?; printf "edgekit-ended %s %s\n" "$mark" "$code"; cat <"$err" """
# The first protocol's client outlives its stdin: on this machine it runs in a process group that ends when either does.
ENDS_WITH_STDIN = '{ cat; sleep 0.2; kill 0; } | { "$@"; kill 0; }'
SCRATCH = 'for folder in /data/local/tmp "$TMPDIR" /tmp; do if [ -d "$folder" ] && [ -w "$folder" ]; then echo "$folder"; exit; fi; done; exit 1'


class Ending:
    """A stream that is given on but for the line in it that says how the command ended; `rest` gets what follows that line."""

    def __init__(self, mark: str, give: Callable[[bytes], object], rest: Callable[[bytes], object] | None = None) -> None:
        self.marker = f"{ENDED} {mark} ".encode()
        self.give = give
        self.rest = rest or give
        self.held = b""
        self.code: int | None = None

    def feed(self, data: bytes) -> None:
        if self.code is not None:
            self.rest(data)
            return
        before, marker, after = (self.held + data).partition(self.marker)
        digits, newline, rest = after.partition(b"\n")
        if marker and newline and digits.strip().isdigit():
            self.code, self.held = int(digits), b""
        elif marker:
            self.held = marker + after
        else:
            kept = next((size for size in range(min(len(self.marker), len(before)), 0, -1) if self.marker.startswith(before[-size:])), 0)
            before, self.held = before[: len(before) - kept], before[len(before) - kept :]
        if before:
            self.give(before)
        if self.code is not None and rest:
            self.rest(rest)

    def finish(self) -> None:
        """Give on what was held back and turned out to be the command's own."""
        if self.held:
            self.give(self.held)
            self.held = b""


def receiver(stream: IO[bytes]) -> Callable[[float], bytes]:
    """What waits for a client's next words.

    Raises (when called):
        TimeoutError: none came in the time given.
    """

    def receive(wait_s: float) -> bytes:
        poll = select.poll()
        try:
            poll.register(stream.fileno(), select.POLLIN)
            if not poll.poll(max(wait_s, 0) * 1000):
                raise TimeoutError
            return os.read(stream.fileno(), PIPE_BYTES)
        except ValueError:  # closed meanwhile
            return b""

    return receive


def sender(stream: IO[bytes]) -> Callable[[bytes], None]:
    """What writes to a client's stdin at once.

    Raises (when called):
        BrokenPipeError: it has ended, or was closed.
    """

    def send(data: bytes) -> None:
        try:
            os.write(stream.fileno(), data)
        except ValueError as exc:
            raise BrokenPipeError from exc

    return send


def drain(stream: IO[bytes] | None) -> None:
    """Read and drop what a client that stays says, so that it never waits for us."""
    assert stream is not None
    source = stream

    def read() -> None:
        with contextlib.suppress(OSError, ValueError):
            while source.read(PIPE_BYTES):
                pass

    threading.Thread(target=read, daemon=True).start()


def said_by(client: subprocess.Popen[bytes]) -> str:
    """The last words of a client that has ended."""
    try:
        return last_line(client.communicate(timeout=GRACE_S)[1].decode(errors="replace"))
    except (subprocess.TimeoutExpired, ValueError):
        return ""


def end(client: subprocess.Popen[bytes]) -> None:
    """End a client; what it carried hears that its stdin has ended. May be called twice."""
    client.kill()
    client.wait()
    for pipe in (client.stdin, client.stdout, client.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
