"""A float file, its quantized form and a few samples in; whether the quantized form lost too much, and what to leave out of it.

A logarithm turns relative into absolute error: what is small before it counts as much as what is large, and steps of a fixed size
have no room for that. So where a file loses too much and takes a logarithm, a second one is made with the operators before it left
as they are, and the better is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.hub.bounds import BOUNDS
from edgekit.toolchains.convert.runners import Array, Runner, Spec

SAMPLES = 4
ENOUGH_DB = 15.0
"""Below it an int8 file is worth a second attempt: a right one of a usual network has 20 to 45 dB."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How far a file is from the float one over a few samples, in its worst output."""

    max_rel: float
    sqnr_db: float
    zero_output: str | None
    """An output that is all zero where the float file's is not."""

    def too_much(self, recipe: str) -> bool:
        """Whether a second attempt is worth it: half of what the recipe may lose is used up, or an output is dead."""
        limit = BOUNDS[recipe].max_rel
        return self.zero_output is not None or (self.sqnr_db < ENOUGH_DB if limit is None else self.max_rel > limit / 2)


def loss(before: Runner, after: Runner, samples: Sequence[list[Array]]) -> Loss:
    """Run both files on the samples."""
    pairs = [list(zip(before.run(feeds), after.run(feeds), strict=True)) for feeds in samples]
    worst = Loss(0.0, 999.0, None)
    for index, spec in enumerate(before.outputs):
        a = np.concatenate([pair[index][0].reshape(-1) for pair in pairs]).astype(np.float64)
        b = np.concatenate([pair[index][1].reshape(-1) for pair in pairs]).astype(np.float64)
        error, power = float(np.sum((a - b) ** 2)), float(np.sum(a**2))
        sqnr = 999.0 if error == 0 else float(10 * np.log10(power / error)) if power else -999.0
        relative = float(np.abs(a - b).max(initial=0) / (np.abs(a).max(initial=0) or 1.0))
        dead = spec["name"] if a.any() and not b.any() else worst.zero_output
        worst = Loss(max(worst.max_rel, relative), min(worst.sqnr_db, sqnr), dead)
    return worst


def few_samples(folder: Path | None, inputs: list[Spec]) -> list[list[Array]]:
    """The first calibration samples, or, without any, seeded values in -1..1 (0 for integers)."""
    if folder is not None:
        arrays = [np.load(folder / f"{i}.npy", mmap_mode="r", allow_pickle=False) for i in range(len(inputs))]
        count = min(SAMPLES, *(len(array) for array in arrays)) if arrays else 1
        return [[np.asarray(a[k]).astype(spec["dtype"]) for a, spec in zip(arrays, inputs, strict=True)] for k in range(count)]
    rng = np.random.default_rng(0)
    return [[made_up(spec, rng) for spec in inputs] for _ in range(SAMPLES)]


def made_up(spec: Spec, rng: np.random.Generator) -> Array:
    dtype = np.dtype(spec["dtype"])
    values = rng.uniform(-1, 1, spec["shape"]) if dtype.kind == "f" else np.zeros(spec["shape"])
    return np.asarray(values, dtype)


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


def better(recipe: str, make: Callable[[set[int]], Path], measure: Callable[[Path], Loss], sensitive: set[int]) -> tuple[Path, Loss, bool]:
    """The file made in full, or, where that loses too much and it helps, the one with the sensitive operators left out.

    `make` takes the positions to leave out. Returns the file, its loss, and whether operators were left out.
    """
    whole = make(set())
    lost = measure(whole)
    if not sensitive or not lost.too_much(recipe):
        return whole, lost, False
    part = make(sensitive)
    again = measure(part)
    return (part, again, True) if again.sqnr_db > lost.sqnr_db else (whole, lost, False)
