"""A recipe's name in, its steps out: `prune50+w8a8` → `("prune50", "w8a8")`; no I/O.

A name is a list of steps joined by `+` and read from left to right; it means the same for every format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.errors import InputError
from edgekit.nearest import unknown

SUPPORTED = ("fp32", "fp16", "w8", "w4", "w4b32", "w8d", "w8a8", "w8a16")
"""The recipes that this version makes: float; weights only; weights and run-time activations; weights and calibrated activations."""

CALIBRATED = frozenset({"w8a8", "w8a16"})
FOUR_BITS = frozenset({"w4", "w4b32"})

FORMAT_STEPS = re.compile(r"fp32|fp16|w[48]d?|w8a8|w8a16|w4b\d+")
"""Steps that a format's writer and quantizer do on the file; all others change the hub."""

STEP = re.compile(
    r"""fp32 | fp16                          # float
      | w[48] | w4b(?:16|32|64|128)          # weights only, per channel or per block
      | w8d | w8a8 | w8a16                   # weights and activations
      | prune[1-9][0-9]? | prune[1-9]:[1-9]  # percent of the weights, or n of m
      | channels[1-9][0-9]?                  # percent of the filters
      | lowrank[1-9][0-9]?                   # percent of the MACs
      | cluster[1-9][0-9]{0,2}               # values of the palette
      | ternary | binary | tune""",
    re.VERBOSE,
)

EXAMPLES = ("prune50", "prune2:4", "channels30", "lowrank50", "cluster16", "ternary", "binary", "tune")
"""One spelling of each step that is known beside these, for suggestions."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model becomes an artifact."""

    name: str
    steps: tuple[str, ...]

    @property
    def needs_calibration(self) -> bool:
        """Whether some step wants samples of real input to set the ranges of activations."""
        return not CALIBRATED.isdisjoint(self.steps)

    @property
    def changes_hub(self) -> bool:
        """Whether some step works on the hub, so that the source model itself is not what is written."""
        return not all(FORMAT_STEPS.fullmatch(step) for step in self.steps)

    @property
    def uses_calibration(self) -> bool:
        """Whether samples make it better, or are needed: with 4-bit weights they correct biases and choose how to round."""
        return self.needs_calibration or not FOUR_BITS.isdisjoint(self.steps)


def parse(name: str) -> Recipe:
    """Read a recipe's name.

    Raises:
        InputError: a step is not known (the message gives the nearest one), or this version cannot make the recipe.
    """
    if name.endswith(".toml"):
        raise InputError(f"recipe files such as '{name}' are not supported by this version: give a recipe by its name, such as 'w8a8'")
    steps = tuple(name.split("+"))
    for step in steps:
        if not STEP.fullmatch(step):
            raise unknown("recipe" if step == name else f"step in recipe '{name}':", step, SUPPORTED, also=EXAMPLES)
    if name not in SUPPORTED:
        raise InputError(f"recipe '{name}' is not supported by this version: choose among {', '.join(SUPPORTED)}")
    return Recipe(name, steps)
