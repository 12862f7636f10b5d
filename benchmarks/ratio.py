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
        """`met` if the interval's far end meets the bar, `missed` if its near end does not, else `inconclusive`."""
        if self.high <= self.bar:
            return "met"
        return "missed" if self.low > self.bar else "inconclusive"

    def __str__(self) -> str:
        absolute = f"{self.ours:.4g} against {self.theirs:.4g} {self.unit}"
        interval = f"{self.ratio:.3f} [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.name:<44} {interval:<24} bar {self.bar:<5} {self.verdict:<13} {absolute}, {self.pairs} pairs"


def of_pairs(name: str, ours: Sequence[float], theirs: Sequence[float], bar: float, unit: str = "s") -> Ratio:
    """The median of the pairs' ratios, with a bootstrap interval over pairs (percentile method, fixed seed)."""
    quotients = np.asarray(ours) / np.asarray(theirs)
    picks = np.random.default_rng(0).integers(0, len(quotients), (RESAMPLES, len(quotients)))
    low, high = np.percentile(np.median(quotients[picks], axis=1), [2.5, 97.5])
    return Ratio(name, float(np.median(quotients)), float(low), float(high), bar, len(quotients), float(np.median(ours)), float(np.median(theirs)), unit)


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
