"""Magnitudes of several layers in, how many of each should go out, so that the network loses least.

Layer-adaptive magnitude pruning (Lee et al. 2021, "Layer-adaptive Sparsity for the Magnitude-based Pruning", section 3): a weight's score is its
square over the sum of the squares of those of its layer that are no smaller; the lowest scores of the whole network go. Within a layer that is
the order of magnitudes; the largest weight of each layer has the score 1, so no layer is emptied before all are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

KNOTS = 4096
"""Scores taken of a layer, at evenly spaced ranks: exact in layers of so many weights, to 1/4096 of the layer in larger ones."""


def counts(sizes: Iterable[Array], fraction: float) -> list[int]:
    """How many weights of each layer go; together `fraction` of all, to the weight. The magnitudes of one layer at a time are held."""
    scores, lengths, owners = [], [], []
    for place, size in enumerate(sizes):
        score, length = scored(size)
        scores.append(score)
        lengths.append(length)
        owners.append(np.full(len(score), place))
    total = round(fraction * sum(int(length.sum()) for length in lengths))
    order = np.argsort(np.concatenate(scores), kind="stable")
    length = np.concatenate(lengths)[order]
    before = np.cumsum(length) - length
    gone = np.bincount(np.concatenate(owners)[order], weights=np.clip(total - before, 0, length), minlength=len(scores))
    return [int(many) for many in gone]


def scored(size: Array) -> tuple[Array, Array]:
    """Scores of runs of weights in the order of their magnitudes, and how many weights each run has."""
    ordered = np.sort(size, axis=None)
    starts = np.arange(0, ordered.size, -(-ordered.size // KNOTS))
    np.square(ordered, out=ordered)
    left = np.add.reduceat(ordered, starts, dtype=np.float64)[::-1].cumsum()[::-1]
    return ordered[starts] / np.maximum(left, np.finfo(np.float64).tiny), np.diff(starts, append=ordered.size)


def smallest_gone(size: Array, many: int) -> Array:
    """Mask (bool, the same shape) that is False at the `many` smallest; of equals the first go."""
    if many == 0:
        return np.ones(size.shape, bool)
    flat = size.reshape(-1)
    limit = np.partition(flat, many - 1)[many - 1]
    kept = flat > limit
    equal = np.flatnonzero(flat == limit)
    kept[equal[many - int(np.count_nonzero(flat < limit)) :]] = True
    return np.asarray(kept.reshape(size.shape))
