"""ranges: a histogram is exact whatever the order of samples, and each method cuts where its definition says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekit.hub.ranges import METHODS, SIDE, Histogram, affine, limits

Array = np.ndarray[Any, Any]


def counted(*samples: Array) -> Histogram:
    histogram = Histogram()
    for sample in samples:
        histogram.add(sample)
    return histogram


def heavy_tailed(seed: int = 0) -> Array:
    """Mostly within ±3, a few up to 60: what min-max gives most of its levels to."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=100_000), rng.normal(size=20) * 20]).astype(np.float32)


def square_error(values: Array, low: float, high: float, bits: int, symmetric: bool) -> float:
    """What quantizing really costs."""
    scale, zero = affine(low, high, bits, symmetric)
    least = -(2 ** (bits - 1)) + symmetric
    stored = np.clip(np.rint(values.astype(np.float64) / scale) + zero, least, 2 ** (bits - 1) - 1)
    return float(np.mean(((stored - zero) * scale - values) ** 2))


def test_the_order_of_samples_does_not_matter() -> None:
    samples = [np.float32([0.1, -0.2, 0]), np.float32([[3.0], [-70.5]]), np.float32([1e-3, 1e4])]
    one, other = counted(*samples), counted(*reversed(samples))
    assert one.width == other.width
    assert (one.counts == other.counts).all()
    assert one.counts.sum() == 6
    assert one.zeros == 1
    assert (one.smallest, one.largest) == (np.float32(-70.5), np.float32(1e4))


def test_bins_hold_the_values_they_count() -> None:
    values = heavy_tailed()
    histogram = counted(*np.split(values[:100_000], 10), values[100_000:])
    counts, _ = np.histogram(values, histogram.edges)
    assert (counts == histogram.counts).all()
    assert SIDE / 2 <= np.abs(values).max() / histogram.width <= SIDE


def test_infinities_are_no_range() -> None:
    assert limits(counted(np.float32([-np.inf, -1, np.nan, 2, np.inf])), "minmax") == (-1, 2)


@pytest.mark.parametrize("method", METHODS)
def test_a_range_holds_zero_and_is_never_empty(method: str) -> None:
    for values in (np.zeros(9), np.float32([2, 3]), np.float32([-2, -3]), np.float32([0] * 10**6 + [5]), np.float32([1e-38]), np.float32([3e38, -3e38])):
        for symmetric in (False, True):
            for bits in (8, 16):
                low, high = limits(counted(values), method, bits, symmetric)
                assert low <= 0 <= high
                assert low < high
                assert not symmetric or low == -high
                assert affine(low, high, bits, symmetric)[0] > 0


def test_min_max_is_all_that_was_seen() -> None:
    values = heavy_tailed()
    assert limits(counted(values), "minmax") == (values.min(), values.max())
    assert limits(counted(values), "minmax", symmetric=True)[1] == np.abs(values).max()


@pytest.mark.parametrize("share", [99.9, 99.99, 99.999])
def test_percentiles_are_numpys_within_a_bin(share: float) -> None:
    values = np.random.default_rng(0).normal(size=500_000) + 0.5
    histogram = counted(values)
    low, high = limits(histogram, f"percentile{share}")
    assert low == pytest.approx(np.percentile(values, (100 - share) / 2), abs=0.05)
    assert high == pytest.approx(np.percentile(values, 50 + share / 2), abs=0.05)
    assert limits(histogram, f"percentile{share}", symmetric=True)[1] == pytest.approx(np.percentile(np.abs(values), share), abs=0.05)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", ["both sides", "positive"])
def test_mse_has_the_least_error_of_all_ranges(bits: int, symmetric: bool, kind: str) -> None:
    values = heavy_tailed() if kind == "both sides" else np.maximum(heavy_tailed(), 0)
    histogram = counted(values)
    found = square_error(values, *limits(histogram, "mse", bits, symmetric), bits, symmetric)
    low, high = limits(histogram, "minmax", bits, symmetric)
    best = min(square_error(values, low * share, high * share, bits, symmetric) for share in np.linspace(1, 0, 50, endpoint=False))
    assert found <= best * 1.05
    assert found < square_error(values, low, high, bits, symmetric) * (0.25 if bits == 4 else 0.97)


def test_sixteen_bits_are_not_clipped_for_the_sake_of_rounding() -> None:
    low, high = limits(counted(heavy_tailed()), "mse", bits=16)
    values = heavy_tailed()
    assert square_error(values, low, high, 16, False) <= square_error(values, float(values.min()), float(values.max()), 16, False) * 1.05
    assert limits(counted(values), "entropy", bits=16) == limits(counted(values), "minmax", bits=16)


def test_entropy_clips_outliers_and_keeps_a_flat_distribution() -> None:
    values = heavy_tailed()
    assert limits(counted(values), "entropy", symmetric=True)[1] < np.abs(values).max() / 3
    flat = np.random.default_rng(0).uniform(-1, 1, 100_000)
    assert limits(counted(flat), "entropy", symmetric=True)[1] > 0.9


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="minmax"):
        limits(counted(np.ones(3)), "guess")


def test_affine_integers_hold_zero_exactly() -> None:
    assert affine(-1.0, 1.0, 8, symmetric=True) == (1 / 127, 0)
    assert affine(0.0, 255.0) == (1.0, -128)
    assert affine(-255.0, 0.0) == (1.0, 127)
