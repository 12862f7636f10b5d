"""A compressed hub with its Spec and a constant of a package in, which initializer the constant is and how its slices lie out.

A lowering may transpose a weight, add or drop axes of one element, round it to float16, split the directions of a recurrent layer and
reorder its gates: so what has the name is looked at first, then what has the values.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, numpy_helper

from edgekit.hub.compressed import Grid, Spec, Tensor, block_axis
from edgekit.toolchains.convert.coreml_store.forms import Array

ROUNDED = 1.2e-7
"""How far float16 may be from the rounded value: coremltools keeps tiny values from becoming 0."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a constant comes from, in the constant's own layout."""

    name: str
    """Of the initializer."""
    spec: Tensor
    scale: Array | None
    """float32 [1, slices or blocks of each axis …]: of the Spec's grid."""
    zero_point: Array | None
    """int64, of the scale's shape."""
    slices: tuple[int, int] | None
    """The axis and the group of the Spec's palettes."""


class Initializers:
    """The float initializers of a hub of which a Spec says something."""

    def __init__(self, hub: ModelProto, spec: Spec, called: Mapping[str, str]) -> None:
        """`called`: value of the hub → its name in the package."""
        given = {one.name: one for one in hub.graph.initializer}
        self.values = {name: numpy_helper.to_array(given[name]).astype(np.float32, copy=False) for name in spec.tensors if name in given}
        self.spec = spec
        self.names = {identifier: name for name, identifier in called.items()}

    def origin(self, constant: str, values: Array) -> Origin | None:
        """The initializer that a constant of this name and these values is; None where it is none of them, or not as a whole."""
        for name in self.likely(constant):
            hub, said = self.values[name], self.spec.tensors[name]
            for axes in layouts(hub.shape, values.shape):
                if same(hub.transpose(axes).reshape(values.shape), values):
                    return whole(name, said, hub.shape, axes, values.shape)
        return next(filter(None, (part(name, self.spec.tensors[name], self.values[name], values) for name in self.values)), None)

    def likely(self, constant: str) -> Iterable[str]:
        """Names of initializers, those first that the constant's begins with."""
        own = self.names.get(constant) or self.names.get(constant.removesuffix("_to_fp16"))
        return sorted(self.values, key=lambda name: name != own)


def same(hub: Array, values: Array) -> bool:
    """Whether values are the hub's, as their dtype has them."""
    if values.dtype == np.float32:
        return np.array_equal(hub, values)
    return bool((np.abs(hub.astype(np.float16).astype(np.float32) - values.astype(np.float32)) <= ROUNDED).all())


def layouts(hub: tuple[int, ...], values: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Orders of the hub's axes that give the other shape, axes of one element apart."""
    long = [axis for axis, n in enumerate(hub) if n > 1]
    wanted = [n for n in values if n > 1]
    short = [axis for axis, n in enumerate(hub) if n == 1]
    if sorted(hub[axis] for axis in long) != sorted(wanted):
        return
    for order in itertools.permutations(long):
        if [hub[axis] for axis in order] == wanted:
            yield (*order, *short)


def whole(name: str, said: Tensor, hub: tuple[int, ...], axes: tuple[int, ...], shape: tuple[int, ...]) -> Origin:
    """The origin of a constant that has all values of an initializer, its axes in this order."""
    places = [axis for axis, n in enumerate(shape) if n > 1]
    now = dict(zip((axis for axis in axes if hub[axis] > 1), places, strict=True))
    """Axis of the hub → axis of the constant."""
    scale = zero = None
    if said.grid is not None and divides(said.grid, hub):
        scale, zero = (placed(one, now, len(shape)) for one in compact(said.grid, hub))
    palette = said.palette
    slices = None
    if palette is not None and palette.axis in now:
        slices = (now[palette.axis], palette.group if hub[palette.axis] % palette.group == 0 else 1)
    return Origin(name, said, scale, zero, slices)


def divides(grid: Grid, shape: tuple[int, ...]) -> bool:
    """Whether all blocks are whole; Core ML has no others."""
    return grid.block is None or grid.axis is None or shape[block_axis(grid.axis)] % grid.block == 0


def compact(grid: Grid, hub: tuple[int, ...]) -> tuple[Array, Array]:
    """Scale and zero point with one element for each slice or block, of the hub's rank."""
    shape = [1] * len(hub)
    if grid.axis is not None and len(grid.scale) > 1:
        shape[grid.axis] = hub[grid.axis]
        if grid.block is not None:
            shape[block_axis(grid.axis)] = -1
    return np.asarray(grid.scale, np.float32).reshape(shape), np.asarray(grid.zero_point, np.int64).reshape(shape)


def placed(parameter: Array, now: Mapping[int, int], rank: int) -> Array:
    """A parameter of the hub's layout in the constant's."""
    order = [*now, *(axis for axis in range(parameter.ndim) if axis not in now)]
    shape = [1] * rank
    for axis, place in now.items():
        shape[place] = parameter.shape[axis]
    return parameter.transpose(order).reshape(shape)


def part(name: str, said: Tensor, hub: Array, values: Array) -> Origin | None:
    """The origin of a matrix whose rows, or columns, are some of a recurrent layer's in another order [directions, gates, inputs]."""
    if hub.ndim != 3 or values.ndim != 2:
        return None
    rows = hub.reshape(-1, hub.shape[2])
    for axis in (0, 1):
        turned = values if axis == 0 else values.T
        if turned.shape[1] != rows.shape[1]:
            continue
        places = {row.tobytes(): i for i, row in enumerate(rows.astype(values.dtype))}
        found = [places.get(np.ascontiguousarray(row).tobytes()) for row in turned]
        if None in found:
            continue
        scale = zero = None
        if said.grid is not None and said.grid.block is None and said.grid.axis in (None, 0, 1):
            shape = [1, 1]
            shape[axis] = -1
            scale, zero = (rowwise(one, hub.shape, found, shape) for one in compact(said.grid, hub.shape))
        return Origin(name, said, scale, zero, None)
    return None


def rowwise(parameter: Array, hub: tuple[int, ...], found: list[Any], shape: list[int]) -> Array:
    """A parameter for each of these rows; for all where it is one."""
    if parameter.size == 1:
        return parameter.reshape(1, 1)
    return np.broadcast_to(parameter, (hub[0], hub[1], 1)).reshape(-1)[found].reshape(shape)
