"""Values of a tensor in, sample by sample; out, the range that its integers should cover: by min-max, percentile, entropy or MSE.

A range that is cut short rounds finer and clips more. Which method errs least differs from network to network, so callers try several.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

METHODS = ("minmax", "percentile99.9", "percentile99.99", "percentile99.999", "entropy", "mse")
"""Every way to choose a range that is worth a try; `percentile` alone means 99.99."""

SIDE = 4096
"""Bins on each side of zero. Between a half and all of them are in use: 8 to 16 bins for each step of an 8-bit range."""

THRESHOLDS = 128
"""Clipping points that entropy and MSE try, evenly spaced: each differs from its neighbour by less than a hundredth of the range."""

PER_BIN = 8
"""Values a bin, on average, below which entropy takes coarser bins: an empty bin must mean that nothing lies there."""


@dataclass(slots=True)
class Histogram:
    """How often which values occurred: 2 · SIDE bins around zero, of a width that is a power of two.

    When a value falls outside, the width doubles and neighbours are added up: nothing is interpolated, and the order of samples does
    not matter. Zeros are counted apart, since zero is always exact in an integer tensor; infinities and NaN are left out.
    """

    counts: Array = field(default_factory=lambda: np.zeros(2 * SIDE, np.int64))
    width: float = 0.0
    """0 as long as nothing but zeros was seen."""
    smallest: float = 0.0
    largest: float = 0.0
    """Bounds of all values and zero, exact."""
    zeros: int = 0

    def add(self, values: Array) -> None:
        """Count the values of one sample, of any shape and any real dtype."""
        flat = np.asarray(values, np.float32).reshape(-1)
        flat = flat[np.isfinite(flat)]
        self.zeros += flat.size - int(np.count_nonzero(flat))
        flat = flat[flat != 0]
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        self.smallest, self.largest = min(self.smallest, low), max(self.largest, high)
        self.widen(max(-low, high))
        index = np.floor(flat / np.float32(self.width)).astype(np.int64) + SIDE
        self.counts += np.bincount(np.clip(index, 0, 2 * SIDE - 1), minlength=2 * SIDE)

    def widen(self, reach: float) -> None:
        """Double the width until `reach` falls inside."""
        wanted = float(2.0 ** np.ceil(np.log2(max(reach, 1e-30) / SIDE)))
        while self.width and self.width < wanted:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([np.zeros(SIDE // 2, np.int64), pairs, np.zeros(SIDE // 2, np.int64)])
            self.width *= 2
        self.width = self.width or wanted

    @property
    def edges(self) -> Array:
        """2 · SIDE + 1 values, float64."""
        return np.arange(-SIDE, SIDE + 1) * self.width

    def magnitudes(self) -> Array:
        """The counts of |x| in SIDE bins from zero on."""
        return self.counts[SIDE:] + self.counts[:SIDE][::-1]


def limits(histogram: Histogram, method: str, bits: int = 8, symmetric: bool = False) -> tuple[float, float]:
    """The range (low ≤ 0 ≤ high, not both 0) that a tensor of 2^bits levels should cover.

    `symmetric` gives (-high, high). Where nothing but zeros was seen it is (0, 1), symmetric (-1, 1).

    `minmax`: all that was seen. `percentileP`: but for (100 - P) %, half of it at each end, or, symmetric, of the magnitudes.
    `entropy`: the least Kullback-Leibler divergence between the values and their quantized form (Migacz, "8-bit inference with
    TensorRT", GTC 2017); from 11 bits on there are more levels than bins, and it is `minmax`. `mse`: the least mean square error
    (Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 3.1), rounding taken as uniform noise.

    Raises:
        ValueError: no such method.
    """
    if histogram.width == 0:
        return (-1.0, 1.0) if symmetric else (0.0, 1.0)
    low, high = by_method(histogram, method, bits, symmetric)
    low, high = max(low, histogram.smallest), min(high, histogram.largest)  # a bin reaches beyond the values in it
    if symmetric:
        reach = max(-low, high)
        return -reach, reach
    return low, high


def by_method(histogram: Histogram, method: str, bits: int, symmetric: bool) -> tuple[float, float]:
    if method == "minmax":
        return histogram.smallest, histogram.largest
    if method == "entropy":
        reach = least_divergence(histogram, bits, symmetric)
        return -reach, reach
    if method == "mse":
        return least_square_error(histogram, bits, symmetric)
    share = re.fullmatch(r"percentile(\d+(?:\.\d+)?)?", method)
    if not share:
        raise ValueError(f"no calibration method {method!r}: choose among {', '.join(METHODS)}")
    return percentile(histogram, float(share[1] or 99.99) / 100, symmetric)


def percentile(histogram: Histogram, share: float, symmetric: bool) -> tuple[float, float]:
    """Where `share` of the values lie; all that was seen where those are zeros only, for what is not must not vanish."""
    if symmetric:
        reach = quantile(histogram.magnitudes(), np.arange(SIDE + 1) * histogram.width, share, below=histogram.zeros)
        return (-reach, reach) if reach else (histogram.smallest, histogram.largest)
    counts = histogram.counts.copy()
    middle = histogram.zeros
    left, tail = int(counts[:SIDE].sum()), (1 - share) / 2
    total = int(counts.sum()) + middle
    low = quantile(counts[:SIDE], histogram.edges[: SIDE + 1], tail * total / left) if left and tail * total < left else 0.0
    right = total - left - middle
    high = quantile(counts[SIDE:], histogram.edges[SIDE:], 1 - tail * total / right) if right and tail * total < right else 0.0
    return (low, high) if low < high else (histogram.smallest, histogram.largest)


def quantile(counts: Array, edges: Array, share: float, below: int = 0) -> float:
    """The value below which `share` of the values lie, linear inside a bin; `below` more lie under the first edge."""
    reached = np.concatenate([[below], below + np.cumsum(counts)])
    return float(np.interp(share * reached[-1], reached, edges))


def least_divergence(histogram: Histogram, bits: int, symmetric: bool) -> float:
    """The magnitude at which clipping loses least information."""
    counts, width = histogram.magnitudes().astype(np.float64), histogram.width
    while len(counts) > 1 and counts.sum() < PER_BIN * np.flatnonzero(counts)[-1]:  # too few values to tell one bin from its neighbour
        counts, width = counts.reshape(-1, 2).sum(axis=1), width * 2
    one_sided = not symmetric and (histogram.smallest == 0 or histogram.largest == 0)
    levels = 2**bits if one_sided else 2 ** (bits - 1)
    last = int(np.flatnonzero(counts)[-1]) + 1
    if last <= levels:
        return last * width
    candidates = np.unique(np.linspace(last, levels, THRESHOLDS).astype(int))
    divergences = [divergence(counts, int(stop), levels) for stop in candidates]
    best = len(divergences) - 1 - int(np.argmin(divergences[::-1]))  # of equals the widest
    return float(candidates[best]) * width


def divergence(counts: Array, stop: int, levels: int) -> float:
    """KL(values clipped at bin `stop` ‖ the same in `levels` levels), in nats; empty bins stay empty, as in Migacz's listing."""
    kept = counts[:stop]
    reference = kept.copy()
    reference[-1] += counts[stop:].sum()
    starts = np.arange(levels) * stop // levels
    sums, filled = np.add.reduceat(kept, starts), np.add.reduceat((kept > 0).astype(np.float64), starts)
    means = np.divide(sums, filled, out=np.zeros(levels), where=filled > 0)
    spread = np.where(kept > 0, np.repeat(means, np.diff([*starts, stop])), 0.0)
    p, q = reference / reference.sum(), spread / max(spread.sum(), 1.0)
    some = p > 0
    return float(np.sum(p[some] * np.log(p[some] / np.maximum(q[some], 1e-9))))


def least_square_error(histogram: Histogram, bits: int, symmetric: bool) -> tuple[float, float]:
    """The range with the least clipping plus rounding error, over a grid of both ends."""
    low, high = min(histogram.smallest, 0.0), max(histogram.largest, 0.0)
    shares = np.linspace(1, 0, THRESHOLDS, endpoint=False)
    if symmetric:
        ends = max(-low, high) * shares
        lows, highs, steps = -ends, ends, 2 * ends / (2**bits - 2)
    else:
        lows, highs = (axis.reshape(-1) for axis in np.meshgrid(low * shares if low else np.zeros(1), high * shares if high else np.zeros(1)))
        steps = (highs - lows) / (2**bits - 1)
    below, above = clipped(histogram, lows, left=True), clipped(histogram, highs, left=False)
    inside = histogram.counts.sum() - below[1] - above[1]
    best = int(np.argmin(below[0] + above[0] + inside * steps**2 / 12))
    return float(lows[best]), float(highs[best])


def clipped(histogram: Histogram, ends: Array, left: bool) -> tuple[Array, Array]:
    """Sum of the squared distances of all values beyond each end, and their number; values stand in the middle of their bins."""
    centres = (np.arange(-SIDE, SIDE) + 0.5) * histogram.width
    order = slice(None) if left else slice(None, None, -1)
    weights, centres = histogram.counts[order].astype(np.float64), centres[order]
    sums = [np.concatenate([[0.0], np.cumsum(weights * centres**power)]) for power in range(3)]
    position = np.searchsorted(centres if left else -centres, ends if left else -ends)
    n, first, second = (total[position] for total in sums)
    return second - 2 * ends * first + ends**2 * n, n


def affine(low: float, high: float, bits: int = 8, symmetric: bool = False) -> tuple[float, int]:
    """Scale and zero point of signed integers that cover a range: real = scale · (integer - zero point), 0 exact.

    Symmetric integers are -(2^(bits-1) - 1) to 2^(bits-1) - 1 with the zero point 0.
    """
    if symmetric:
        return max(-low, high) / (2 ** (bits - 1) - 1), 0
    scale = (high - low) / (2**bits - 1)
    return scale, int(np.clip(round(-(2 ** (bits - 1)) - low / scale), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
