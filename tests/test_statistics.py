"""Statistics of latencies against numpy, and the interval against resampling in full."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgekit.statistics import DISTURBED, drift, latency, median_interval, median_interval_of_processes, minutes, spread


@pytest.mark.parametrize("n", [1, 2, 50, 51, 3072])
def test_figures_agree_with_numpy(n: int) -> None:
    raw = np.random.default_rng(n).lognormal(14, 0.2, n).astype(np.int64)

    found = latency([raw[: n // 2].tolist(), raw[n // 2 :].tolist()] if n > 1 else [raw.tolist()], [5, 7, 100], [30, 10])

    assert found.n == n
    assert found.min_ns == raw.min()
    assert [found.p50_ns, found.p90_ns, found.p99_ns] == [round(float(q)) for q in np.quantile(raw, [0.5, 0.9, 0.99])]
    assert found.mean_ns == pytest.approx(raw.mean())
    assert found.std_ns == pytest.approx(raw.std(ddof=1) if n > 1 else 0.0)
    assert found.p50_low_ns <= found.p50_ns <= found.p50_high_ns
    assert (found.load_ns, found.first_ns) == (7, 20)


@pytest.mark.parametrize("n", [50, 51, 1024])
def test_the_interval_is_that_of_resampling(n: int) -> None:
    raw = np.sort(np.random.default_rng(n).normal(1e6, 5e4, n).astype(np.int64))
    rng = np.random.default_rng(1)
    medians = np.median(raw[rng.integers(0, n, (4000, n))], axis=1)

    low, high = median_interval(raw)

    width = np.quantile(medians, 0.975) - np.quantile(medians, 0.025)
    assert low == pytest.approx(np.quantile(medians, 0.025), abs=0.12 * width)
    assert high == pytest.approx(np.quantile(medians, 0.975), abs=0.12 * width)


def test_the_same_samples_give_the_same_interval() -> None:
    raw = np.arange(1000, 2000, dtype=np.int64)

    assert median_interval(raw) == median_interval(raw)


def test_sixty_seconds_of_samples_take_no_time() -> None:
    raw = np.random.default_rng(0).integers(1000, 2000, (3, 65536)).tolist()

    started = time.process_time()
    latency(raw[:1], [1], [1])

    assert time.process_time() - started < 0.25


def test_drift_is_seen_where_the_device_slows_down() -> None:
    assert drift([100] * 50 + [150] * 50) == 1.5
    assert drift([100, 101, 300, 99] * 50) == 1.0
    assert drift([7]) == 1.0


def test_spread_is_p90_over_p50() -> None:
    assert spread([100] * 9 + [200]) == pytest.approx(1.1)
    assert spread([100] * 8 + [200] * 2) > DISTURBED


def test_processes_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    processes = [(rng.normal(center, 10, 2000)).astype(np.int64).tolist() for center in (1000, 1000, 1040)]

    alone, apart = latency([[one for process in processes for one in process]], [1], [1]), latency(processes, [1] * 3, [1] * 3)

    assert alone.p50_ns == apart.p50_ns
    assert alone.p50_high_ns is not None
    assert apart.p50_high_ns is not None
    assert alone.p50_high_ns < 1015
    assert apart.p50_high_ns >= 1038  # all three resampled to the slow one: 1 in 27
    assert median_interval_of_processes([np.asarray(one) for one in processes]) == (apart.p50_low_ns, apart.p50_high_ns)


def test_a_run_belongs_to_the_minute_that_it_began_in() -> None:
    assert minutes([20_000_000_000] * 8, every=1) == [(1, 3, 20_000_000_000), (2, 3, 20_000_000_000), (3, 2, 20_000_000_000)]
    assert minutes([10_000_000_000] * 8, every=2) == [(1, 3, 10_000_000_000), (2, 3, 10_000_000_000), (3, 2, 10_000_000_000)]
    assert minutes([20_000_000_000] * 7, every=1) == [(1, 3, 20_000_000_000), (2, 4, 20_000_000_000)]  # the third would be 20 s long
    assert minutes([], every=1) == []
