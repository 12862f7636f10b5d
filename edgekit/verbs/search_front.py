"""What trials came to in; the Pareto front of those worth having, and why each other one is left out, out; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekit.decide import accuracy_of, as_fast, judged_latency, judged_peak_rss
from edgekit.records import Accuracy, Variant

MOST_LOST_POINTS = 10.0
"""Percentage points below the model's accuracy up to which a file is worth showing, where nothing is said: beyond, one would train a smaller network."""
LEAST_SQNR_DB = 10.0
"""The same where there are no labels: below, a tenth of the outputs' power is error."""
SAME_SQNR_DB = 1.0
"""A difference in SQNR that other samples would give as well."""
ROUNDING_DB = 100.0
"""Beyond, it is the order of float32's sums."""
SAME_DOWNLOAD = 1.03
"""Ratio of two downloads up to which they are called equal: they are known exactly, but nobody takes a slower file for less."""
SAME_MEMORY = 1.15
"""Ratio of two peaks up to which they are called equal: of one file 39.6 and 44.2 MB were seen in two processes."""

WORSE = "no better than one that is shown, beyond noise"
"""Why a trial is left out: neither in accuracy, latency, download nor memory by more than those are known."""


@dataclass(frozen=True, slots=True)
class Values:
    """What a sampler weighs."""

    quality: float
    """Accuracy, or SQNR in dB: more is better. Of all others, less."""
    p50_ns: int
    download_bytes: int
    peak_rss_bytes: int
    """0 where the device does not tell."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial."""

    number: int
    recipe: str
    format: str
    values: Values | None
    """None where it failed."""
    error: str | None
    elapsed_s: float
    run: str | None
    """Of the store, where it got so far."""
    tune_s: float | None = None
    """What each of its tunings might take at the most; None: as long as it wanted, or it has none."""
    variant: Variant | None = None
    """As it was measured, out of the store."""
    device_failed: bool = False
    """Whether it failed by what the device did, which may do better another time."""


@dataclass(frozen=True, slots=True)
class Floor:
    """Below which quality a trial is not worth showing."""

    least: float
    labelled: bool
    """Whether that is an accuracy, else an SQNR in dB."""

    @property
    def words(self) -> str:
        return f"below {self.least:.1%} of accuracy" if self.labelled else f"below {self.least:.0f} dB"


@dataclass(frozen=True, slots=True)
class Front:
    """What is worth having."""

    shown: tuple[Tried, ...]
    """The quickest first."""
    left_out: Mapping[int, str]
    """Number of a trial that was measured → why it is not shown."""


def floor(baseline: float | None, classes: int, most_lost_points: float = MOST_LOST_POINTS) -> Floor:
    """So many points below the model's accuracy, and no nearer to guessing than to the model.

    Args:
        baseline: the model's accuracy; None: SQNR is weighed.
        classes: of how many a guess is one.
    """
    if baseline is None:
        return Floor(LEAST_SQNR_DB, labelled=False)
    return Floor(max(baseline - most_lost_points / 100, (baseline + 1 / max(classes, 2)) / 2), labelled=True)


def front(trials: Sequence[Tried], least: Floor, recommended: Tried | None = None) -> Front:
    """The trials above the floor that are clearly better in something than each other one that is shown.

    They are gone through from the smallest download to the largest, and one that is as small as an earlier one takes the place of that if it is else no worse.
    What is left out always has one that is shown which it is not clearly better than in anything.

    Args:
        recommended: is shown in any case.
    """
    there = [one for one in trials if one.values is not None]
    left_out = {one.number: least.words for one in there if one != recommended and worth(one, least.labelled) < least.least}
    worthy = sorted((one for one in there if one.number not in left_out), key=lambda one: (one != recommended, *costs(one), one.number))
    shown: list[Tried] = []
    for one in worthy:
        if all(better(one, other, least.labelled) for other in shown):
            shown = [other for other in shown if other == recommended or better(other, one, least.labelled)] + [one]
    for one in worthy:  # nearly equal to one whose place another took that is nearly equal to that
        if one not in shown and all(better(one, other, least.labelled) for other in shown):
            shown.append(one)
    left_out |= {one.number: WORSE for one in worthy if one not in shown}
    return Front(tuple(sorted(shown, key=lambda one: costs(one)[1])), left_out)


def costs(one: Tried) -> tuple[int, int, float]:
    """Of all less is better: download, p50, quality the other way round."""
    assert one.values is not None
    return one.values.download_bytes, one.values.p50_ns, -one.values.quality


def worth(one: Tried, labelled: bool) -> float:
    """Its quality, as far as that says something."""
    assert one.values is not None
    return one.values.quality if labelled else min(one.values.quality, ROUNDING_DB)


def better(one: Tried, other: Tried, labelled: bool) -> bool:
    """Whether it is better in something by more than measuring once more might change.

    Latencies are equal where `decide.as_fast` says so, accuracies within the standard error of the better one (the rule of one standard error, Breiman et
    al. 1984, "Classification and Regression Trees", section 3.4.3); what is emulated has neither latency nor memory.
    """
    assert one.variant is not None
    assert other.variant is not None
    mine, theirs = judged_latency(one.variant), judged_latency(other.variant)
    faster = mine is not None and theirs is not None and mine.p50_ns < theirs.p50_ns and not as_fast(mine, theirs)
    peak, its = judged_peak_rss(one.variant), judged_peak_rss(other.variant)
    leaner = peak is not None and its is not None and peak * SAME_MEMORY < its
    finer = worth(one, labelled) - worth(other, labelled) > (standard_error(accuracy_of(one.variant)) if labelled else SAME_SQNR_DB)
    return faster or leaner or finer or costs(one)[0] * SAME_DOWNLOAD < costs(other)[0]


def standard_error(accuracy: Accuracy | None) -> float:
    """Of a share of n samples, two right and two wrong ones added (Agresti & Coull 1998, "Approximate is better than exact"): it is more than one sample
    even where all are right."""
    if accuracy is None:
        return 0.0
    n = accuracy.n + 4
    share = (accuracy.value * accuracy.n + 2) / n
    return float((share * (1 - share) / n) ** 0.5)
