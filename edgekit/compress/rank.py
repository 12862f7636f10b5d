"""Dependency groups and their weights in, the importance of each channel and the channels that stay out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from edgekit.compress.groups import Group, Trace
from edgekit.compress.wish import Array, Wish
from edgekit.hub.graph import array

STEPS = ((64, 16), (32, 8), (16, 4))
"""Groups of at least so many channels keep a multiple of so many: kernels compute channels in tiles (of 16 with AVX-512 in ONNX Runtime, of 8 or 16 in
XNNPACK, of 4 at least with NEON), so that channels up to the next multiple cost no time, and ones that break a tile cost some."""

SPREAD = 0.5
"""Under one ranking for the whole network a group loses at least so much of what it would lose if all were cut alike (else only late layers, which have
the most channels and the fewest multiply-accumulates, would be cut), and keeps at least `LEAST` of what it would keep."""
LEAST = 0.75


def importance(trace: Trace, label: Array, free: Sequence[Group], wish: Wish) -> tuple[Array, list[str]]:
    """float64 [channels of the trace]: the importance of each class, in one unit for the whole network; 0 where none is known. And notes.

    Of the weights: the share of its readers' energy (sum of squares) that a cut takes from them, added up over all tensors that read the channel.
    The norm of the weights that make it says little once a normalisation is folded into them (He et al. 2014, "Reshaping deep neural network for
    fast decoding by node-pruning", section 3.2: the output weights' norm; summed over a dependency group as in Fang et al. 2023, "DepGraph",
    section 3.3). Channels that no weights read (of Q and K) have the share of those that make them.

    Where the wish brings Taylor scores of weights that make the channels of every group, these (Molchanov et al. 2019, section 3.1).
    """
    energy = {makes: np.zeros(trace.count) for makes in (False, True)}
    scores, scored, read = np.zeros(trace.count), np.zeros(trace.count, bool), np.zeros(trace.count, bool)
    for (name, axis), slot in trace.slots.items():
        own = label[slot.channels]
        given = (wish.importance or {}).get(name)
        if slot.makes and given is not None and len(given) == len(own):
            np.add.at(scores, own, np.abs(given))
            scored[own] = True
        values = array(trace.stored[name])
        if values.dtype.kind == "f" and values.size > values.shape[axis]:
            found = squares(values, axis)
            np.add.at(energy[slot.makes], own, found / max(float(found.sum()), np.finfo(np.float64).tiny))
            read[own] |= not slot.makes
    bare = next((group.name for group in free if not scored[group.members].all()), None)
    if bare is None:
        return scores, []
    notes = [f"channels are weighed by the weights that read them, as there are no scores for {bare}"] if wish.importance else []
    return np.where(read, energy[False], energy[True]), notes


def squares(values: Array, axis: int) -> Array:
    """Sum of squares of each slice along an axis, without a copy of the tensor in float64."""
    rest = "".join(chr(ord("a") + place) for place in range(values.ndim))
    return np.asarray(np.einsum(f"{rest},{rest}->{rest[axis]}", values, values), np.float64)


def choose(free: Sequence[Group], score: Array, share: float, per_layer: bool, own: Mapping[int, float]) -> dict[int, Array]:
    """Group (its place in `free`) → the classes that go.

    Args:
        share: of the channels, 0 to 1.
        per_layer: from each group that share; else from all together, least important first.
        own: group → a share of its own.
    """
    wanted = {place: own.get(place, share) * len(group.members) for place, group in enumerate(free)}
    pooled = [place for place in range(len(free)) if place not in own]
    if not per_layer and pooled:
        ranked = []
        for place in pooled:
            size = len(free[place].members)
            wanted[place] = math.floor(SPREAD * share * size)
            most = size - max(1, math.ceil(LEAST * (1 - share) * size))
            ranked += [(float(value), place) for value in np.sort(score[free[place].members])[int(wanted[place]) : most]]
        left = round(share * sum(len(free[place].members) for place in pooled) - sum(wanted[place] for place in pooled))
        for _, place in sorted(ranked)[:left]:
            wanted[place] += 1
    gone = {}
    for place, group in enumerate(free):
        kept = keep(len(group.members), len(group.members) - wanted[place])
        order = np.argsort(score[group.members], kind="stable")
        gone[place] = group.members[order[: len(group.members) - kept]]
    return gone


def keep(size: int, wanted: float) -> int:
    """How many channels of a group stay: near `wanted`, by `STEPS`, at least one."""
    step = next((step for least, step in STEPS if size >= least), 1)
    return min(size, max(step if size > step else 1, round(wanted / step) * step))
