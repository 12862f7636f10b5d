"""What trials came to in, the Pareto front out: those of which no other is better in something and worse in nothing; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Values:
    """What a search weighs."""

    quality: float
    """Accuracy, or SQNR in dB: more is better. Of all others, less."""
    p50_ns: int
    download_bytes: int
    peak_rss_bytes: int
    """0 where the device does not tell."""

    @property
    def costs(self) -> tuple[float, ...]:
        """Of all less is better."""
        return (-self.quality, self.p50_ns, self.download_bytes, self.peak_rss_bytes)


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


def front(trials: Sequence[Tried]) -> tuple[Tried, ...]:
    """The trials that no other dominates, the quickest first; of equals the earliest."""
    there = [(one, one.values.costs) for one in trials if one.values is not None]
    kept = [
        one
        for place, (one, costs) in enumerate(there)
        if not any(dominates(others, costs) or (others == costs and before < place) for before, (_, others) in enumerate(there))
    ]
    return tuple(sorted(kept, key=lambda one: one.values.costs[1:] if one.values else ()))


def dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Whether `a` is nowhere worse than `b`, and somewhere better."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
