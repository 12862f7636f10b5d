"""The values of one weight and, where they lie on a grid, its integers in; the forms in which Core ML can store them, with their sizes, out.

Forms are Core ML's `constexpr_*` operations: dense integers, a palette (look-up table with indices of 1, 2, 3, 4, 6 or 8 bits), nonzero values
with a mask of one bit an element, and the two together (coremltools, iOS16/constexpr_ops.py and iOS18/compression.py). iOS 18 is needed
for integers of 4 bits, blocks, indices of 3 bits, palettes for slices, and joint forms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

INDEX_BITS = (1, 2, 3, 4, 6, 8)
OLD_INDEX_BITS = (1, 2, 4, 6, 8)
"""Before iOS 18."""

MOST_ENTRIES = 64
"""Of a palette that slices have each: larger tables take more than they save."""

DENSE_ENOUGH = 0.9
"""Share of nonzero values from which a mask is not worth its bits in any form."""

ALIGNED = 64
"""Bytes to whose multiples weight.bin pads values, and that it has before each (MILBlob, StorageFormat.hpp)."""

IN_PLACE = 10
"""Values of fewer elements are written into the program itself (coremltools, backend/mil/load.py)."""

OPERATION = 320
"""Bytes that an operation takes in the program, with the names and types of its parameters: about."""


@dataclass(frozen=True, slots=True)
class Integers:
    """What values stand for: value = scale · (q − offset)."""

    q: Array
    """int8, of the weight's shape."""
    scale: Array
    """float32 [1, slices or blocks of each axis …], of the weight's rank."""
    offset: Array | None
    """int8, of the scale's shape; None where all are 0."""
    bits: int

    def floats(self, dtype: Any = np.float32) -> Array:
        """The values as Core ML computes them, with a scale of that dtype."""
        q = self.q.astype(np.float32)
        if self.offset is not None:
            q = q - each(self.offset.astype(np.float32), q.shape)
        return np.asarray(q * each(self.scale.astype(dtype).astype(np.float32), q.shape)).astype(dtype)


@dataclass(frozen=True, slots=True)
class Form:
    """One way to store a weight."""

    kind: str
    """`integers`, `palette`, `sparse`, `sparse integers` or `sparse palette`."""
    data: Array
    """Integers, indices or floats; of the nonzero values alone, one after another, where there is a mask."""
    bits: int
    """That an element of the data takes."""
    mask: Array | None = None
    """bool, of the weight's shape."""
    lut: Array | None = None
    """[1 or groups of each axis …, entries, 1], of the weight's dtype, or int8 where there is a scale."""
    scale: Array | None = None
    """Of the weight's dtype: of the integers, or of the palette's entries."""
    offset: Array | None = None
    new: bool = False
    """Whether it needs iOS 18."""

    @property
    def nbytes(self) -> int:
        """What it takes in the package, about."""
        parts = [(self.data.size, self.bits)] + ([] if self.mask is None else [(self.mask.size, 1)])
        parts += [(one.size, one.itemsize * 8) for one in (self.lut, self.scale, self.offset) if one is not None]
        operations = 1 + (self.kind.startswith("sparse ")) + (self.lut is not None and self.scale is not None)
        return operations * OPERATION + sum(stored(*part) for part in parts)


def stored(elements: int, bits: int) -> int:
    """Bytes of a value in the package."""
    exact = -(-elements * bits // 8)
    return exact if elements < IN_PLACE else ALIGNED + -(-exact // ALIGNED) * ALIGNED


def plain(values: Array) -> int:
    """Bytes of a weight that stays as it is."""
    return stored(values.size, values.itemsize * 8)


def each(parameter: Array, shape: tuple[int, ...]) -> Array:
    """A parameter with an element for each block, repeated over their elements."""
    for axis, n in enumerate(shape):
        if 1 < parameter.shape[axis] < n:
            parameter = np.repeat(parameter, n // parameter.shape[axis], axis)
    return parameter


def forms(values: Array, integers: Integers | None, slices: tuple[int, int] | None, whole: bool = False) -> Iterator[Form]:
    """Each form in which these values can be stored, exactly; float16 integers have a scale that is rounded too.

    Args:
        values: float16 or float32.
        integers: the same values' where they lie on a grid.
        slices: an axis, and how many neighbours along it share a palette.
        whole: whether palettes of values on a grid shall hold its integers, as layers with integer activations need.
    """
    nonzero = values != 0
    mask = nonzero if 0 < np.count_nonzero(nonzero) < DENSE_ENOUGH * values.size else None
    if integers is not None:
        yield from of_grid(integers, values.dtype, mask, whole)
    if mask is not None:
        yield Form("sparse", values[mask], values.itemsize * 8, mask)
    for one in palettes(values, slices, mask):
        if one.kind != "palette" or integers is None or not whole:  # its entries are floats
            yield one


def of_grid(integers: Integers, dtype: Any, mask: Array | None, whole: bool) -> Iterator[Form]:
    """Forms that hold the integers themselves, or a palette of them."""
    scale, offset, bits = integers.scale.astype(dtype), integers.offset, 4 if integers.bits <= 4 else 8
    blocks = any(1 < n < of for n, of in zip(scale.shape, integers.q.shape, strict=True)) or sum(n > 1 for n in scale.shape) > 1
    yield Form("integers", integers.q, bits, None, None, scale, offset, blocks or bits == 4)
    if bits == 4:
        yield Form("integers", integers.q, 8, None, None, scale, offset, blocks)
    if mask is not None:
        yield Form("sparse integers", integers.q[mask], bits, mask, None, scale, offset, True)
    if offset is not None:
        return
    if integers.bits in (2, 3):
        yield scaled(integers, dtype, whole or dtype == np.float32)
    found = table(integers.q, None) if whole and scale.size == 1 else None
    if found is not None:
        indices, lut = found
        yield Form("palette", indices, (lut.shape[-2] - 1).bit_length(), None, lut, scale[..., None, None], None, True)


def palettes(values: Array, slices: tuple[int, int] | None, mask: Array | None) -> Iterator[Form]:
    """Tables of the values that there are: of the whole weight, and of slices of it."""
    kinds = ([None] if few(values) else []) + ([slices] if slices is not None else [])
    for one in kinds:
        found = table(values, one)
        if found is not None:
            indices, lut = found
            bits = (lut.shape[-2] - 1).bit_length()
            yield Form("palette", indices, bits, lut=lut, new=lut.size > lut.shape[-2] or bits not in OLD_INDEX_BITS)
        found = None if mask is None else table(values, one, mask)
        if found is not None:
            indices, lut = found
            yield Form("sparse palette", indices[mask], (lut.shape[-2] - 1).bit_length(), mask, lut, new=True)


def scaled(integers: Integers, dtype: Any, whole: bool) -> Form:
    """A palette of all integers of a grid for each slice or block that has a scale: the index is the integer less the lowest.

    Args:
        whole: whether its entries are int8, and scaled; else they are the values, rounded once.
    """
    lowest, entries = -(1 << integers.bits - 1), 1 << integers.bits
    grid = np.arange(lowest, lowest + entries, dtype=np.int8).reshape([1] * integers.q.ndim + [entries, 1])
    lut, scale = np.broadcast_to(grid, (*integers.scale.shape, entries, 1)), integers.scale[..., None, None]
    indices = (integers.q - lowest).astype(np.uint8)
    if whole:
        return Form("palette", indices, integers.bits, None, np.ascontiguousarray(lut), scale.astype(dtype), None, True)
    return Form("palette", indices, integers.bits, None, (lut * scale).astype(dtype), None, None, True)


def with_integer_entries(form: Form) -> Form:
    """A palette of floats as one of int8 with a scale for each table: an entry moves by at most 1/254 of its table's largest."""
    assert form.lut is not None
    lut = form.lut.astype(np.float32)
    scale = np.maximum(np.abs(lut).max(axis=-2, keepdims=True) / 127, np.finfo(form.lut.dtype).tiny).astype(form.lut.dtype)
    entries = np.clip(np.rint(lut / scale.astype(np.float32)), -127, 127).astype(np.int8)
    return replace(form, lut=entries, scale=scale, new=True)


def few(values: Array) -> bool:
    """Whether a palette can have all values, as far as some of them tell."""
    return len(np.unique(values.reshape(-1)[:: max(values.size // 4096, 1)])) <= 256


def table(values: Array, slices: tuple[int, int] | None, mask: Array | None = None) -> tuple[Array, Array] | None:
    """Indices (uint8, of the values' shape) and their tables [1 or groups of each axis …, entries, 1]; None where there are too many values.

    Args:
        slices: an axis and how many neighbours along it have a table; None: one table for all.
        mask: values elsewhere need no entry, and have any index.
    """
    axis, group = (0, values.shape[0]) if slices is None else slices
    if values.shape[axis] % group:
        return None
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis] // group, -1)
    wanted = None if mask is None else np.moveaxis(mask, axis, 0).reshape(rows.shape)
    tables = [np.unique(row if wanted is None else row[wanted[i]]) for i, row in enumerate(rows)]
    most = max(len(one) for one in tables)
    if most > (256 if slices is None else MOST_ENTRIES):
        return None
    bits = next(b for b in INDEX_BITS if 1 << b >= most)
    lut = np.zeros((len(tables), 1 << bits), values.dtype)
    for i, one in enumerate(tables):
        if len(one):
            lut[i, : len(one)], lut[i, len(one) :] = one, one[-1]
    indices = np.stack([np.searchsorted(one, row) for one, row in zip(tables, rows, strict=True)])
    indices = np.minimum(indices, (1 << bits) - 1).astype(np.uint8)
    moved = tuple(n for i, n in enumerate(values.shape) if i != axis)
    shape = [len(tables) if i == axis and slices is not None else 1 for i in range(values.ndim)]
    return np.moveaxis(indices.reshape(values.shape[axis], *moved), 0, axis), lut.reshape(*shape, 1 << bits, 1)


def smallest(values: Array, found: list[Form], new: bool) -> Form | None:
    """The form that takes least; None where the values as they are take less."""
    best = min((one for one in found if new or not one.new), key=lambda one: one.nbytes, default=None)
    return best if best is not None and best.nbytes < plain(values) else None
