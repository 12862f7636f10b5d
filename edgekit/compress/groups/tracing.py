"""A hub in, its channels out, as they are found: for each axis of each tensor the channels that lie along it, and which of them stand or fall together.

A channel is an integer. An axis whose elements are no channels (a batch, a time, a row of pixels, or all that comes from the model's inputs) has
None, and so has every axis of one element. The method is the dependency graph of Fang et al. 2023 ("DepGraph: Towards Any Structural Pruning",
section 3.2), kept for single channels instead of whole layers, so that concatenations, splits and views need no case of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto

from edgekit.hub.graph import array, constants, reads, static_shapes, title

Array = np.ndarray[Any, Any]
Channels = Array | None
"""int64 channels along an axis, one for each element; a channel may stand there more than once."""


@dataclass(slots=True)
class Slot:
    """An axis of an initializer along which channels lie."""

    channels: Array
    makes: bool
    """The slices compute the channels; else they read or follow them."""


class Trace:
    """What is known so far; `groups.rules` say how each operator adds to it."""

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.shapes = static_shapes(model.graph)
        self.stored = constants(model.graph)
        self.axes: dict[str, list[Channels]] = {}
        self.slots: dict[tuple[str, int], Slot] = {}
        self.ties: list[tuple[Array, Array]] = []
        self.frozen: list[tuple[Array, str]] = []
        self.fixed: set[tuple[str, int]] = set()
        """Axes of initializers that some reader needs whole."""
        self.used: set[str] = set()
        """Initializers that the rule of the present node has explained."""
        self.renormalised: list[str] = []
        """Nodes that normalise over channels: fewer of them have another mean and variance."""
        self.count = 0

    def of(self, name: str) -> list[Channels]:
        """The channels along each axis of a computed tensor."""
        return self.axes.get(name) or [None] * len(self.shapes[name])

    def values(self, name: str) -> Array | None:
        """A stored tensor (axes, sizes, indices)."""
        return array(self.stored[name]) if name in self.stored else None

    def fresh(self, size: int) -> Channels:
        """New channels."""
        if size <= 1:
            return None
        self.count += size
        return np.arange(self.count - size, self.count)

    def inert(self, size: int, why: str) -> Array:
        """New channels that stay: part of an axis whose other parts are channels."""
        self.count += size
        made = np.arange(self.count - size, self.count)
        self.freeze(made, why)
        return made

    def tie(self, one: Channels, other: Channels, why: str) -> None:
        """Channels that stand or fall together, element by element; with what are no channels they stay."""
        if one is None or other is None:
            self.freeze(one, why)
            self.freeze(other, why)
        else:
            self.ties.append((one.ravel(), other.ravel()))

    def freeze(self, channels: Channels, why: str) -> None:
        """Channels that stay, and the reason."""
        if channels is not None:
            self.frozen.append((channels.ravel(), why))

    def use(self, name: str, axes: Sequence[Channels], makes: int | None = None) -> None:
        """A node reads an initializer, with these channels along its axes.

        Args:
            makes: the axis whose slices compute their channels.
        """
        self.used.add(name)
        for axis, channels in enumerate(axes):
            slot = self.slots.get((name, axis))
            if channels is None:
                if self.shapes[name][axis] > 1:
                    self.fixed.add((name, axis))
            elif slot is None:
                self.slots[name, axis] = Slot(channels, axis == makes)
            else:
                self.tie(slot.channels, channels, "")
                slot.makes |= axis == makes

    def unknown(self, node: NodeProto) -> None:
        """An operator that is not understood: whatever it reads stays, and what it gives are no channels."""
        for name in dict.fromkeys(reads(node)):
            for channels in self.axes.get(name, ()):
                self.freeze(channels, f"{node.op_type} {title(node)!r} is not cut through")

    def settle(self, node: NodeProto) -> None:
        """After a node's rule: initializers that it did not explain stay whole."""
        for name in dict.fromkeys(reads(node)):
            if name in self.stored and name not in self.used:
                self.fixed.update((name, axis) for axis in range(len(self.stored[name].dims)))
        self.used.clear()


def aligned(trace: Trace, node: NodeProto, names: Sequence[str], inner: int = 0) -> list[Channels]:
    """The channels along the axes of what broadcasts (ONNX, "Broadcasting"): those that meet are tied. Initializers follow.

    Args:
        names: stored and computed tensors.
        inner: so many last axes are left out; of an initializer, its reader has to tell `use` them.
    """
    shapes = {name: trace.shapes[name][: len(trace.shapes[name]) - inner] for name in names}
    rank = max(len(shape) for shape in shapes.values())
    found: list[Channels] = []
    for place in range(-rank, 0):
        there = [name for name in names if len(shapes[name]) >= -place]
        size = max(shapes[name][place] for name in there)
        carried = [trace.of(name)[place - inner] for name in there if shapes[name][place] == size and name not in trace.stored]
        known = [channels for channels in carried if channels is not None]
        for other in known[1:]:
            trace.tie(known[0], other, "")
        if known and len(known) < len(carried):
            trace.freeze(known[0], f"{node.op_type} {title(node)!r} joins them with what is computed without weights")
        found.append(known[0] if known else None)
    return found


def along(trace: Trace, name: str, found: Sequence[Channels], inner: int = 0) -> list[Channels]:
    """The part of `aligned` axes that an initializer has itself: none where it is spread from one element."""
    shape = trace.shapes[name][: len(trace.shapes[name]) - inner]
    own = found[len(found) - len(shape) :]
    return [channels if size > 1 else None for channels, size in zip(own, shape, strict=True)]
