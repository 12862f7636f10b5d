"""A model's own outputs and labelled samples in, its own accuracy out, with whether the labels may belong to other samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from edgekit.hub import chance
from edgekit.records import Samples
from edgekit.samples import Reference
from edgekit.toolchains.jobs import Job, Progress, run


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

    def told(self, name: str) -> str:
        """In one line, of a model of that name."""
        if self.top1 is None:
            return f"{name}: its first output is no scores of classes, so the labels tell nothing: accuracy is not judged"
        return f"{name}: top-1 {self.top1:.1%} on {self.n:,} samples"

    @property
    def doubt(self) -> str | None:
        """What to think of an accuracy that is no better than chance."""
        return None if self.top1 is None else chance.doubt(round(self.top1 * self.n), self.n, self.chance)

    @property
    def json(self) -> dict[str, Any]:
        return {"metric": "top1", "value": self.top1, "chance": self.chance, "n": self.n, "doubt": self.doubt}


def baseline(samples: Samples, own: Reference, progress: Progress) -> Baseline | None:
    """The accuracy of a model by its own outputs on the evaluation samples; None where these have no labels."""
    if samples.labels is None:
        return None
    outcome = run(Job("convert", "baseline", {"reference": own.folder, "labels": samples.labels}), progress)
    return Baseline(**BaselineResult.model_validate(outcome.result).model_dump())
