"""A model's own outputs and labelled samples in, its own accuracy out, with whether the labels may belong to other samples."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log
from typing import Any

from pydantic import BaseModel, ConfigDict

from edgekit.records import Samples
from edgekit.samples import Reference
from edgekit.toolchains.jobs import Job, Progress, run

LEVEL = 0.05
"""An accuracy that chance alone would reach so often is told to be chance."""


class BaselineResult(BaseModel):
    """What convert/baseline gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    top1: float | None
    chance: float
    n: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """The model's own accuracy: what that of its files is compared with."""

    top1: float | None
    """None where its first output is no scores of classes, so that labels tell nothing."""
    chance: float
    """What labels that were dealt out to the samples at random would give."""
    n: int

    @property
    def is_chance(self) -> bool:
        """Whether it is not significantly above chance (one-sided binomial test); never where so few samples could not show more."""
        if self.top1 is None or at_least(self.n, self.n, self.chance) > LEVEL:
            return False
        return at_least(round(self.top1 * self.n), self.n, self.chance) > LEVEL

    def told(self, name: str) -> str:
        """In one line, of a model of that name."""
        if self.top1 is None:
            return f"{name}: its first output is no scores of classes, so the labels tell nothing: accuracy is not judged"
        return f"{name}: top-1 {self.top1:.1%} on {self.n:,} samples"

    @property
    def doubt(self) -> str | None:
        """What to think of an accuracy that is no better than chance."""
        if not self.is_chance:
            return None
        cause = "the labels may not belong to these samples, or the inputs not be scaled as in training"
        return f"that is no better than labels dealt out at random ({self.chance:.1%}): {cause}"

    @property
    def json(self) -> dict[str, Any]:
        return {"metric": "top1", "value": self.top1, "chance": self.chance, "n": self.n, "doubt": self.doubt}


def baseline(samples: Samples, own: Reference, progress: Progress) -> Baseline | None:
    """The accuracy of a model by its own outputs on the evaluation samples; None where these have no labels."""
    if samples.labels is None:
        return None
    outcome = run(Job("convert", "baseline", {"reference": own.folder, "labels": samples.labels}), progress)
    return Baseline(**BaselineResult.model_validate(outcome.result).model_dump())


def at_least(k: int, n: int, p: float) -> float:
    """The probability that of n trials, each right with probability p, at least k are right: exactly, by the binomial distribution."""
    if k <= 0 or p >= 1:
        return 1.0
    if p <= 0:
        return 0.0
    terms = (lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * log(p) + (n - i) * log(1 - p) for i in range(k, n + 1))
    return min(1.0, sum(map(exp, terms)))
