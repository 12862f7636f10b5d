"""A hub and the name of a compression in; the hub so compressed, without any care for what it then answers, and its Spec out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from edgekit.hub.compressed import Grid, Palette, Sparse, Spec, floats, integers
from edgekit.hub.graph import array, constants
from tests.lab.onnx_cases import Array


def compressed(made: onnx.ModelProto, how: str, axes: Mapping[str, int] | None = None, ranges: Mapping[str, tuple[float, float]] | None = None) -> Spec:
    """Change the weights of a hub in place.

    Args:
        how: `prune90`, `cluster16`, `ternary`, `binary`, `w4` (any bits), `w4b32`, `w8a8`; several joined by +.
        axes: weight → axis of output channels; by default 0 of every initializer of two axes or more.
        ranges: tensor → least and largest value; for recipes with activations.
    """
    spec = Spec()
    found = {name: 0 for name, tensor in constants(made.graph).items() if len(tensor.dims) > 1} if axes is None else axes
    for step in how.split("+"):
        kind, number = re.fullmatch(r"([a-z]+?)(\d.*)?", step).groups()  # type: ignore[union-attr]
        for name, axis in found.items():
            tensor = constants(made.graph)[name]
            tensor.CopyFrom(numpy_helper.from_array(PASSES[kind](array(tensor).copy(), number, axis, spec, name).astype(np.float32), name))
        if "a8" in step:
            spec.activations |= {name: activation(*ends) for name, ends in (ranges or {}).items()}
    return spec


def prune(values: Array, percent: str, axis: int, spec: Spec, name: str) -> Array:
    spec.of(name).sparse = Sparse()
    return np.where(np.abs(values) <= np.quantile(np.abs(values), int(percent) / 100), 0, values)


def cluster(values: Array, count: str, axis: int, spec: Spec, name: str) -> Array:
    """Quantiles of the values that are not zero."""
    k, kept = int(count), values != 0
    spec.of(name).palette = Palette(k)
    k -= 0 if kept.all() else 1
    middles = np.quantile(values[kept], (np.arange(k) + 0.5) / k).astype(np.float32)
    near = middles[np.abs(values.reshape(-1, 1) - middles).argmin(axis=1)].reshape(values.shape)
    return np.where(kept, near, 0)


def scaled(least: float) -> Callable[..., Array]:
    def apply(values: Array, _: str, axis: int, spec: Spec, name: str) -> Array:
        spec.of(name).palette = Palette(3 if least else 2, axis, scaled=True)
        mean = np.abs(values).mean(axis=tuple(i for i in range(values.ndim) if i != axis), keepdims=True)
        return np.where(np.abs(values) < least * mean, 0, np.where(values < 0, -mean, mean))

    return apply


def weights(values: Array, wanted: str, axis: int, spec: Spec, name: str) -> Array:
    bits, block = re.match(r"(\d)(?:b(\d+))?", wanted).groups()  # type: ignore[union-attr]
    top = max((1 << int(bits) - 1) - 1, 1)
    other = tuple(i for i in range(values.ndim) if i != axis)
    if block:
        assert values.ndim == 2
        moved = values if axis == 0 else values.T
        parts = [np.abs(moved[:, start : start + int(block)]).max(axis=1) for start in range(0, moved.shape[1], int(block))]
        steps = np.stack(parts, axis=axis) / top
    else:
        steps = np.abs(values).max(axis=other) / top * (1 if int(bits) > 2 else 0.6)
    scale = np.where(steps > 0, steps, 1).astype(np.float32).reshape(-1)
    grid = Grid(int(bits), tuple(map(float, scale)), (0,) * scale.size, axis, int(block) if block else None)
    spec.of(name).grid = grid
    return floats(integers(values, grid), grid)


def activation(low: float, high: float) -> Grid:
    """Unsigned, from the least value, or 0, to the largest."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255 or 1))
    return Grid(8, (scale,), (round(-low / scale),), signed=False)


PASSES: dict[str, Callable[..., Array]] = {"prune": prune, "cluster": cluster, "ternary": scaled(0.75), "binary": scaled(0), "w": weights}
