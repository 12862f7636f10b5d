r"""The scripts that start commands on a device and end them there in; the line to the one that guards out: what SSH and ADB share.

Beside the commands one more runs on the device, the guard. It knows the process groups that a connection started and the files
that are half written, and it ends and removes them when it is told to or when its stdin ends, which is when the connection is gone.
sshd and adbd make each command the leader of its own session, so the shell that starts it only has to say its process id, on a
line that also separates what login scripts print from what the command prints.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from edgekit.transport.streams import last_line

GRACE_S = 5.0  # after a deadline, for a device that answers nothing at all
ASK_S, SILENCE_S = 5.0, 30.0  # how often a device is asked whether it is there, and how long it may say nothing to anything
NOISE_LIMIT_BYTES = 1 << 16
LINE_BYTES = 4000  # the first of adb's shell protocols reads lines by a terminal, which takes 4095
READY = b"\nedgekit-ready "

# A path comes with its odd bytes as `\0ooo`; the point keeps a newline at its end. The others cost no process: a file waits for them.
GUARD = r"""umask 077; trap "" HUP INT TERM PIPE
end() { kill -s KILL -- "-$1" || kill -s KILL "$1"; }
plain() { case $1 in *\\*) it=$(printf "%b." "$1"); it=${it%.} ;; *) it=$1 ;; esac; }
begun() { [ ! -d "$2" ] && true >"$1"; }
settled() { chmod 600 "$1"; [ "$(wc -c <"$1")" -eq "$3" ] && mv -f -- "$1" "$2"; }
told() { if "$@"; then echo "yes $what"; else echo "no $what"; fi; }
alive=
printf "\nedgekit-ready %s\n" "$$"
while read -r word what from to size; do
  case $word in
    start) alive="$alive $what" ;;
    done) kept=; for id in $alive; do [ "$id" = "$what" ] || kept="$kept $id"; done; alive=$kept ;;
    kill) end "$what"; echo "killed $what" ;;
    ask) echo "here $what" ;;
    expect) plain "$what"; set -- "$@" "$it" ;;
    remove) plain "$what"; rm -f -- "$it" ;;
    begin | settle) plain "$from"; from=$it; plain "$to"; case $word in begin) told begun "$from" "$it" ;; *) told settled "$from" "$it" "$size" ;; esac ;;
  esac
done 2>/dev/null
for id in $alive; do end "$id"; done 2>/dev/null
[ $# -eq 0 ] || rm -f -- "$@"
"""
# `exec` so that no shell's own echo, test or kill is run in place of the program; a subshell so that a signal becomes 128 + n.
LAUNCH = r"""printf "\nedgekit-ready %s\n" "$$"; read -r go || exit 143; (exec "$@"); exit"""

PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._,:=@+-")


class Guard:
    """The line to a guard's shell, over how bytes are sent to it and received from it; calls from several threads are allowed.

    `send` and `receive` raise OSError or EOFError where the line is gone; `receive` takes the seconds to wait (TimeoutError after
    them) and returns no bytes at the end.
    """

    def __init__(self, send: Callable[[bytes], object], receive: Callable[[float], bytes]) -> None:
        self.send = send
        self.receive = receive
        self.lock = threading.Lock()

    def started(self, process: int) -> None:
        """A process group runs from now on."""
        self.tell(f"start {process}")

    def ended(self, process: int) -> None:
        """It has ended by itself; what it left behind is none of the guard's business."""
        self.tell(f"done {process}")

    def expect(self, path: str) -> None:
        """A half-written file will be there."""
        self.tell(f"expect {escaped(path)}")

    def remove(self, path: str) -> None:
        self.tell(f"remove {escaped(path)}")

    def kill(self, process: int) -> None:
        """Kill a process group, and return once it is killed.

        Raises:
            OSError, EOFError: the guard does not answer.
        """
        self.answer(f"kill {process}", GRACE_S, f"killed {process}")

    def begin(self, aside: str, place: str, wait_s: float) -> bool:
        """Begin a file that will be moved to its place; whether it can be written, and the place is no folder. Raises as `answer`."""
        return self.agrees("begin", f"{escaped(aside)} {escaped(place)}", wait_s)

    def settle(self, aside: str, place: str, size_bytes: int, wait_s: float) -> bool:
        """Move a file to its place, for its owner alone; whether it had the size, and could be moved. Raises as `answer`."""
        return self.agrees("settle", f"{escaped(aside)} {escaped(place)} {size_bytes}", wait_s)

    def agrees(self, word: str, rest: str, wait_s: float) -> bool:
        mark = secrets.token_hex(4)  # an answer that was given up may still come
        line = f"{word} {mark} {rest}"
        return len(line) <= LINE_BYTES and self.answer(line, wait_s, f"yes {mark}", f"no {mark}").startswith("yes")

    def answer(self, line: str, wait_s: float, *answers: str) -> str:
        """Say a line, and wait for one of the lines that answer it.

        Raises:
            TimeoutError: none came in time.
            OSError, EOFError: the line is gone.
        """
        with self.lock:
            self.send(f"{line}\n".encode())
            said, deadline = b"", time.monotonic() + wait_s
            while True:
                whole = said.replace(b"\r", b"").split(b"\n")
                for answer in answers:
                    if answer.encode() in whole:
                        return answer
                data = self.receive(max(deadline - time.monotonic(), 0.001))
                if not data:
                    raise EOFError
                said = (said + data)[-NOISE_LIMIT_BYTES:]

    def tell(self, line: str) -> None:
        with self.lock:
            self.send(f"{line}\n".encode())


class Pulse:
    """Asks the guard now and then whether it is there; where nothing has come from the device for `SILENCE_S`, calls `lost`, which ends all that waits.

    A network that falls silent and a device that hangs close nothing: without this a command there would be waited for to its deadline.
    """

    def __init__(self, guard: Guard, lost: Callable[[], object]) -> None:
        self.guard = guard
        self.lost = lost
        self.heard = time.monotonic()
        self.over = threading.Event()
        for work in (self.ask, self.judge):  # two, for asking may itself wait without an end
            threading.Thread(target=work, name="edgekit-pulse", daemon=True).start()

    def ask(self) -> None:
        number = 0
        while not self.over.wait(ASK_S):
            number += 1
            try:
                self.guard.answer(f"ask {number}", ASK_S, f"here {number}")
                self.heard = time.monotonic()
            except TimeoutError:
                continue
            except (OSError, EOFError):  # the line is gone, which is heard by all that waits
                return self.stop()

    def judge(self) -> None:
        while not self.over.wait(1.0):
            if time.monotonic() - self.heard > SILENCE_S:
                self.lost()
                return

    def fed(self, feed: Iterable[bytes]) -> Iterator[bytes]:
        """A file's bytes; each piece that is taken is a sign of life: where the line is full of a file, an answer is late."""
        for data in feed:
            self.heard = time.monotonic()
            yield data

    def telling(self, out: Callable[[bytes], object]) -> Callable[[bytes], object]:
        """The same for a file that comes."""

        def tell(data: bytes) -> None:
            self.heard = time.monotonic()
            out(data)

        return tell

    def stop(self) -> None:
        self.over.set()


def escaped(path: str) -> str:
    """A path on one line, for `printf %b`."""
    return "".join(chr(byte) if byte in PLAIN else f"\\0{byte:03o}" for byte in os.fsencode(path))


def wait_ready(receive: Callable[[float], bytes], deadline: float) -> tuple[int, bytes]:
    """Read up to the line that a script says its process id on; returns it, and what came after that line.

    Raises:
        EOFError: the stream ended, or other words came for ever; with the last of those words.
        TimeoutError: the deadline (monotonic seconds) has passed.
    """
    said = b"\n"
    while True:
        _, marker, after = said.partition(READY)
        digits, newline, rest = after.partition(b"\n")
        if marker and newline and digits.strip().isdigit() and int(digits) > 1:
            return int(digits), rest
        if time.monotonic() > deadline:
            raise TimeoutError
        data = receive(max(deadline - time.monotonic(), 0.001))
        if not data or len(said) > NOISE_LIMIT_BYTES:
            raise EOFError(last_line(said.decode(errors="replace")))
        said += data
