"""Weights in, the same with zeros that stay zero out; and which weights those are, while a share of them grows to the one wished.

Source: Zhu & Gupta 2017, "To prune, or not to prune", section 3 (the cubic schedule).
"""

from __future__ import annotations

from typing import Any

import torch

Tensor = Any

RAMP = 0.5
"""Share of the training during which more and more weights become zero; the rest is for what is left to settle."""


class Mask:
    """Where weights are zero.

    Args:
        wanted: float32 weights as pruned: their zeros are where, and, if `dense` is given, how many.
        dense: the weights before pruning; with them training begins with all weights, and those that are smallest then become zero bit by bit.
    """

    def __init__(self, wanted: Tensor, dense: Tensor | None) -> None:
        self.gradual = dense is not None
        self.final = wanted != 0
        self.kept = self.final
        self.zeros = int((~self.final).sum())

    def advance(self, weights: Tensor, done: float) -> None:
        """Zeros as they are due after a share of the training."""
        if not self.gradual:
            return
        share = 1.0 if done >= RAMP else 1 - (1 - done / RAMP) ** 3
        count = round(self.zeros * share)
        order = weights.detach().abs().flatten().argsort(stable=True)
        kept = torch.ones(weights.numel(), dtype=torch.bool)
        kept[order[:count]] = False
        self.kept = kept.reshape(weights.shape)

    @property
    def complete(self) -> bool:
        return int((~self.kept).sum()) >= self.zeros

    def __call__(self, weights: Tensor) -> Tensor:
        return weights * self.kept
