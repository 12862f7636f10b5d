"""A hub and a Spec in; of a constant that a writer made of its weights, in whatever order, the Spec's own integers out.

A writer moves axes, splits gates and renames, but it keeps a weight's values. So a slice of a constant is known by its values, sorted:
what it shares with a slice of an initializer is the scale, and with that its integers are known, wherever each value went.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx

from edgekit.hub.compressed import Spec
from edgekit.hub.graph import array, constants
from edgekit.toolchains.convert.runtime.runners import Array

ROUNDING = 1e-4
"""Of a step: what another order of multiplications may make of a value on a grid."""

WHOLE = -1
"""The axis of one scale for the whole tensor."""


LEAST_SLICE = 8
"""A slice of one value is a pattern too, which its scale says no shorter."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Integers (int8), and what they are multiplied by: float32, one, or one for each slice along an axis."""

    values: Array
    scale: Array
    axis: int


def scales_of(hub: onnx.ModelProto, spec: Spec) -> dict[bytes, float]:
    """Slice, by its values → scale; of every weight with a grid that TFLite can hold: one scale, or one along an axis."""
    found: dict[bytes, float] = {}
    for name, tensor in constants(hub.graph).items():
        grid = spec.tensors[name].grid if name in spec.tensors else None
        if grid is None or grid.block is not None or grid.bits > 8 or any(grid.zero_point):
            continue
        for row, scale in zip(rows(array(tensor), WHOLE if grid.axis is None else grid.axis), grid.scale, strict=True):
            found[fingerprint(row)] = scale
    return found


def rows(values: Array, axis: int) -> Array:
    """[slices, values]; one slice where the axis is `WHOLE`."""
    return values.reshape(1, -1) if axis == WHOLE else np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def fingerprint(row: Array) -> bytes:
    """The same for the same values in any order; zeros of both signs are one."""
    return hashlib.blake2b((np.sort(row) + np.float32(0)).tobytes(), digest_size=16).digest()


def on_grid(values: Array, axes: Iterable[int], known: dict[bytes, float]) -> Whole | None:
    """The Spec's integers of a constant; None where its slices along none of the axes are the Spec's."""
    for axis in axes:
        slices = rows(values, axis)
        if fingerprint(slices[0]) not in known:
            continue
        scales = [known.get(fingerprint(row)) for row in slices]
        if None in scales:
            continue
        scale = np.array(scales, np.float32)
        steps = values / shaped(scale, values, axis)
        whole = np.rint(steps)
        if np.abs(whole).max(initial=0) <= 128 and np.abs(steps - whole).max(initial=0) <= ROUNDING * 128:
            return Whole(np.clip(whole, -128, 127).astype(np.int8), scale, axis)
    return None


def pattern(values: Array, axes: Iterable[int]) -> Whole | None:
    """Ternary or binary weights as -1, 0 and 1, and a scale for each slice along the first axis where they are such."""
    for axis in axes:
        if axis != WHOLE and values.size // values.shape[axis] < LEAST_SLICE:
            continue
        scale = np.abs(rows(values, axis)).max(axis=1)
        signs = np.sign(values)
        if np.array_equal(signs * shaped(scale, values, axis), values):
            return Whole(signs.astype(np.int8), np.where(scale > 0, scale, 1).astype(np.float32), axis)
    return None


def even(values: Array) -> Whole | None:
    """Few values at whole multiples of a step, the largest at most 127 of them; None where they are not."""
    few = np.unique(values[values != 0][:4096])
    if not 0 < len(few) <= 256:
        return None
    few = np.unique(values)
    largest = np.abs(few).max()
    for count in range(1, 128):
        scale = np.float32(largest / count)
        if np.abs(np.rint(few / scale) * scale - few).max() <= 1e-6 * largest:
            return Whole(np.rint(values / scale).astype(np.int8), scale.reshape(1), WHOLE)
    return None


def shaped(scale: Array, values: Array, axis: int) -> Array:
    """To broadcast against the values."""
    if axis == WHOLE:
        return scale.reshape(())
    shape = [1] * values.ndim
    shape[axis] = -1
    return scale.reshape(shape)
