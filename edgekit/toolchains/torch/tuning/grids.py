"""Float tensors in, values on a grid of few integers out, with a step size that is learned: fake-quantization of weights and of activations.

Source: Esser et al. 2020, "Learned Step Size Quantization", section 2 (the gradients of the step size and of what is rounded); the step size is
kept as its logarithm (Jain et al. 2020, "Trained Quantization Thresholds", section 3.3), so that one learning rate suits scales of any size.
"""

from __future__ import annotations

from typing import Any

import torch

from edgekit.hub.compressed import Grid, block_axis

Tensor = Any

SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15)
"""Of the largest magnitude: where a range may begin; the one with the least square error is taken (Nagel et al. 2021, section 3.1)."""
LEAST = 2.0**-40
"""Step size of a tensor that is all zero."""


def rounded(values: Tensor) -> Tensor:
    """Rounded half to even, as numpy and the formats do; the gradient goes straight through (Bengio et al. 2013)."""
    return values + (torch.round(values) - values).detach()


class WeightGrid:
    """Weights on a symmetric grid: a step size for each output channel, or for each block of input channels of one, or one for all.

    Args:
        values: float32, what the step sizes begin with.
        axis: of the output channels; None: one step size.
        block: so many neighbouring input channels share a step size.
        scale: step sizes to begin with, as a Grid holds them.
    """

    def __init__(self, values: Tensor, bits: int, axis: int | None, block: int | None = None, scale: tuple[float, ...] | None = None) -> None:
        self.bits, self.axis, self.block, self.shape = bits, axis, block, tuple(values.shape)
        self.lowest, self.highest = (-2, 1) if bits == 2 else (1 - (1 << bits - 1), (1 << bits - 1) - 1)
        first = self.searched(values) if scale is None else torch.tensor(scale, dtype=torch.float32).reshape(self.like())
        self.logarithm = torch.nn.Parameter(first.clamp_min(LEAST).log2())

    @property
    def learned(self) -> dict[str, Tensor]:
        return {"step": self.logarithm}

    def like(self) -> list[int]:
        """The shape that step sizes have beside the weights: a slice or a block is one element."""
        shape = [1] * len(self.shape)
        if self.axis is None:
            return []
        shape[self.axis] = self.shape[self.axis]
        if self.block is not None:
            along = block_axis(self.axis)
            shape[along] = -(-self.shape[along] // self.block)
        return shape

    def spread(self, scale: Tensor) -> Tensor:
        """Step sizes shaped to broadcast against the weights."""
        if self.block is None or self.axis is None:
            return scale
        along = block_axis(self.axis)
        return scale.repeat_interleave(self.block, along).narrow(along, 0, self.shape[along])

    def summed(self, values: Tensor, largest: bool) -> Tensor:
        """Sum (or maximum) over what shares a step size."""
        if self.axis is None:
            return values.amax() if largest else values.sum()
        if self.block is not None:
            along = block_axis(self.axis)
            short = self.like()[along] * self.block - self.shape[along]
            padding = [0, 0] * (len(self.shape) - 1 - along) + [0, short]
            values = torch.nn.functional.pad(values, padding).unflatten(along, (-1, self.block))
            values = values.amax(along + 1) if largest else values.sum(along + 1)
        kept = (self.axis,) if self.block is None else (self.axis, block_axis(self.axis))
        others = [place for place in range(len(self.shape)) if place not in kept]
        if not others:
            return values
        return values.amax(others, keepdim=True) if largest else values.sum(others, keepdim=True)

    def searched(self, values: Tensor) -> Tensor:
        """For each, the step size of least square error."""
        with torch.no_grad():
            top = self.summed(values.abs(), True) / self.highest
            best, least = top, torch.full_like(top, float("inf"))
            for share in SHARES:
                scale = (top * share).clamp_min(LEAST)
                error = self.summed((self.at(values, scale) - values) ** 2, False)
                best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
        return best

    def at(self, values: Tensor, scale: Tensor) -> Tensor:
        spread = self.spread(scale)
        return rounded((values / spread).clamp(self.lowest, self.highest)) * spread

    def __call__(self, values: Tensor) -> Tensor:
        return self.at(values, self.logarithm.exp2())

    def grid(self) -> Grid:
        scale = self.logarithm.detach().exp2().flatten().tolist()
        return Grid(self.bits, tuple(scale), (0,) * len(scale), self.axis, self.block)


class TensorGrid:
    """Activations on an asymmetric grid of signed integers: one step size, learned; the zero point is what calibration gave.

    Args:
        seen: float32, values of the tensor for samples; the range always holds 0.
    """

    def __init__(self, bits: int, lowest: float, highest: float, seen: Tensor) -> None:
        low, high = min(lowest, 0.0), max(highest, 0.0)
        steps = (1 << bits) - 1
        scale = max((high - low) / steps, LEAST)
        self.bits, self.zero = bits, max(0, min(steps, round(-low / scale))) - (1 << bits - 1)
        self.lowest, self.highest = -(1 << bits - 1) - self.zero, (1 << bits - 1) - 1 - self.zero
        with torch.no_grad():
            errors = [float(((self.at(seen, torch.tensor(scale * share)) - seen) ** 2).sum()) for share in SHARES]
        self.logarithm = torch.nn.Parameter(torch.tensor(scale * SHARES[errors.index(min(errors))]).log2())

    @property
    def learned(self) -> dict[str, Tensor]:
        return {"step": self.logarithm}

    def at(self, values: Tensor, scale: Tensor) -> Tensor:
        return rounded((values / scale).clamp(self.lowest, self.highest)) * scale

    def __call__(self, values: Tensor) -> Tensor:
        return self.at(values, self.logarithm.exp2())

    def grid(self) -> Grid:
        return Grid(self.bits, (float(self.logarithm.detach().exp2()),), (self.zero,))


class FixedGrid:
    """Activations on a grid that an operator's definition gives (TFLite quantization specification: softmax, logistic, tanh)."""

    def __init__(self, bits: int, scale: float, zero: int) -> None:
        self.bits, self.scale, self.zero = bits, scale, zero
        self.lowest, self.highest = -(1 << bits - 1) - zero, (1 << bits - 1) - 1 - zero

    @property
    def learned(self) -> dict[str, Tensor]:
        return {}

    def __call__(self, values: Tensor) -> Tensor:
        return rounded((values / self.scale).clamp(self.lowest, self.highest)) * self.scale

    def grid(self) -> Grid:
        return Grid(self.bits, (self.scale,), (self.zero,))
