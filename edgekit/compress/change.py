"""Weights before and after in, how much they changed out: what the notes of every pass say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
CHUNK = 1 << 18
"""Weights handled at a time."""


@dataclass(slots=True)
class Change:
    """Summed over layers as they are changed."""

    of: float = 0.0
    """Squares of the weights before, and of the differences."""
    by: float = 0.0
    weights: int = 0
    zeros: int = 0
    layers: int = 0

    def add(self, before: Array, after: Array) -> None:
        flat, changed = before.reshape(-1), after.reshape(-1)
        for start in range(0, flat.size, CHUNK):
            part = flat[start : start + CHUNK]
            self.of += float(np.vdot(part, part))
            part = part - changed[start : start + CHUNK]
            self.by += float(np.vdot(part, part))
        self.weights += after.size
        self.zeros += after.size - int(np.count_nonzero(after))
        self.layers += 1

    def counting(self, made: Callable[[Array], Array]) -> Callable[[Array], Array]:
        """The same, with what it changes added."""

        def counted_too(before: Array) -> Array:
            after = made(before)
            self.add(before, after)
            return after

        return counted_too

    @property
    def error(self) -> float:
        """‖before − after‖ / ‖before‖."""
        return float(np.sqrt(self.by / self.of)) if self.of else 0.0


def counted(number: int, thing: str) -> str:
    """`1 layer`, `2,000 layers`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(things: list[str], most: int = 3) -> str:
    """The first few, and how many more."""
    return ", ".join(things[:most]) + (f" and {len(things) - most} more" if len(things) > most else "")
