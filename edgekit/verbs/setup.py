"""A Device and formats in, everything that files of these formats need on it sent; or all that edgekit has there removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from edgekit.ask import ask
from edgekit.deliver import Delivery, Thing, blob_of
from edgekit.device import Device
from edgekit.errors import InputError
from edgekit.lock import Holder, lock
from edgekit.runners import Need, Runner, runner_for
from edgekit.runtime import platform_of
from edgekit.transport import Transport, connect

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class Item:
    """One file that a device needs."""

    need: Need
    formats: tuple[str, ...]
    """What it is needed for."""
    size_bytes: int
    """What sending it takes."""
    there: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What a device needs, and how much of it is there."""

    transport: Transport
    delivery: Delivery
    runner: Runner
    formats: tuple[str, ...]
    items: tuple[Item, ...]

    @property
    def missing_bytes(self) -> int:
        """What sending takes all in all."""
        return sum(item.size_bytes for item in self.items if not item.there)

    def send(self, progress: Progress) -> int:
        """Send what is not there; returns the bytes that were sent.

        Raises:
            DeviceError: another edgekit uses the device, the connection was lost, or there is no space.
        """
        listener: Callable[[str, int, int], None] = lambda name, sent, total: progress(f"sending {name}", sent / max(total, 1))  # noqa: E731
        with lock(self.transport, self.delivery.root, Holder.here("edgekit setup")):
            for form in self.formats:
                self.runner.bring(self.delivery, form, listener)
        return self.delivery.pushed_bytes


@contextmanager
def planned(device: Device, formats: Sequence[str], asked: str | None, progress: Progress, *, every: bool = True) -> Iterator[Plan]:
    """Ask a device what it is and has; the plan can be carried out while the block lasts.

    Args:
        formats: of the files that will be run there; `every`: all of them have to run there, else those that do not are left out.
        asked: the runner's name; None takes the device's own, else its platform's.

    Raises:
        InputError: the runner does not run such files there.
        SetupError: what it needs cannot be made here, with the cure.
        DeviceError: the device cannot be reached, or lacks what the runner needs.
    """
    progress(f"connecting to {device.address}", None)
    with connect(device.address) as transport:
        platform = platform_of(transport)
        runner = runner_for(device, platform, ask(transport, platform, device.python), asked)
        delivery = Delivery.open(transport)
        progress("preparing what it needs", None)
        needed: dict[Need, list[str]] = {}
        refused: InputError | None = None
        for form in formats:
            try:
                for need in runner.needs(form):
                    needed.setdefault(need, []).append(form)
            except InputError as exc:
                if every:
                    raise
                refused = exc
        if not needed and refused is not None:
            raise refused
        items = tuple(Item(need, tuple(forms), need.path.stat().st_size, has(delivery, need)) for need, forms in needed.items())
        runs = tuple(form for form in formats if any(form in item.formats for item in items))
        yield Plan(transport, delivery, runner, runs, items)


def has(delivery: Delivery, need: Need) -> bool:
    """Whether a device has a file, or an archive unpacked."""
    blob = blob_of(need.path.name, need.path)
    return delivery.tree(("tree", blob.sha256), blob) is not None if need.unpacked else not delivery.missing([blob])


MODELS = (".tflite", ".onnx", ".npy", ".npz", ".mlpackage", ".mlmodel", ".samples", "folder.tar")
"""How the names of what one run sends end: models, and samples for them."""


@dataclass(frozen=True, slots=True)
class Group:
    """Things in a device's store that a person sees as one."""

    title: str
    count: int
    size_bytes: int


def grouped(things: Iterable[Thing]) -> tuple[Group, ...]:
    """What lies on a device, the largest group first: models and samples together, all versions of one runtime or agent together."""
    groups: dict[str, list[Thing]] = {}
    for thing in things:
        groups.setdefault(title(thing), []).append(thing)
    made = (
        Group(found[0].name if len(found) == 1 and "…" in kind else kind, len(found), sum(one.size_bytes for one in found)) for kind, found in groups.items()
    )
    return tuple(sorted(made, key=lambda group: -group.size_bytes))


def title(thing: Thing) -> str:
    """`agent-linux-1a2b3c4d5e6f.pyz` → `agent-linux-….pyz`: versions of one file differ in their digests."""
    kind, _, rest = thing.path.partition("/")
    if rest.rpartition("/")[2].startswith("."):
        return "what was not sent or unpacked to its end"
    if kind == "jobs":
        return "folders of jobs"
    if thing.name.endswith(MODELS):
        return "models and samples"
    return re.sub(r"[0-9a-f]{12,}", "…", thing.name) or "unpacked runtimes"


@dataclass(frozen=True, slots=True)
class Store:
    """What lies on a device."""

    transport: Transport
    delivery: Delivery
    things: tuple[Thing, ...]

    @property
    def size_bytes(self) -> int:
        return sum(thing.size_bytes for thing in self.things)

    def remove(self) -> None:
        """Remove it all, and the folder if nothing else is in it.

        Raises:
            DeviceError: another edgekit uses the device.
        """
        with lock(self.transport, self.delivery.root, Holder.here("edgekit setup --remove")):
            self.delivery.wipe()


@contextmanager
def stored(device: Device, progress: Progress) -> Iterator[Store]:
    """See what lies on a device; it can be removed while the block lasts."""
    progress(f"connecting to {device.address}", None)
    with connect(device.address) as transport:
        delivery = Delivery.open(transport)
        yield Store(transport, delivery, delivery.things())
