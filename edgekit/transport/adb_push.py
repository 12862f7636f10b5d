"""A file in, on the device by adb's own service for files out: what `adb push` gives, with what it does not promise.

The service writes a file in place, readable by everybody, and makes folders that are missing; it takes no deadline and no interrupt.
So it gets a name aside that the guard begins, checks, gives to its owner alone and moves to its place: in a shell that runs already.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from edgekit.errors import DeviceTimeout
from edgekit.transport.adb_connection import AdbConnection
from edgekit.transport.local import exchange
from edgekit.transport.streams import Output, aside_of, sending

PUSH_BYTES = 4 << 20
"""From here on the service for files is faster: a shell's stream moves four fifths of its bytes a second, what goes before and after takes a few ms."""
LOST_S = 0.5  # all clients of a connection that is lost have ended by then
LOOK_S = 1.0  # between looks at how much has come, a command each; adb tells its percentages to terminals only


def push(device: AdbConnection, source: Path, destination: str, *, timeout_s: float, progress: Callable[[int], None] | None) -> bool:
    """Send a file into an existing folder; it appears whole or not at all. `progress` hears about once a second how many bytes are there.

    Returns whether it is there; if not, the device refused it for another reason than space, and a stream does better or tells why.

    Raises:
        DeviceError: no space left.
        DeviceTimeout, Unreachable: as for `Transport.run`.
    """
    assert device.guard is not None
    deadline = time.monotonic() + timeout_s
    size_bytes, aside = source.stat().st_size, aside_of(destination)
    argv, doing = ["adb", "push", str(source), aside], sending(destination, size_bytes)

    def left_s() -> float:
        return max(deadline - time.monotonic(), 0.001)

    there = False
    device.expect(aside)
    try:
        with device.told(argv, doing, timeout_s):
            if not device.guard.begin(aside, destination, left_s()):
                return False
            complaint = send(device, source, aside, deadline, looking(device, aside, deadline, progress) if progress else None)
            if complaint:
                device.alive(doing, wait_s=LOST_S)
            if "No space left" in complaint:
                raise device.unwritten(destination, size_bytes, argv, 1, complaint)
            if complaint:
                return False
            if progress is not None:
                progress(size_bytes)
            there = device.guard.settle(aside, destination, size_bytes, left_s())
    finally:
        if not there:
            device.remove(aside)
    return there


def send(device: AdbConnection, source: Path, destination: str, deadline: float, watch: Callable[[], object] | None = None) -> str:
    """`adb push` of one file; returns what adb complains of, nothing where all is well.

    Raises:
        TimeoutError, subprocess.TimeoutExpired: the deadline (monotonic seconds) has passed; adb has been ended.
    """
    client, said = device.client(["push", str(source.absolute()), destination]), Output()
    try:
        for _, data in exchange(client, iter(()), deadline, watch):
            said.feed(data)
        code = client.wait(timeout=max(deadline - time.monotonic(), 0.001))
    finally:
        device.dismiss(client)
    lines = [line for line in said.end().splitlines() if "error" in line]
    return "" if code == 0 else (lines or [f"adb push ended with code {code}"])[0]


def looking(device: AdbConnection, path: str, deadline: float, progress: Callable[[int], None]) -> Callable[[], None]:
    """What tells now and then how many bytes of a file have come. It waits as long as the push may take: behind it, where the line is slow."""
    due = time.monotonic() + LOOK_S

    def look() -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        with contextlib.suppress(DeviceTimeout):  # the push is told so too
            told = device.run(["stat", "-c", "%s", path], timeout_s=max(deadline - time.monotonic(), 0.001), check=False)
            if told.code == 0 and told.stdout.strip().isdigit():
                progress(int(told.stdout))
        due = time.monotonic() + LOOK_S

    return look
