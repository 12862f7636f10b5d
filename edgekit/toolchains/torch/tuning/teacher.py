"""The original model's twin and samples in; the tensors that a student is to match, computed once where they fit into memory, out."""

from __future__ import annotations

from typing import Any

import torch

from edgekit.toolchains.torch.tuning.samples import Samples
from edgekit.toolchains.torch.tuning.student import captured

Tensor = Any
Tensors = dict[str, Any]

KNOWN_BYTES = 512_000_000
"""What the teacher's tensors for all training samples may take; above it they are computed for each batch anew."""


class Teacher:
    """Gives tensors of the original model by name; nothing of it is trained."""

    def __init__(self, twin: Any, outputs: list[str]) -> None:
        self.twin, self.outputs = twin, outputs
        twin.eval()
        for weight in twin.weights.values():
            weight.requires_grad_(False)
        self.known: Tensors = {}

    def __call__(self, batch: Samples, names: tuple[str, ...]) -> Tensors:
        with torch.no_grad():
            found = captured(self.twin, self.outputs, list(batch.inputs), list(names))
        return {name: found[name] for name in names}

    def all(self, samples: Samples, names: tuple[str, ...], size: int) -> Tensors | None:
        """The tensors for all samples, so many at once; None where they would not fit."""
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        for batch in samples.batches(size):
            found = self(batch, names)
            if sum(one[0].numel() * 4 for one in found.values()) * len(samples) > KNOWN_BYTES:
                return None
            for name in names:
                parts[name].append(found[name])
        return {name: torch.cat(found) for name, found in parts.items()}
