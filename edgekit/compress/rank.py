"""Dependency groups and their weights in, the importance of each channel and the channels that stay out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from edgekit.compress.groups import Group, Trace
from edgekit.compress.wish import Array, Wish
from edgekit.hub.graph import array

STEPS = ((64, 8), (16, 4))
"""A group of at least 64 channels keeps a multiple of 8 and one of at least 16 a multiple of 4: the tiles in which XNNPACK's, KleidiAI's and Core ML's
kernels compute channels, so that those up to the next multiple cost no time."""

LEAST = 0.5
"""Under one ranking for the whole network a group keeps at least so much of what it would keep if all were cut alike."""


def importance(trace: Trace, label: Array, wish: Wish) -> Array:
    """float64 [channels of the trace]: the importance of each class, in units of its tensor's own mean; 0 elsewhere.

    Of the weights: the L2 norm of all slices that go with a channel, those that make it and those that read it, each tensor divided by its mean norm so
    that all have one say (Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 3.1; Fang et al. 2023, "DepGraph", section 3.3). Where the
    wish brings Taylor scores of the weights that make a channel (Molchanov et al. 2019, section 3.1), these alone.
    """
    norms, scores = np.zeros(trace.count), np.zeros(trace.count)
    scored = np.zeros(trace.count, bool)
    for (name, axis), slot in trace.slots.items():
        own = label[slot.channels]
        given = (wish.importance or {}).get(name)
        if slot.makes and given is not None and len(given) == len(own):
            np.add.at(scores, own, np.abs(given))
            scored[own] = True
        values = array(trace.stored[name])
        if values.dtype.kind == "f" and values.size > values.shape[axis]:
            found = np.zeros(trace.count)
            np.add.at(found, own, squares(values, axis))
            found = np.sqrt(found)
            present = np.unique(own)
            norms[present] += found[present] / max(found[present].mean(), np.finfo(np.float64).tiny)
    return np.where(scored, scores, norms)


def squares(values: Array, axis: int) -> Array:
    """Sum of squares of each slice along an axis, without a copy of the tensor in float64."""
    rest = "".join(chr(ord("a") + place) for place in range(values.ndim))
    return np.asarray(np.einsum(f"{rest},{rest}->{rest[axis]}", values, values), np.float64)


def choose(free: Sequence[Group], score: Array, share: float, per_layer: bool, own: Mapping[int, float]) -> dict[int, Array]:
    """Group (its place in `free`) → the classes that go.

    Args:
        share: of the channels, 0 to 1.
        per_layer: from each group that share; else from all together, least important first, each in units of its group's mean.
        own: group → a share of its own.
    """
    wanted = {place: own.get(place, share) * len(group.members) for place, group in enumerate(free)}
    pooled = [place for place in range(len(free)) if place not in own]
    if not per_layer and pooled:
        ranked = sorted((value, place) for place in pooled for value in ranks(free[place], score, share))
        for place in pooled:
            wanted[place] = 0
        for _, place in ranked[: round(share * sum(len(free[place].members) for place in pooled))]:
            wanted[place] += 1
    gone = {}
    for place, group in enumerate(free):
        kept = keep(len(group.members), len(group.members) - wanted[place])
        order = np.argsort(score[group.members], kind="stable")
        gone[place] = group.members[order[: len(group.members) - kept]]
    return gone


def ranks(group: Group, score: Array, share: float) -> list[float]:
    """The importances of those channels of a group that may go, over the group's mean."""
    values = np.sort(score[group.members])
    most = len(values) - max(1, math.ceil(LEAST * (1 - share) * len(values)))
    return [float(value) for value in values[:most] / max(float(values.mean()), np.finfo(np.float64).tiny)]


def keep(size: int, wanted: float) -> int:
    """How many channels of a group stay: near `wanted`, by `STEPS`, at least one."""
    step = next((step for least, step in STEPS if size >= least), 1)
    return min(size, max(step if size > step else 1, round(wanted / step) * step))
