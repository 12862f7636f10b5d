"""A hub in; out, its weights as whole numbers of a few bits, each output channel with a scale of its own: `bits8`, `bits4`.

Rounding to nearest after training, with the symmetric range that loses least in the mean square (Nagel et al. 2021, "A White Paper on Neural
Network Quantization", section 3.1). The Spec gets the grids, so every writer stores exactly these integers; activations stay as they are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from onnx import ModelProto

from edgekit.compress.change import CHUNK, Change, counted
from edgekit.compress.chosen import chosen
from edgekit.compress.layers import Weights, layers, rows, unrows
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Grid, Spec, Tensor, floats

Array = np.ndarray[Any, Any]

CLIPS = np.linspace(0.3, 1.0, 15, dtype=np.float32)
"""Shares of the largest weight that are tried as the end of the range; finer steps change the error by less than one percent."""
FINE_BITS = 8
"""From here on clipping gains nothing: the whole range is kept."""


def apply(model: ModelProto, spec: Spec, strength: str, wish: Wish) -> list[str]:
    """Round the weights of every layer to `strength` bits; zeros stay zero.

    Returns:
        A note for each number of bits: how many layers have it, and the relative error.

    Raises:
        Refusal: there is no layer to round.
    """
    weights, notes = Weights(model), []
    for bits, group in sorted(chosen(layers(model), "bits", strength, wish).items()):
        change = Change()
        for layer in group:
            weights.replace(layer.weight, change.counting(partial(rounded, bits=int(bits), axis=layer.output_axis, known=spec.of(layer.weight))))
        notes.append(
            f"bits{bits}: {counted(change.weights, 'weight')} in {counted(change.layers, 'layer')} rounded; relative error of the weights {change.error:.3f}."
        )
    return notes


def rounded(values: Array, bits: int, axis: int, known: Tensor) -> Array:
    """The nearest values on the grid of float32 weights, which is then known of them."""
    known.grid = found = grid(values, bits, axis)
    flat, after = rows(values, axis), np.empty((values.shape[axis], values.size // values.shape[axis]), np.float32)
    for part in runs(flat):
        own = replace(found, scale=found.scale[part], zero_point=found.zero_point[part], axis=0)
        after[part] = floats(whole(flat[part], own), own)
    return unrows(after, axis, values.shape)


def grid(values: Array, bits: int, axis: int) -> Grid:
    """The grid of float32 weights, a scale for each slice along the axis that rounds them with the least square error."""
    flat = rows(values, axis)
    scale = np.concatenate([scales(np.ascontiguousarray(flat[part]), bits) for part in runs(flat)])
    return Grid(bits, tuple(map(float, scale)), (0,) * len(scale), axis)


def scales(flat: Array, bits: int) -> Array:
    """float32 [slices]: the best scale of each, for weights as [slices, everything else]."""
    low, high = ends(bits)
    largest = np.abs(flat).max(axis=1, initial=0.0)
    best, least = largest / high, np.full(len(flat), np.inf, np.float32)
    for clip in CLIPS if bits < FINE_BITS else ():
        scale = np.where(largest > 0, largest * clip / high, 1.0).astype(np.float32)[:, None]
        error = np.square(np.clip(np.rint(flat / scale), low, high) * scale - flat).sum(axis=1)
        better = error < least
        best, least = np.where(better, scale[:, 0], best), np.minimum(error, least)
    return np.where(largest > 0, best, 1.0).astype(np.float32)


def runs(flat: Array) -> list[slice]:
    """Neighbouring slices that together are few weights, or one."""
    step = max(1, CHUNK // flat.shape[1])
    return [slice(start, start + step) for start in range(0, len(flat), step)]


def ends(bits: int) -> tuple[int, int]:
    """The integers of weights: symmetric, but for two bits, which use the fourth one."""
    high = (1 << bits - 1) - 1
    return (-2 if bits == 2 else -high), high


def whole(values: Array, found: Grid) -> Array:
    """Weights as integers of a grid (int64)."""
    shape = [1] * values.ndim
    shape[found.axis or 0] = -1
    return np.clip(np.rint(values / np.asarray(found.scale, np.float32).reshape(shape)), *ends(found.bits)).astype(np.int64)
