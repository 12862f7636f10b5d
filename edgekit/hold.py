"""A script in, a change on a device that lasts as long as this process and the connection do; nothing is left changed after them.

The script prints one line, reads its stdin to the end, undoes what it did, and ends. `targets/hold.sh` runs it there in a session of
its own, out of reach of what ends a connection's commands, and ends its stdin when no beat came from here for a minute.
"""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from edgekit.errors import CommandFailed, DeviceError, DeviceTimeout
from edgekit.places import shipped
from edgekit.transport import Transport
from edgekit.transport.streams import Output, StreamTransport, last_line

BEAT_S = 10.0
FIRST_BEAT_S = 0.02  # some transports read only when they have written: until the script has spoken, beats come faster
SLOWEST_FIRST_BEAT_S = 0.5
READY_S = 15.0
UNDO_S = 10.0
LONGEST_S = 7 * 24 * 3600.0
ENDED = re.compile(r"edgekit-ended (\d{1,3})")

# Without setsid (macOS) Perl makes the session; without Perl the script runs all the same, and is killed with the connection's other commands.
# It stays a child of this shell: a leader of a process group cannot make a session, and would not wait for the one it starts.
LAUNCH = """apart() {
  EDGEKIT_SESSION=1
  export EDGEKIT_SESSION
  exec 5>&2 2>/dev/null # the session ends by SIGKILL, and some shells report that
  if command -v setsid >/dev/null; then
    (exec setsid "$@" 2>&5 5>&-)
  elif command -v perl >/dev/null; then
    (exec perl -MPOSIX -e 'POSIX::setsid(); exec @ARGV' "$@" 2>&5 5>&-)
  else
    EDGEKIT_SESSION=
    "$@" 2>&5 5>&-
  fi
}
"""


class Hold:
    """A change that lasts until `release`, and not longer than the connection."""

    def __init__(self, transport: StreamTransport, script: str, args: tuple[str, ...]) -> None:
        self.transport = transport
        self.said = ""
        """The script's first line."""
        self.lost: DeviceError | None = None
        """Why it ended without `release`."""
        # In braces, so that the shell has read it all before a beat comes: what follows on stdin is the script's.
        call = shlex.join(["apart", "sh", "-c", (shipped("targets") / "hold.sh").read_text(encoding="utf-8"), "sh", script, *args])
        self.text = f"{LAUNCH}{{\n{call}\nexit\n}}\n".encode(errors="surrogateescape")
        self.lines: list[str] = []
        self.moved = threading.Event()  # it has spoken, or ended
        self.released = threading.Event()
        self.out, self.err = Output(self.hear), Output()
        self.code: int | None = None
        """What the script ended with; None where it was cut off."""
        self.thread = threading.Thread(target=self.stream, name="edgekit-hold", daemon=True)

    @classmethod
    def start(cls, transport: Transport, script: str, *args: str, ready_s: float = READY_S) -> Hold:
        """Run `sh -c script sh ARGS` on the device until `release`; returns when it has said its first line.

        Raises:
            CommandFailed: it ended without a word.
            DeviceTimeout: it said nothing in time.
            DeviceError: the way to this device cannot keep a command running beside others.
        """
        if not isinstance(transport, StreamTransport):
            raise DeviceError(transport.address, "commands cannot be kept running over this transport: use local:, ssh: or adb:")
        hold = cls(transport, script, args)
        hold.thread.start()
        if not hold.moved.wait(ready_s):
            hold.release(undo_s=0)
            raise DeviceTimeout(transport.address, f"a script did not begin within {ready_s:g} s: look at what keeps the device busy, and repeat the command")
        if not hold.lines:
            hold.thread.join()
            if hold.lost is not None:
                raise hold.lost
            said = hold.err.end()
            message = f"a script ended with code {'unknown' if hold.code is None else hold.code} before it began: {last_line(said) or 'it said nothing'}"
            raise CommandFailed(transport.address, message, argv=["sh", "-s"], code=hold.code, stderr=said)
        hold.said = hold.lines[0]
        return hold

    @property
    def alive(self) -> bool:
        """Whether it still runs, as far as is known here: a lost connection is noticed with the next beat."""
        return self.thread.is_alive()

    def release(self, undo_s: float = UNDO_S) -> tuple[str, ...]:
        """End it; returns what it said while it undid what it did. Where the device cannot be reached it does so by itself. May be called twice."""
        self.released.set()
        self.thread.join(undo_s)
        return tuple(self.lines[1:])

    def stream(self) -> None:
        try:
            self.transport.stream(["sh", "-s"], feed=self.beats(), out=self.out.feed, err=self.err.feed, timeout_s=LONGEST_S, doing="holding what was changed")
            self.out.end()
        except DeviceError as exc:
            self.lost = None if self.released.is_set() else exc
        finally:
            self.moved.set()

    def hear(self, line: str) -> None:
        if ended := ENDED.fullmatch(line):
            self.code = int(ended[1])
        elif line:
            self.lines.append(line)
            self.moved.set()

    def beats(self) -> Iterator[bytes]:
        """The script, then a line now and then until it is released."""
        yield self.text
        wait_s = FIRST_BEAT_S
        while not self.released.wait(BEAT_S if self.moved.is_set() else wait_s):
            wait_s = min(wait_s * 2, SLOWEST_FIRST_BEAT_S)
            yield b"\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
