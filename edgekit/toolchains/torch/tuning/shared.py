"""Weights in, the same with few different values out: a palette that is learned, or one pattern times a learned scale (ternary, binary).

Sources: Han et al. 2016, "Deep Compression", section 3 (a shared value's gradient is the sum of its weights' gradients); Zhu et al. 2017,
"Trained Ternary Quantization", with one scale for both signs; Rastegari et al. 2016, "XNOR-Net", section 3.1 (binary weights). What a weight is
assigned to is asked anew in each forward pass, from a float weight that the gradient reaches straight through.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edgekit.compress.kmeans import FEW

Tensor = Any


class Looked(torch.autograd.Function):  # type: ignore[misc]
    """palette[index]: the gradient of a value is the sum over the weights that have it, added up in a fixed order."""

    @staticmethod
    def forward(ctx: Any, palette: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.size = palette.numel()
        return palette[index]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return torch.bincount(index.flatten(), gradient.flatten(), ctx.size).to(gradient.dtype), None


class Palette:
    """Weights that share values, one palette for the tensor or for each group of slices.

    Args:
        values: float32 weights as they are shared now: each group has at most `most` different values.
        kept: where weights may be other than 0 (None: everywhere); a 0 outside of it takes one of the values.
    """

    def __init__(self, values: Tensor, most: int, axis: int | None, group: int, kept: Tensor | None) -> None:
        self.axis, self.group = axis, group
        rows = self.rows(values).numpy()
        inside = self.rows(kept).numpy() if kept is not None else np.ones(rows.shape, bool)
        size = most if kept is None else most - 1
        found = np.zeros((len(rows), max(size, 1)), np.float32)
        for at, (row, use) in enumerate(zip(rows, inside, strict=True)):
            distinct = np.unique(row[use])[:size] if use.any() else np.zeros(1, np.float32)
            found[at] = np.resize(distinct, found.shape[1]) if len(distinct) < found.shape[1] else distinct
        self.unit = max(float(np.sqrt(np.mean(found.astype(np.float64) ** 2))), 2.0**-40)
        """Values are learned as multiples of it, so that one learning rate suits weights of any size."""
        self.values = torch.nn.Parameter(torch.from_numpy(np.sort(found, axis=1) / np.float32(self.unit)))

    @property
    def learned(self) -> dict[str, Tensor]:
        return {"values": self.values}

    def rows(self, values: Tensor) -> Tensor:
        """[palettes, what shares one]."""
        if self.axis is None:
            return values.reshape(1, -1)
        moved = values.movedim(self.axis, 0)
        slices = moved.shape[0]
        groups = -(-slices // self.group)
        if groups * self.group != slices:  # the last group is filled up with its last slice
            moved = torch.cat([moved, moved[-1:].expand(groups * self.group - slices, *moved.shape[1:])])
        return moved.reshape(groups, -1)

    def unrows(self, rows: Tensor, like: Tensor) -> Tensor:
        if self.axis is None:
            return rows.reshape(like.shape)
        moved = like.movedim(self.axis, 0)
        return rows.reshape(-1, *moved.shape[1:])[: moved.shape[0]].movedim(0, self.axis)

    def __call__(self, weights: Tensor) -> Tensor:
        rows = self.rows(weights)
        learned = self.values * self.unit
        with torch.no_grad():
            values = even(learned)
            ordered, order = values.sort(dim=1)
            middles = (ordered[:, 1:] + ordered[:, :-1]) / 2
            nearest = torch.searchsorted(middles.contiguous(), rows.contiguous())
            index = torch.gather(order, 1, nearest) + torch.arange(len(rows))[:, None] * values.shape[1]
        palette = OnEven.apply(learned, values)
        return self.unrows(Looked.apply(palette.flatten(), index), weights) + (weights - weights.detach())


class OnEven(torch.autograd.Function):  # type: ignore[misc]
    """The values on even steps, exactly; the gradient goes straight through."""

    @staticmethod
    def forward(ctx: Any, learned: Tensor, values: Tensor) -> Tensor:
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def even(values: Tensor) -> Tensor:
    """[palettes, values] as `edgekit.compress.kmeans.even` puts each palette on even steps."""
    if values.shape[1] > FEW:
        return values
    step = (values.abs().amax(dim=1, keepdim=True) / 127).clamp_min(2.0**-120)
    whole = torch.round(values / step)
    return torch.where((whole == 0) & (values != 0), torch.sign(values), whole) * step


class Signs:
    """Weights in {−a, a} or {−a, 0, a}, with a scale `a` for each slice along an axis, or one.

    Args:
        values: float32 weights as they are now, on the pattern: they give the scales to begin with.
    """

    def __init__(self, values: Tensor, levels: int, axis: int | None) -> None:
        self.levels = levels
        others = [place for place in range(values.ndim) if place != axis]
        top = values.abs().amax() if axis is None else values.abs().amax(others, keepdim=True)
        self.logarithm = torch.nn.Parameter(top.clamp_min(2.0**-40).log2())

    @property
    def learned(self) -> dict[str, Tensor]:
        return {"scale": self.logarithm}

    def __call__(self, weights: Tensor) -> Tensor:
        scale = self.logarithm.exp2()
        inside = (weights / scale).clamp(-1, 1)
        with torch.no_grad():
            pattern = torch.round(inside) if self.levels == 3 else torch.where(inside < 0, -1.0, 1.0)
        return (inside + (pattern - inside).detach()) * scale
