"""An address in (`local:`, `ssh:pi@bench`), an open way to that device out: run, push, pull.

A transport is found by the scheme of the address in the entry-point group `edgekit.transports`; each entry is a function
`connect(address, *, timeout_s) -> Transport`. What is built in is registered the same way as what others add.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast

from edgekit.errors import InputError

CONNECT_S = 15.0


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended. `code` is what a shell would say (128 + n after signal n)."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    truncated: bool = False  # more than output.LIMIT_BYTES were written to one stream; the rest was read and dropped


class Transport(Protocol):
    """An open way to one device. All calls end by their deadline; errors are `DeviceError`s that start with the address."""

    @property
    def address(self) -> str:
        """As the user gave it: `local:`, `ssh:pi@bench`."""

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
        """Run a command in a process group of its own and wait for it; `on_line` gets each line of stdout as it comes, and `watch` is called
        at least once a second: what either raises ends the command.

        After a timeout, a Ctrl-C or a lost connection it is killed there with its children; what it leaves behind when it ends by itself, stays.

        Raises:
            CommandFailed: it ended with a code other than 0, and `check` is set.
            DeviceTimeout: it did not end in time; it has been killed.
            Unreachable: the connection was lost.
        """

    def push(self, source: Path, destination: str, *, timeout_s: float, progress: Callable[[int], None] | None = None) -> None:
        """Send one file into an existing folder; it appears whole or not at all. `progress` gets the bytes sent so far.

        Raises:
            DeviceError: no space left, or not allowed.
            DeviceTimeout, Unreachable: as for `run`.
        """

    def pull(self, source: str, destination: Path, *, timeout_s: float) -> None:
        """Fetch one file; it appears here whole or not at all.

        Raises:
            CommandFailed: it cannot be read there.
            DeviceTimeout, Unreachable: as for `run`.
            SetupError: it cannot be written here.
        """

    def close(self) -> None:
        """End the connection, and whatever still runs through it. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def connect(address: str, *, timeout_s: float = CONNECT_S) -> Transport:
    """Open the way to a device.

    Raises:
        InputError: no transport has the address's scheme; the message lists them, the nearest first.
        Unreachable: the device does not answer, or one of the two does not accept the other.
    """
    from importlib.metadata import entry_points

    scheme, colon, _ = address.partition(":")
    known = {entry.name: entry for entry in entry_points(group="edgekit.transports")}
    if not colon or scheme not in known:
        raise InputError(f"{address!r} is not the address of a device: {suggestion(scheme, sorted(known))}")
    open_transport = cast(Callable[..., Transport], known[scheme].load())
    return open_transport(address, timeout_s=timeout_s)


def suggestion(scheme: str, known: list[str]) -> str:
    """The schemes there are, in words, and the one that was probably meant."""
    from edgekit.nearest import nearest

    best = nearest(scheme, known)
    meant = f"did you mean '{best}:'? " if best else ""
    return f"{meant}addresses begin with {', '.join(name + ':' for name in known)}, as in local: or ssh:pi@bench"
