"""A Trace in, groups out: sets of channels that the same weights make and read, each channel with all that goes when it goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edgekit.compress.groups.tracing import Array, Trace


@dataclass(frozen=True, slots=True)
class Group:
    """Channels of one kind: the filters of a layer, the units that a residual stream adds up, the heads of an attention."""

    members: Array
    """int64 [n]: a channel's class, one for each that can be removed by itself."""
    slots: tuple[tuple[str, int], ...]
    """The initializers and axes along which they lie."""
    makers: tuple[str, ...]
    """Weights that compute them, in the graph's order."""
    frozen: str | None
    """Why none of them can go; None if they can."""

    @property
    def name(self) -> str:
        return self.makers[0] if self.makers else self.slots[0][0]


def classes(count: int, ties: Iterable[tuple[Array, Array]]) -> Array:
    """int64 [count]: the least channel that a channel is tied to, directly or through others (connected components by hooking and pointer jumping)."""
    label = np.arange(count)
    pairs = list(ties)
    if not pairs:
        return label
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    while True:
        low = np.minimum(label[one], label[other])
        new = label.copy()
        for ends in (one, other):
            np.minimum.at(new, label[ends], low)
        new = new[new]
        if np.array_equal(new, label):
            return label
        label = new


def groups(trace: Trace, label: Array) -> list[Group]:
    """All groups of a traced hub, in the order of their first channels; frozen ones with the reason.

    Args:
        label: of `classes`.
    """
    places = list(trace.slots)
    touched = np.zeros((trace.count, len(places)), bool)
    for column, place in enumerate(places):
        touched[label[trace.slots[place].channels], column] = True
    reason = np.full(trace.count, -1)
    for index in range(len(trace.frozen) - 1, -1, -1):
        reason[label[trace.frozen[index][0]]] = index
    members = np.flatnonzero(touched.any(axis=1))
    keys = np.concatenate([touched[members], reason[members, None] >= 0], axis=1)
    _, which = np.unique(keys, axis=0, return_inverse=True)
    found = []
    for number in range(int(which.max(initial=-1)) + 1):
        own = members[which == number]
        slots = tuple(place for column, place in enumerate(places) if touched[own[0], column])
        makers = tuple(dict.fromkeys(name for name, axis in slots if trace.slots[name, axis].makes))
        why = None
        if reason[own[0]] >= 0:
            why = trace.frozen[reason[own[0]]][1]
        elif len(own) == 1 or not makers:
            why = "they all hang together" if makers else "no weights make them"
        found.append(Group(own, slots, makers, why))
    return sorted(found, key=lambda group: int(group.members[0]))
