"""What is wished of a pass beside its strength: a Wish, the same for every technique."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """How a pass goes about its work; what a technique has no use for it ignores."""

    per_layer: bool = False
    """Every layer is cut alike, instead of the whole network by one threshold or one budget."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Layer (its node's name or its weight's) → a strength of its own, written as in a step: `80`, `2:4`, `16`."""
    importance: Mapping[str, Array] | None = None
    """Initializer → float32 Taylor importance of each output channel (Molchanov et al. 2019, section 3); None: magnitudes decide."""
    seed: int = 0
    skip: frozenset[str] = frozenset()
    """Layers (by either name) that are left as they are."""

    def strength_of(self, names: Iterable[str], strength: str) -> str | None:
        """The strength for a layer that goes by any of `names`: its own, else the step's; None where it is to be left alone."""
        asked = tuple(names)
        if not self.skip.isdisjoint(asked):
            return None
        return next((self.overrides[name] for name in asked if name in self.overrides), strength)
