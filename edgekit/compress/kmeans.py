"""Numbers in, the k values that stand for them with the least square error out (k-means in one dimension).

The best k among some hundred cells is found exactly, by dynamic programming (Wang & Song 2011, "Ckmeans.1d.dp"): of numbers that are that few
there is none better. Where cells hold several numbers, Lloyd's iteration (Lloyd 1982) goes on from there. Nothing is drawn at random.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BINS = 1 << 14
"""Of the histogram: 64 to each of 256 values, so that a boundary is off by little; fewer numbers than that are taken one by one."""
CHUNK = 1 << 18
"""Numbers handled at a time."""
CELLS = 256
"""That dynamic programming looks at; at least two for each value."""
ROUNDS = 100

FEW = 16
"""So many values are far enough apart to be put on even steps."""


def centres(numbers: Array, k: int) -> Array:
    """At most k values (float32, ascending), for numbers of any shape; those they are where they are no more than k."""
    points, many, total = histogram(numbers.reshape(-1))
    if len(points) <= k:
        return np.asarray(total / many, np.float32)
    return lloyd(points, many, total, start(points, many, total, k))


def nearest(numbers: Array, values: Array) -> Array:
    """Each number's nearest value (ascending ones), in the numbers' shape; a chunk at a time, as places take twice what numbers do."""
    flat, limits = numbers.reshape(-1), (values[1:] + values[:-1]) / 2
    found = np.empty(flat.size, np.float32)
    for start in range(0, flat.size, CHUNK):
        part = slice(start, start + CHUNK)
        found[part] = values[np.searchsorted(limits, flat[part])]
    return found.reshape(numbers.shape)


def even(values: Array) -> Array:
    """Few values as multiples of a 127th of the largest, none of them made 0: a format without palettes then holds them as int8, to the bit.

    Of 16 values the square error of the numbers that they stand for grows by 1 %. More than `FEW` stay as they are.
    """
    step = np.abs(values).max(initial=0) / 127
    if len(values) > FEW or not step:
        return values
    whole = np.rint(values / step)
    return np.unique((np.where((whole == 0) & (values != 0), np.sign(values), whole) * step).astype(np.float32))


def histogram(numbers: Array) -> tuple[Array, Array, Array]:
    """Where the bins that hold any number are, how many each holds, and their sum (float64, ascending)."""
    if numbers.size <= BINS:
        points, times = np.unique(numbers.astype(np.float64), return_counts=True)
        return points, times.astype(np.float64), points * times
    low, high = float(numbers.min()), float(numbers.max())
    per_unit = (BINS - 1) / max(high - low, float(np.finfo(np.float32).tiny))
    many, total = np.zeros(BINS), np.zeros(BINS)
    for start in range(0, numbers.size, CHUNK):
        part = numbers[start : start + CHUNK]
        bins = np.clip((part - low) * per_unit, 0, BINS - 1).astype(np.intp)
        many += np.bincount(bins, minlength=BINS)
        total += np.bincount(bins, weights=part, minlength=BINS)
    held = many > 0
    return total[held] / many[held], many[held], total[held]


def start(points: Array, many: Array, total: Array, k: int) -> Array:
    """The best k values where numbers are taken a cell at a time: the least error of j values for the first i cells, from that of j − 1.

    Cells have equal shares of the cube root of the density, as the best values have where they are many (Panter & Dite 1951).
    """
    cells = max(CELLS, 2 * k)
    if len(points) > cells:
        rank = np.cbrt(many).cumsum()
        first = np.searchsorted(rank, np.arange(cells) / cells * rank[-1], side="right")
        first = np.unique(np.r_[0, first[1:]])
        squares = np.add.reduceat(total * points, first)
        many, total = np.add.reduceat(many, first), np.add.reduceat(total, first)
    else:
        squares = total * points
    counts, sums, seconds = (np.r_[0, one.cumsum()] for one in (many, total, squares))
    held = np.maximum(counts[None, :] - counts[:, None], 1)
    cost = np.where(np.tri(len(counts), k=-1, dtype=bool), np.inf, seconds[None, :] - seconds[:, None] - (sums[None, :] - sums[:, None]) ** 2 / held)
    least, came = cost[0], []
    for _ in range(k - 1):
        tried = least[:, None] + cost
        came.append(tried.argmin(0))
        least = np.take_along_axis(tried, came[-1][None], 0)[0]
    limits = [len(counts) - 1]
    for back in reversed(came):
        limits.append(int(back[limits[-1]]))
    ends = np.unique([0, *limits])
    return np.asarray(np.diff(sums[ends]) / np.diff(counts[ends]))


def lloyd(points: Array, many: Array, total: Array, values: Array) -> Array:
    """The values after Lloyd's iteration; one that no number is nearest to is dropped."""
    counts, sums = (np.r_[0, one.cumsum()] for one in (many, total))
    for _ in range(ROUNDS):
        limits = np.r_[0, np.searchsorted(points, (values[1:] + values[:-1]) / 2), len(points)]
        held = np.diff(counts[limits])
        after = np.diff(sums[limits])[held > 0] / held[held > 0]
        if np.array_equal(after, values):
            break
        values = after
    return np.unique(values.astype(np.float32))
