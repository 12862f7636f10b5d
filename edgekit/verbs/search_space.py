"""An Optuna trial in, a recipe and a format out: what a search may choose from, and what it tries first.

Choices are those of `edgekit.recipe`, in the order that makes sense there: shapes, then zeros, then few values, then tuning, then numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.recipe import CALIBRATED
from edgekit.write.format import Format

NONE = "none"
SHAPES, ZEROS, VALUES = ("channels", "lowrank"), ("prune",), ("cluster",)
STRENGTHS: Mapping[str, tuple[int, ...]] = {
    "channels": (10, 20, 30, 40, 50, 60, 70),
    "lowrank": (80, 70, 60, 50, 40, 30),
    "prune": (30, 50, 70, 80, 90),
    "cluster": (64, 32, 16, 8),
}
FIRST = ("fp32", "fp16", "w8", "w8a8")
"""What is tried before anything is suggested: every search knows then what the plain files cost."""

LEARNED = ("w8a8", "w4", "w2")
"""Numbers that are learned in tuning, where it follows them."""


@dataclass(frozen=True, slots=True)
class Space:
    """What this search may choose from."""

    formats: Sequence[Format]
    calibrated: bool
    """Whether there are samples to calibrate with."""
    tuned: bool
    """Whether there is what tuning needs."""

    def numbers(self, fmt: Format) -> list[str]:
        """The number formats that a file format carries, and that this search can make."""
        return [name for name in fmt.recipes if "+" not in name and (self.calibrated or name not in CALIBRATED)]

    def first(self) -> Iterator[dict[str, Any]]:
        """The parameters of the trials that come before all others."""
        for fmt in self.formats:
            for name in FIRST:
                if name in self.numbers(fmt):
                    plain = dict.fromkeys(("shapes", "zeros", "values"), NONE)
                    yield {"format": fmt.name, f"numbers {fmt.name}": name, **plain, **({"tune": "no"} if self.tuned else {})}

    def suggest(self, trial: Any, may_tune: bool) -> tuple[str, Format]:
        """A recipe's name and a format, out of an `optuna.Trial`."""
        name = trial.suggest_categorical("format", [fmt.name for fmt in self.formats])
        fmt = next(fmt for fmt in self.formats if fmt.name == name)
        numbers = trial.suggest_categorical(f"numbers {name}", self.numbers(fmt))
        steps = [*chosen(trial, "shapes", SHAPES), *chosen(trial, "zeros", ZEROS), *chosen(trial, "values", VALUES)]
        tune = trial.suggest_categorical("tune", ["no", "before", "after"]) if self.tuned and may_tune else "no"
        if tune == "after" and numbers in LEARNED:
            return "+".join([*steps, numbers, "tune"]), fmt
        if tune != "no" and steps:
            steps.append("tune")
        return "+".join([*steps, *([] if numbers == "fp32" and steps else [numbers])]), fmt


def chosen(trial: Any, stage: str, techniques: Sequence[str]) -> list[str]:
    """The step of one stage, if there is to be one."""
    name = trial.suggest_categorical(stage, [NONE, *techniques])
    return [] if name == NONE else [f"{name}{trial.suggest_categorical(name, STRENGTHS[name])}"]
