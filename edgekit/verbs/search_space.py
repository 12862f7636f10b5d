"""An Optuna trial in, a recipe and a format out: what a search may choose from, and what it tries first.

Choices are those of `edgekit.recipe`, in the order that makes sense there: shapes, then zeros, then few values, then tuning, then numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.recipe import CALIBRATED, hub_step, parse
from edgekit.recipe_rules import TUNE
from edgekit.write.format import Format

NONE = "none"
STAGES: Mapping[str, tuple[str, ...]] = {"shapes": ("channels", "lowrank"), "zeros": ("prune",), "values": ("cluster",)}
STRENGTHS: Mapping[str, tuple[int, ...]] = {
    "channels": (10, 20, 30, 40, 50, 60, 70),
    "lowrank": (80, 70, 60, 50, 40, 30),
    "prune": (30, 50, 70, 80, 90),
    "cluster": (64, 32, 16, 8),
}
FIRST = (
    "fp32", "channels50+tune", "w8a8", "channels50+tune+w8a8", "w4+tune", "prune80+cluster16+tune+w8a8", "channels30+tune+w8a8", "w8", "fp16",
)  # fmt: skip
"""What is tried before anything is suggested, as far as data and format allow it: what plain files cost, and what mostly is worth having."""

LEARNED = ("w8a8", "w4")
"""Numbers that can be learned in tuning as well as set after it."""


@dataclass(frozen=True, slots=True)
class Given:
    """In the place of an `optuna.Trial`: parameters that are known."""

    parameters: Mapping[str, Any]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.parameters.get(name, choices[0])


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
        """The parameters of the trials that come before all others: one recipe after the other, in each format, so that what was tuned serves all."""
        for name in FIRST:
            for fmt in self.formats:
                if parse(name).numbers in self.numbers(fmt) and (self.tuned or not parse(name).tunes) and (storable(fmt) or not parse(name).learned):
                    yield parameters(name, fmt)

    def suggest(self, trial: Any, may_tune: bool) -> tuple[str, Format]:
        """A recipe's name and a format, out of an `optuna.Trial`.

        What changes the network is tuned wherever there is time: it costs the file nothing, and without it the file is as small and as fast and less right.
        """
        name = trial.suggest_categorical("format", [fmt.name for fmt in self.formats])
        fmt = next(fmt for fmt in self.formats if fmt.name == name)
        numbers = trial.suggest_categorical(f"numbers {name}", self.numbers(fmt))
        steps = [step for stage, techniques in STAGES.items() for step in chosen(trial, stage, techniques)]
        tuned, learnable = self.tuned and may_tune, numbers in LEARNED and storable(fmt)
        if not steps:
            learn = tuned and learnable and trial.suggest_categorical("learn", ["yes", "no"]) == "yes"
            return f"{numbers}+{TUNE}" if learn else numbers, fmt
        if tuned and learnable and trial.suggest_categorical("tune", ["before", "after"]) == "after":
            return "+".join([*steps, numbers, TUNE]), fmt
        return "+".join([*steps, *([TUNE] if tuned else []), *([] if numbers == "fp32" else [numbers])]), fmt


def chosen(trial: Any, stage: str, techniques: Sequence[str]) -> list[str]:
    """The step of one stage, if there is to be one."""
    name = trial.suggest_categorical(stage, [NONE, *techniques])
    return [] if name == NONE else [f"{name}{trial.suggest_categorical(name, STRENGTHS[name])}"]


def storable(fmt: Format) -> bool:
    """Whether numbers that were learned reach the format."""
    return fmt.store_verb is not None


def parameters(name: str, fmt: Format) -> dict[str, Any]:
    """What `Space.suggest` makes a recipe of."""
    recipe = parse(name)
    steps = {step.technique.name: int(step.strength) for step in map(hub_step, recipe.steps) if step is not None}
    stages = {stage: next((name for name in techniques if name in steps), NONE) for stage, techniques in STAGES.items()}
    order = {"tune": "after" if recipe.learned else "before", "learn": "yes" if recipe.learned else "no"}
    return {"format": fmt.name, f"numbers {fmt.name}": recipe.numbers, **stages, **steps, **order}


def tuned_part(name: str) -> str:
    """What of a recipe is tuned, by which others are known that share it: `channels50+tune+w8a8` → `channels50+tune`; "" where nothing is."""
    steps = name.split("+")
    return "+".join(steps[: len(steps) - steps[::-1].index(TUNE)]) if TUNE in steps else ""
