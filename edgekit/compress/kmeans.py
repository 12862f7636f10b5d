"""Numbers in, the k values that stand for them with the least square error out (k-means in one dimension).

The best k among some hundred cells is found exactly, by dynamic programming (Wang & Song 2011, "Ckmeans.1d.dp"): of numbers that are that few
there is none better. Where cells hold several numbers, Lloyd's iteration (Lloyd 1982) goes on from there. Nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable
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
TABLE = 1 << 12
"""Bins by which numbers find their nearest value."""
IN_BIN = 4
"""Limits in a bin; where there are more, a binary search takes less time."""
SMALL = 1e-30
"""A narrower range is not cut into bins, whose width would not be a number."""

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
    flat, limits = numbers.reshape(-1), ((values[1:] + values[:-1]) / 2).astype(numbers.dtype)
    found, placed = np.empty(flat.size, np.float32), places(limits) if flat.size > TABLE else limits.searchsorted
    for start in range(0, flat.size, CHUNK):
        part = slice(start, start + CHUNK)
        found[part] = values[placed(flat[part])]
    return found.reshape(numbers.shape)


def places(limits: Array) -> Callable[[Array], Array]:
    """What finds the place of numbers among ascending limits as `searchsorted` does, several times as fast where there are many numbers.

    A table over even bins knows how many limits lie below each bin, so that a number is compared with those of its own bin alone. Rounding
    puts no number into a bin before that of a smaller one, and the limits are put into bins by the same arithmetic: the places are exact.
    """
    search: Callable[[Array], Array] = limits.searchsorted
    if len(limits) < 2 or (span := float(limits[-1]) - float(limits[0])) < SMALL:
        return search
    low, per_unit = limits[0], (TABLE - 1) / span

    def binned(numbers: Array) -> Array:
        with np.errstate(over="ignore"):  # what is infinitely far is beside all bins
            part = (numbers - low) * per_unit
        return np.asarray(np.clip(part, 0, TABLE - 1, out=part), np.intp)

    inside = np.bincount(binned(limits), minlength=TABLE)
    most, below, last = int(inside.max()), inside.cumsum() - inside, np.append(limits, np.inf).astype(limits.dtype)
    if most > IN_BIN:
        return search

    def placed(numbers: Array) -> Array:
        place = below[binned(numbers)]
        for _ in range(most):
            place += numbers > last[place]
        return place

    return placed


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
    k, size = min(k, len(counts) - 1), len(counts)
    cost = errors(counts, sums, seconds)
    wide = size - k  # so many ways to share out the cells leave one for every value
    least, came = cost[1 : 1 + wide, 0], []
    tried, all_rows = np.empty((wide, wide)), np.arange(wide)
    for done in range(1, k):
        np.add(cost[done + 1 : done + 1 + wide, done : done + wide], least, out=tried)
        came.append(tried.argmin(1))
        least = tried[all_rows, came[-1]]
    place, limits = wide - 1, [size - 1]
    for done in range(k - 1, 0, -1):
        place = int(came[done - 1][place])
        limits.append(done + place)
    ends = np.array([0, *reversed(limits)])
    return np.asarray(np.diff(sums[ends]) / np.diff(counts[ends]))


def errors(counts: Array, sums: Array, seconds: Array) -> Array:
    """What cells b to i − 1 err by with one value, at [i, b], from the sums before each cell of powers 0, 1 and 2; infinite where there is none."""
    held = np.subtract.outer(counts, counts)
    none = held <= 0
    np.copyto(held, 1, where=none)
    between = np.subtract.outer(sums, sums)
    between *= between
    between /= held
    found = np.subtract.outer(seconds, seconds, out=held)
    found -= between
    np.copyto(found, np.inf, where=none)
    return found


def lloyd(points: Array, many: Array, total: Array, values: Array) -> Array:
    """The values after Lloyd's iteration; one that no number is nearest to is dropped."""
    counts, sums = (np.r_[0, one.cumsum()] for one in (many, total))
    ends = [0], [len(points)]
    for _ in range(ROUNDS):
        limits = np.concatenate((ends[0], points.searchsorted((values[1:] + values[:-1]) / 2), ends[1]))
        at, summed = counts[limits], sums[limits]
        held = at[1:] - at[:-1]
        alive = held > 0
        after = (summed[1:] - summed[:-1])[alive] / held[alive]
        if np.array_equal(after, values):
            break
        values = after
    return np.unique(values.astype(np.float32))
