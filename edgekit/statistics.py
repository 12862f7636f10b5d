"""Raw latencies in ns in, a `Latency` out. numpy only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations_with_replacement
from math import factorial, prod
from statistics import median

import numpy as np

from edgekit.records import Latency

RESAMPLES = 10_000
MINUTE_NS = 60_000_000_000
SEED = 0
DRIFT = 1.05
DISTURBED = 1.25
"""p90 over p50: alone on a device it stays below 1.2, beside another busy program it goes beyond 1.3."""

Array = np.ndarray[tuple[int], np.dtype[np.int64]]


def latency(samples_ns: Sequence[Sequence[int]], load_ns: Sequence[int], first_ns: Sequence[int]) -> Latency:
    """Statistics over all processes' warm runs together.

    Quantiles interpolate linearly between order statistics (type 7 of Hyndman and Fan 1996, numpy's default); `std` is the sample
    standard deviation; the interval of p50 is the percentile bootstrap over runs (`median_interval`), widened to that over processes where
    there are several (`median_interval_of_processes`).

    Args:
        samples_ns: warm latencies, one sequence a process; at least one sample.
        load_ns, first_ns: one figure a process; their medians are given.
    """
    pooled = np.sort(np.concatenate([np.asarray(one, np.int64) for one in samples_ns]))
    p50, p90, p99 = (round(float(q)) for q in np.quantile(pooled, (0.5, 0.9, 0.99)))
    low, high = median_interval(pooled)
    if len(samples_ns) > 1:
        least, most = median_interval_of_processes([np.asarray(one, np.int64) for one in samples_ns])
        low, high = min(low, least), max(high, most)
    return Latency(
        n=len(pooled),
        min_ns=int(pooled[0]),
        p50_ns=p50,
        p90_ns=p90,
        p99_ns=p99,
        mean_ns=float(pooled.mean()),
        std_ns=float(pooled.std(ddof=1)) if len(pooled) > 1 else 0.0,
        p50_low_ns=low,
        p50_high_ns=high,
        load_ns=round(median(load_ns)),
        first_ns=round(median(first_ns)),
    )


def told_latency(
    n: int, min_ns: int, p50_ns: int | None, mean_ns: float, std_ns: float | None, load_ns: Sequence[int], first_ns: Sequence[int]
) -> Latency | None:
    """Of a runner that keeps its samples to itself: what it tells, and None for all that it does not; without a median no latency."""
    if p50_ns is None:
        return None
    return Latency(n, min_ns, p50_ns, None, None, mean_ns, std_ns, None, None, round(median(load_ns)), round(median(first_ns)))


def minutes(samples_ns: Sequence[int], every: int) -> list[tuple[int, int, int]]:
    """Runs without a pause between them, minute by minute: (minute from 1, n, p50 in ns). `every`: one run in so many was recorded.

    When a run began is the sum of those before it, for which the recorded ones stand. A rest of less than half a minute belongs to the
    minute before it.
    """
    values = np.asarray(samples_ns, np.int64)
    began = (np.cumsum(values) - values) * every
    number = np.minimum(began // MINUTE_NS + 1, max(1, round(int(values.sum()) * every / MINUTE_NS)))
    return [(int(k), int((number == k).sum()), round(float(np.median(values[number == k])))) for k in np.unique(number)]


def median_interval(ordered: Array, confidence: float = 0.95) -> tuple[int, int]:
    """The percentile bootstrap interval of the median of sorted samples (Efron 1979), runs taken as exchangeable.

    A resample of n draws has as its k-th smallest the sample at place floor(n·U), where U is the k-th smallest of n uniform
    numbers and so Beta(k, n+1-k) (David and Nagaraja, *Order Statistics*, §2): drawing that alone gives the very distribution of
    the resampled median, at a cost that does not grow with n.
    """
    n = len(ordered)
    rng = np.random.default_rng(SEED)
    lower = (n + 1) // 2  # its rank from 1; with even n the median is the mean of this one and the next
    u = rng.beta(lower, n + 1 - lower, RESAMPLES)
    medians = at(ordered, u).astype(np.float64)
    if n % 2 == 0:
        following = u + (1 - u) * rng.beta(1, n - lower, RESAMPLES)  # the smallest of the n - k above it
        medians = (medians + at(ordered, following)) / 2
    low, high = np.quantile(medians, ((1 - confidence) / 2, (1 + confidence) / 2))
    return int(low), int(np.ceil(high))


def median_interval_of_processes(processes: Sequence[Array], confidence: float = 0.95) -> tuple[int, int]:
    """The interval of the pooled median when whole processes are resampled (Davison and Hinkley 1997, §3.8, hierarchical data).

    Runs of one process share what does not change within it (memory layout, the clock at that time), so they say less than their number.
    A few processes have few resamples: each multiset of them is taken, with its multinomial weight.
    """
    k = len(processes)
    medians, weights = [], []
    for chosen in combinations_with_replacement(range(k), k):
        medians.append(float(np.median(np.concatenate([processes[i] for i in chosen]))))
        weights.append(factorial(k) / prod(factorial(count) for count in Counter(chosen).values()) / k**k)
    order = np.argsort(medians)
    reached = np.cumsum(np.asarray(weights)[order])
    low, high = (np.asarray(medians)[order][min(int(np.searchsorted(reached, q)), len(order) - 1)] for q in ((1 - confidence) / 2, (1 + confidence) / 2))
    return int(low), int(np.ceil(high))


def at(ordered: Array, u: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Array:
    """The samples at the share `u` of their order."""
    n = len(ordered)
    return ordered[np.minimum((u * n).astype(np.int64), n - 1)]


def drift(samples_ns: Sequence[int]) -> float:
    """Median of the last quarter of one process's runs over that of the first: above 1 where the device slowed down."""
    quarter = max(1, len(samples_ns) // 4)
    return median(samples_ns[-quarter:]) / max(1, median(samples_ns[:quarter]))


def spread(samples_ns: Sequence[int]) -> float:
    """p90 over p50 of one process."""
    return float(np.percentile(samples_ns, 90) / np.median(samples_ns))
