"""How a network was made smaller before a file was written of it, as frozen records; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Counts:
    """What a network has and costs."""

    parameters: int
    """Stored numbers; scalars are not counted."""
    nonzero: int
    macs: int
    """Multiply-accumulates of one run, as if zeros cost as much as other values."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """One step of a recipe, and what it left."""

    step: str
    notes: tuple[str, ...]
    left: Counts


@dataclass(frozen=True, slots=True)
class Compression:
    """All that was done to a network, in order, and by what it can be done again."""

    steps: tuple[Shrunk, ...]
    before: Counts
    after: Counts
    numbers: str
    """The recipe whose bounds a file of the network has to keep against the network's own outputs."""
    seed: int
    layers: tuple[tuple[str, str], ...] = ()
    """Layers that had a step of their own."""
    tune: tuple[tuple[str, Any], ...] = ()
    """What its tunings did otherwise than usual."""
    training: str | None = None
    """Where the samples are from that it was tuned with, and how they were split."""
    training_sha256: str | None = None
    n_training: int = 0
