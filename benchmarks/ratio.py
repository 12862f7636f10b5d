"""Interleaved pairs in, a ratio with its 95 % interval and a verdict out: what every benchmark here prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours over theirs, from pairs taken in turn in one run."""

    name: str
    ratio: float
    low: float
    high: float
    bar: float
    pairs: int
    ours: float
    theirs: float
    unit: str

    @property
    def verdict(self) -> str:
        return verdict(self.low, self.high, self.bar)

    def __str__(self) -> str:
        absolute = f"{self.ours:.4g} against {self.theirs:.4g} {self.unit}"
        interval = f"{self.ratio:.3f} [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.name:<44} {interval:<24} bar {self.bar:<5} {self.verdict:<13} {absolute}, {self.pairs} pairs"


def of_pairs(name: str, ours: Sequence[float], theirs: Sequence[float], bar: float, unit: str = "s") -> Ratio:
    """The median of the pairs' ratios, with a bootstrap interval over pairs (percentile method, fixed seed)."""
    quotients = np.asarray(ours) / np.asarray(theirs)
    middle, low, high = median_interval(quotients)
    return Ratio(name, middle, low, high, bar, len(quotients), float(np.median(ours)), float(np.median(theirs)), unit)


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median and its 95 % bootstrap interval (percentile method, fixed seed)."""
    found = np.asarray(values)
    picks = np.random.default_rng(0).integers(0, len(found), (RESAMPLES, len(found)))
    low, high = np.percentile(np.median(found[picks], axis=1), [2.5, 97.5])
    return float(np.median(found)), float(low), float(high)


def verdict(low: float, high: float, bar: float) -> str:
    """`met` if the interval's far end meets the bar, `missed` if its near end does not, else `inconclusive`."""
    if high <= bar:
        return "met"
    return "missed" if low > bar else "inconclusive"


def interleaved(ours: Callable[[], float], theirs: Callable[[], float], pairs: int) -> tuple[list[float], list[float]]:
    """Run both in turn, ours first in every other pair, so that drift hits both alike."""
    mine, other = [], []
    for i in range(pairs):
        if i % 2 == 0:
            mine.append(ours())
            other.append(theirs())
        else:
            other.append(theirs())
            mine.append(ours())
    return mine, other
