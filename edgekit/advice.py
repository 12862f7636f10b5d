"""A recipe, a format, a device and a model's figures in; what is known beforehand about such a file out.

Each rule is data, in `advice.toml`: when it holds, what it says, and who says so. It is about cost or accuracy, never about right or wrong:
nothing is refused for it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgekit.recipe import Recipe

RULES = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True, slots=True)
class Figures:
    """What rules want to know of a model."""

    parameters: int
    depthwise_macs: float
    """Share of the MACs that depthwise convolutions take: each of their output channels sees one input channel."""


class Rule(BaseModel):
    """Something that is known before a file is made; every condition that is given has to hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    steps: str
    """Regular expression that a step of the recipe matches as a whole."""
    says: str
    """Of such steps: what follows their names and a colon."""
    cite: str
    """The source in few words."""
    source: str
    """The paper, or what was measured and on what."""
    formats: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    """As `uname -m` says it; where the device is not known, the rule is said all the same: it names the machine."""
    untuned: bool = False
    """Only where no tuning follows the step."""
    depthwise: float = 0.0
    """Least share of the MACs in depthwise convolutions."""
    most_parameters: int | None = None


@cache
def rules() -> tuple[Rule, ...]:
    """The rules of `advice.toml`, in their order."""
    found = tomllib.loads(RULES.read_text(encoding="utf-8"))
    return tuple(map(Rule.model_validate, found["rule"]))


@dataclass(frozen=True, slots=True)
class Advice:
    """A rule that holds, and for which files."""

    rule: Rule
    steps: tuple[str, ...]
    """Those that it is about: `prune50`, `prune80`."""
    variants: tuple[tuple[str, str], ...]
    """Formats and recipes."""


def advice(planned: Sequence[tuple[Recipe, str]], machine: str | None, figures: Figures) -> list[Advice]:
    """The rules that hold for some file, in their order.

    Args:
        planned: files that will be made, as recipe and name of a format.
        machine: of the device, as `uname -m` says it; None where it is not known.
    """
    found = []
    for rule in rules():
        about = [(recipe, name) for recipe, name in planned if holds(rule, machine, figures) and name in (rule.formats or (name,))]
        steps = {(name, recipe.name): step for recipe, name in about if (step := step_of(rule, recipe)) is not None}
        if steps:
            found.append(Advice(rule, tuple(dict.fromkeys(steps.values())), tuple(steps)))
    return found


def step_of(rule: Rule, recipe: Recipe) -> str | None:
    """The step of a recipe that a rule is about."""
    place = next((place for place, step in enumerate(recipe.steps) if re.fullmatch(rule.steps, step)), None)
    if place is None or (rule.untuned and "tune" in recipe.steps[place:]):
        return None
    return recipe.steps[place]


def holds(rule: Rule, machine: str | None, figures: Figures) -> bool:
    """Whether the model and the device are such as a rule is about."""
    small = rule.most_parameters is None or figures.parameters <= rule.most_parameters
    here = not rule.machines or machine is None or machine in rule.machines
    return small and here and figures.depthwise_macs >= rule.depthwise
