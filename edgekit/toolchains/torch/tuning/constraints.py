"""A hub, the teacher and a Spec in; for each weight what it must hold while it is trained, and its final values and Spec entry, out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgekit.compress.layers import Layer
from edgekit.hub.compressed import Grid, block_axis, floats, integers
from edgekit.hub.compressed import Tensor as Held
from edgekit.toolchains.torch.tuning.grids import WeightGrid
from edgekit.toolchains.torch.tuning.masks import Mask
from edgekit.toolchains.torch.tuning.shared import Palette, Signs

Array = np.ndarray[Any, Any]
Tensor = Any

RECIPE = re.compile("w(?P<weights>[2-8])(?:b(?P<block>[0-9]+))?(?:a(?P<activations>8))?")


@dataclass(frozen=True, slots=True)
class Bits:
    """What a quantization recipe says: bits of weights, input channels that share a step size, and bits of activations (None: float)."""

    weights: int
    block: int | None
    activations: int | None


def bits_of(recipe: str) -> Bits | None:
    """`w4b32` → 4, 32, None; None for a recipe whose numbers are not learned (`fp16`, `w8d`)."""
    found = RECIPE.fullmatch(recipe)
    if found is None:
        return None
    return Bits(int(found["weights"]), *(int(found[name]) if found[name] else None for name in ("block", "activations")))


class Constrained:
    """One weight tensor: from the float values that the optimiser moves to values that hold all that its Spec entry says.

    Args:
        values: float32, as compressed so far.
        dense: float32, the same weights before that, or None: they are what training begins with.
    """

    def __init__(self, values: Tensor, held: Held, bits: Bits | None, layer: Layer | None, dense: Tensor | None) -> None:
        self.held = held
        few = held.palette is not None
        free = held.sparse is not None and held.sparse.pattern == "any" and not few  # which weights are zero is open yet
        self.mask = Mask(values, dense if free else None) if held.sparse else None
        self.start = values if dense is None else dense
        self.palette = self.palette_of(values, held) if few else None
        self.grid = self.grid_of(self.through_palette(self.start), held, bits, layer)

    def palette_of(self, values: Tensor, held: Held) -> Palette | Signs:
        assert held.palette is not None
        palette = held.palette
        if palette.scaled:
            return Signs(values, palette.values, palette.axis)
        return Palette(values, palette.values, palette.axis, palette.group, None if self.mask is None else self.mask.final)

    def grid_of(self, values: Tensor, held: Held, bits: Bits | None, layer: Layer | None) -> WeightGrid | None:
        if bits is None or layer is None:
            if held.grid is None:
                return None
            return WeightGrid(values, held.grid.bits, held.grid.axis, held.grid.block, held.grid.scale)
        if held.palette is not None and not held.palette.scaled and (held.palette.axis != layer.output_axis or held.palette.group != 1):
            return WeightGrid(values, bits.weights, None)  # with a step size for each channel, a shared value would be several
        blocks = bits.block is not None and block_axis(layer.output_axis) == layer.input_axis and layer.shape[layer.input_axis] > bits.block
        return WeightGrid(values, bits.weights, layer.output_axis, bits.block if blocks else None)

    @property
    def learned(self) -> dict[str, Tensor]:
        parts = {"palette": self.palette, "grid": self.grid}
        return {f"{part}.{name}": value for part, one in parts.items() if one is not None for name, value in one.learned.items()}

    def through_palette(self, weights: Tensor) -> Tensor:
        return weights if self.palette is None else self.palette(weights)

    def __call__(self, weights: Tensor) -> Tensor:
        weights = self.through_palette(weights)
        if self.grid is not None:
            weights = self.grid(weights)
        return weights if self.mask is None else self.mask(weights)

    def settle(self, weights: Tensor) -> tuple[Array, Held]:
        """The values that count, and what holds of them."""
        with torch.no_grad():
            values = np.asarray(self(weights).numpy(), np.float32)
        grid: Grid | None = None
        if self.grid is not None:
            grid = self.grid.grid()
            values = floats(integers(values, grid), grid)
        return values + np.float32(0), Held(self.held.sparse, self.held.palette, grid)
