"""One file on a device that is ready, as a test wants it: its measurement to the end, or what went wrong raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgekit.agent import Progress
from edgekit.device import Device, resolve
from edgekit.errors import EdgekitError
from edgekit.measure import measure
from edgekit.protocol import Protocol, Settings, Subject
from edgekit.records import Measurement
from edgekit.transport import connect
from edgekit.workbench import Bench

SHORT = Protocol("short", processes=1, min_runs=50, min_s=0.1, warm_up_min_s=0.0, warm_up_max_s=0.3, deadline_s=60, repeats=0)


@contextmanager
def opened(target: str = "local", settings: Settings = Settings(), device: Device | None = None) -> Iterator[Bench]:  # noqa: B008 (frozen)
    """A device, ready to measure."""
    device = device or resolve(target)
    with connect(device.address) as transport, Bench.open(transport, device, settings, verb="test") as bench:
        yield bench


def taken(
    bench: Bench,
    subject: Subject,
    protocol: Protocol = SHORT,
    settings: Settings = Settings(),  # noqa: B008 (frozen)
    progress: Progress = lambda text, fraction: None,
) -> Measurement:
    """The last that is known of a file."""
    *_, (_, found) = measure(bench, [subject], protocol, settings, progress)
    if isinstance(found, EdgekitError):
        raise found
    return found
