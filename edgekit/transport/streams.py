"""A way to stream through one command in; `run`, `push` and `pull` out: what all transports with a shell share.

A transport of this kind says how a command is started, fed and ended (`stream`); files go through `cat`, so they need no
service beyond the shell, and the device's own words come back when it fails.
"""

from __future__ import annotations

import posixpath
import secrets
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from edgekit.errors import CommandFailed, DeviceError, DeviceTimeout, InputError
from edgekit.files import CHUNK, written_aside
from edgekit.transport import Completed
from edgekit.units import bytes_text

if TYPE_CHECKING:
    from edgekit.transport.guard import Pulse

LIMIT_BYTES = 16 << 20  # of each stream of a command; far above any result, far below what would hurt this machine
LINE_LIMIT_BYTES = 1 << 20
SPACE_S = 15.0

# $1 is written aside and becomes $2 only if all $3 bytes arrived.
RECEIVE = """LC_ALL=C; export LC_ALL
if [ -d "$2" ]; then echo "$2: is a folder" >&2; exit 1; fi
if cat >"$1" && [ "$(wc -c <"$1")" -eq "$3" ] && mv -f -- "$1" "$2"; then exit 0; fi
rm -f -- "$1"; exit 1"""
SEND = 'LC_ALL=C; export LC_ALL; exec cat <"$1"'


class Output:
    """What one stream of a command wrote: kept up to a limit, and given on line by line."""

    def __init__(self, on_line: Callable[[str], None] | None = None) -> None:
        self.kept = bytearray()
        self.truncated = False
        self.on_line = on_line
        self.pending = b""

    def feed(self, data: bytes) -> None:
        room = LIMIT_BYTES - len(self.kept)
        self.truncated |= len(data) > room
        self.kept += data[:room]
        if self.on_line is not None:
            *lines, self.pending = (self.pending + data).split(b"\n")
            if len(self.pending) > LINE_LIMIT_BYTES:
                lines, self.pending = [*lines, self.pending], b""
            for line in lines:
                self.on_line(line.decode(errors="replace"))

    def end(self) -> str:
        """The text; a last line without an end is given on too."""
        if self.on_line is not None and self.pending:
            self.on_line(self.pending.decode(errors="replace"))
        return self.kept.decode(errors="replace")


class StreamTransport(ABC):
    """`Transport` out of one method, `stream`, and two that look after half-written files."""

    address: str
    pulse: Pulse | None = None
    """What notices that the device has fallen silent, where there is a connection."""

    @abstractmethod
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
        """Run a command, feed its stdin, hand on what it writes, and call `watch` now and then; returns its code. Ends it if anything is raised
        on the way."""

    @abstractmethod
    def expect(self, path: str) -> None:
        """A half-written file will be there: have it removed if the connection is lost."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a half-written file, if the device can still be reached."""

    @abstractmethod
    def close(self) -> None:
        """End the connection, and whatever still runs through it."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        check: bool = True,
        stdin: bytes = b"",
        on_line: Callable[[str], None] | None = None,
        watch: Callable[[], object] | None = None,
    ) -> Completed:
        out, err = Output(on_line), Output()
        doing = f"running `{words(argv)}`"
        code = self.stream(argv, feed=[stdin] if stdin else [], out=out.feed, err=err.feed, timeout_s=timeout_s, doing=doing, watch=watch)
        completed = Completed(tuple(argv), code, out.end(), err.end(), out.truncated or err.truncated)
        if check and code != 0:
            raise failed(self.address, completed)
        return completed

    def push(self, source: Path, destination: str, *, timeout_s: float, progress: Callable[[int], None] | None = None) -> None:
        size_bytes = source.stat().st_size
        aside = aside_of(destination)
        argv = ["sh", "-c", RECEIVE, "sh", aside, destination, str(size_bytes)]
        err = Output()
        content = chunks(source, progress)
        self.expect(aside)
        try:
            code = self.stream(
                argv,
                feed=content if self.pulse is None else self.pulse.fed(content),
                out=lambda _: None,
                err=err.feed,
                timeout_s=timeout_s,
                doing=sending(destination, size_bytes),
            )
        except BaseException:
            self.remove(aside)
            raise
        if code != 0:
            raise self.unwritten(destination, size_bytes, argv, code, err.end())

    def pull(self, source: str, destination: Path, *, timeout_s: float) -> None:
        argv = ["sh", "-c", SEND, "sh", source]
        err = Output()
        with written_aside(destination) as aside:
            with aside.open("wb") as file:
                out = file.write if self.pulse is None else self.pulse.telling(file.write)
                code = self.stream(argv, feed=[], out=out, err=err.feed, timeout_s=timeout_s, doing=f"fetching {source}")
            if code != 0:
                said = err.end()
                raise CommandFailed(self.address, f"{source} could not be read: {last_line(said) or f'code {code}'}", argv=argv, code=code, stderr=said)

    def unwritten(self, destination: str, size_bytes: int, argv: Sequence[str], code: int, said: str) -> DeviceError:
        """The error for a file that the device did not take, out of its words."""
        if "No space left" in said or "quota exceeded" in said:
            return no_space(self.address, destination, size_bytes, self.free_bytes(posixpath.dirname(destination) or "."))
        reason = last_line(said) or f"fewer than its {size_bytes} bytes arrived; send it again"
        return CommandFailed(self.address, f"{destination} could not be written: {reason}", argv=argv, code=code, stderr=said)

    def free_bytes(self, folder: str) -> int | None:
        """Bytes that may still be written to a folder of the device; None where it cannot tell."""
        told = self.run(["df", "-Pk", folder], timeout_s=SPACE_S, check=False)
        columns = last_line(told.stdout).split()
        return int(columns[3]) * 1024 if told.code == 0 and len(columns) > 3 and columns[3].isdigit() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def chunks(source: Path, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    """A file's bytes; `progress` hears how many of them have been taken."""
    sent = 0
    try:
        with source.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
                sent += len(chunk)
                if progress is not None:
                    progress(sent)
    except OSError as exc:
        raise InputError(f"cannot read {source}: {exc.strerror}; check the file and repeat the command") from exc


def aside_of(destination: str) -> str:
    """Where a file is written until it is whole: beside its place, under a name of its own."""
    folder, name = posixpath.split(destination)
    return posixpath.join(folder or ".", f".{name[:200]}.{secrets.token_hex(4)}.part")


def sending(destination: str, size_bytes: int) -> str:
    """A push, for a message."""
    return f"sending {posixpath.basename(destination)} ({bytes_text(size_bytes)})"


def words(argv: Sequence[str]) -> str:
    """A command for a message: quoted, on one line, not longer than a line or two."""
    text = shlex.join(argv).replace("\n", " ")
    return text if len(text) <= 160 else text[:157] + "…"


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else ""


def failed(address: str, completed: Completed) -> CommandFailed:
    """The error for a command that ended with another code than 0."""
    reason = last_line(completed.stderr) or last_line(completed.stdout) or "it said nothing"
    message = f"`{words(completed.argv)}` ended with code {completed.code}: {reason}"
    return CommandFailed(address, message, argv=completed.argv, code=completed.code, stdout=completed.stdout, stderr=completed.stderr)


def timed_out(address: str, argv: Sequence[str], doing: str, timeout_s: float) -> DeviceTimeout:
    """The error for a command or transfer that was ended at its deadline."""
    message = f"not done within {timeout_s:g} s while {doing}; it was stopped there: look at what keeps the device busy, or allow more time"
    return DeviceTimeout(address, message, argv=argv)


def no_space(address: str, destination: str, needs_bytes: int | None, has_bytes: int | None) -> DeviceError:
    """The error for a device's full disk."""
    figures = ", ".join(f"{word} {bytes_text(count)}" for word, count in (("needs", needs_bytes), ("has", has_bytes)) if count is not None)
    return DeviceError(address, f"no space left on the device for {destination}{figures and f' ({figures})'}: free some there and repeat the command")
