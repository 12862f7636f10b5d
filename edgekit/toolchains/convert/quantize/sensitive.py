"""A float file, a quantized form of it and a few samples in; how much the quantized form loses, and what stands before a logarithm, out.

A logarithm turns relative into absolute error: what is small before it counts as much as what is large, and steps of a fixed size
have no room for that. So where a file loses too much and takes a logarithm, another one is made with the operators before it left
as they are, and the better is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.hub.bounds import BOUNDS
from edgekit.hub.parity import NO_ERROR_DB as EXACT_DB
from edgekit.toolchains.convert.runtime.runners import Array, Runner

ENOUGH_DB = 15.0
"""Below it an int8 file is worth another attempt: a right one of a usual network has 20 to 45 dB."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How far a file is from the float one over a few samples, in its worst output."""

    max_rel: float
    sqnr_db: float
    zero_output: str | None
    """An output that is all zero where the float file's is not."""

    @property
    def rank(self) -> float:
        """The larger, the better: the SQNR, or minus infinity where an output is dead or no number."""
        return -np.inf if self.zero_output is not None or np.isnan(self.sqnr_db) else self.sqnr_db

    def too_much(self, recipe: str) -> bool:
        """Whether another attempt is worth it: half of what the recipe may lose is used up, or an output is dead."""
        limit = BOUNDS[recipe].max_rel
        return self.zero_output is not None or (self.sqnr_db < ENOUGH_DB if limit is None else self.max_rel > limit / 2)


class Judge:
    """The float file's own outputs on samples that took no part in calibration; each candidate is compared with them."""

    def __init__(self, before: Runner, samples: Sequence[list[Array]]) -> None:
        self.samples, self.outputs = samples, before.outputs
        self.expected = [[np.array(values, np.float64) for values in before.run(feeds)] for feeds in samples]

    def loss(self, after: Runner) -> Loss:
        """Run the other file on the same samples; its integers count as the numbers that they stand for."""
        found = [[np.asarray(values, np.float64) for values in after.run(feeds)] for feeds in self.samples]
        worst = Loss(0.0, EXACT_DB, None)
        for index, spec in enumerate(self.outputs):
            a = np.concatenate([values[index].reshape(-1) for values in self.expected])
            b = np.concatenate([values[index].reshape(-1) for values in found])
            error, power = float(np.sum((a - b) ** 2)), float(np.sum(a**2))
            sqnr = EXACT_DB if error == 0 else float(10 * np.log10(power / error)) if power else -EXACT_DB
            relative = float(np.abs(a - b).max(initial=0) / (np.abs(a).max(initial=0) or 1.0))
            dead = spec["name"] if a.any() and not b.any() else worst.zero_output
            worst = Loss(max(worst.max_rel, relative), float(np.minimum(worst.sqnr_db, sqnr)), dead)
        return worst


def before_logarithm(ops: Sequence[tuple[str, Sequence[Any], Sequence[Any]]]) -> set[int]:
    """Positions of the operators that a logarithm depends on; `ops` are (kind, inputs, outputs) in order of computation."""
    needed: set[Any] = set()
    found: set[int] = set()
    for index in range(len(ops) - 1, -1, -1):
        kind, inputs, outputs = ops[index]
        if kind.upper() == "LOG" or needed.intersection(outputs):
            found.add(index)
            needed.update(inputs)
    return found
