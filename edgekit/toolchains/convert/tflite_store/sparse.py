"""A constant with many zeros in; its values that are not zero, and TFLite's description of where they are, out.

Source: TFLite schema, SparsityParameters. One axis is compressed (CSR), the others are dense.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.toolchains.convert.runtime.runners import Array

DENSE, COMPRESSED = 0, 1
"""DimensionType of the schema."""

SHORT = 256
"""Places along a shorter axis take a byte each."""


def sparsity(values: Array) -> tuple[Array, Any]:
    """Values that are not zero, in the order in which they are stored, and the schema's `SparsityParametersT`."""
    from ai_edge_litert.schema_py_generated import DimensionMetadataT, SparsityParametersT

    axis = compressed_axis(values.shape)
    order = [*(i for i in range(values.ndim) if i != axis), axis]
    rows = values.transpose(order).reshape(-1, values.shape[axis])
    kept = rows != 0
    made: list[Any] = []
    for place in order[:-1]:
        dense = DimensionMetadataT()
        dense.format, dense.denseSize = DENSE, int(values.shape[place])
        made.append(dense)
    last = DimensionMetadataT()
    last.format = COMPRESSED
    last.arraySegments, last.arraySegmentsType = vector(np.concatenate([[0], np.cumsum(kept.sum(axis=1))]))
    last.arrayIndices, last.arrayIndicesType = vector(np.nonzero(kept)[1])
    found = SparsityParametersT()
    found.traversalOrder, found.blockMap, found.dimMetadata = np.array(order, np.int32), np.zeros(0, np.int32), [*made, last]
    return rows[kept], found


def compressed_axis(shape: tuple[int, ...]) -> int:
    """The longest one whose places take a byte each; where there is none, the longest of all."""
    return max(range(len(shape)), key=lambda axis: (shape[axis] <= SHORT, shape[axis]))


def vector(whole: Array) -> tuple[Any, int]:
    """Integers in the schema's smallest vector of them, and its kind."""
    from ai_edge_litert import schema_py_generated as schema

    name, dtype = next((name, dtype) for name, (dtype, largest) in VECTORS.items() if whole.max(initial=0) <= largest)
    made = getattr(schema, f"{name}T")()
    made.values = whole.astype(dtype)
    return made, getattr(schema.SparseIndexVector, name)


VECTORS = {"Uint8Vector": ("uint8", 0xFF), "Uint16Vector": ("uint16", 0xFFFF), "Int32Vector": ("int32", 0x7FFFFFFF)}


def content(kept: Array, found: Any) -> bytes:
    """What is stored, for judging its size."""
    last = found.dimMetadata[-1]
    return bytes(kept.tobytes() + last.arraySegments.values.tobytes() + last.arrayIndices.values.tobytes())
