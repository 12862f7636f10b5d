"""constexpr_*: compressed weights in, the dense arrays that they stand for out.

iOS 16 packs indices and masks in bytes and gives the shape apart (iOS16/constexpr_ops.py of coremltools); iOS 18 has types of
1 to 6 bits, blocks and groups (iOS18/compression.py), which are told from each other by their parameters.
"""

from __future__ import annotations

import math

import numpy as np

from .arguments import Arguments, Array, Function, WrongArgument
from .blobs import unpacked


def affine_dequantize(a: Arguments) -> Array:
    """scale · (q - zero_point), each a scalar or one for each slice along `axis`."""
    q = a["quantized_data"]
    along = [1] * q.ndim
    along[a.integer("axis", 0)] = -1
    scale, zero = (p.reshape(along) if p.ndim else p for p in (a["scale"], a["zero_point"].astype(np.float32)))
    return np.asarray((q.astype(np.float32) - zero) * scale)


def each_block(parameter: Array, shape: tuple[int, ...]) -> Array:
    """A parameter of the data's rank, repeated over the blocks of the data: its element i counts for data i * block .. (i + 1) * block."""
    if parameter.ndim != len(shape) or any(n % p for n, p in zip(shape, parameter.shape, strict=True)):
        raise WrongArgument(f"blocks of {list(parameter.shape)} do not divide {list(shape)}")
    for axis, n in enumerate(shape):
        if 1 < parameter.shape[axis] < n:
            parameter = np.repeat(parameter, n // parameter.shape[axis], axis)
    return parameter


def shift_scale(data: Array, a: Arguments) -> Array:
    """scale · (data - offset), block by block."""
    y = data.astype(np.float32)
    offset = a.get("offset")
    if offset is not None:
        y = y - each_block(offset.astype(np.float32), data.shape)
    return np.asarray(y * each_block(a["scale"], data.shape))


def palette(indices: Array, lut: Array, vector_axis: int | None) -> Array:
    """Each index replaced by its entry of the table [1 or groups of each axis …, entries, vector].

    A vector is laid out along `vector_axis`, which grows by its length.
    """
    entries, vector = lut.shape[-2:]
    if lut.ndim != indices.ndim + 2 or (vector > 1 and vector_axis is None):
        raise WrongArgument(f"a table of {list(lut.shape)} does not fit indices of {list(indices.shape)}")
    if indices.size and indices.max() >= entries:
        raise WrongArgument(f"an index is beyond the table's {entries} entries")
    group = np.zeros(indices.shape, np.intp)  # which of the tables
    for axis, n in enumerate(indices.shape):
        groups = lut.shape[axis]
        if not groups or n % groups:
            raise WrongArgument(f"{groups} groups do not divide {n}")
        along = [1] * indices.ndim
        along[axis] = -1
        group = group * groups + (np.arange(n) // (n // groups)).reshape(along)
    found = lut.reshape(-1, entries, vector)[group, indices]  # [*indices, vector]
    if vector == 1:
        return np.asarray(found[..., 0])
    axis = (vector_axis or 0) % indices.ndim
    shape = [n * vector if i == axis else n for i, n in enumerate(indices.shape)]
    return np.moveaxis(found, -1, axis + 1).reshape(shape)


def vector_axis(a: Arguments) -> int | None:
    return a.integer("vector_axis") if "vector_axis" in a.values else None


def lut_to_dense(a: Arguments) -> Array:
    if "shape" not in a.values:
        return palette(a["indices"], a["lut"], vector_axis(a))
    lut, shape = a["lut"], a.ints("shape")
    bits = (len(lut) - 1).bit_length()
    if len(lut) != 1 << bits or not 1 <= bits <= 8 or len(a["indices"]) != -(-math.prod(shape) * bits // 8):
        raise WrongArgument(f"{len(a['indices'])} bytes of indices into {len(lut)} entries do not make {shape}")
    return lut[unpacked(a["indices"].view(np.uint8), bits, False, math.prod(shape))].reshape(shape)


def filled(nonzero: Array, mask: Array) -> Array:
    """The values where the mask is 1, in row-major order; 0 elsewhere."""
    if nonzero.shape != (np.count_nonzero(mask),):
        raise WrongArgument(f"{nonzero.size} values for {np.count_nonzero(mask)} places")
    dense = np.zeros(mask.shape, nonzero.dtype)
    dense[mask != 0] = nonzero
    return dense


def sparse_to_dense(a: Arguments) -> Array:
    if "shape" not in a.values:
        return filled(a["nonzero_data"], a["mask"])
    shape, mask = a.ints("shape"), a["mask"].view(np.uint8)
    if len(mask) != -(-math.prod(shape) // 8):
        raise WrongArgument(f"a mask of {len(mask)} bytes does not make {shape}")
    return filled(a["nonzero_data"], unpacked(mask, 1, False, math.prod(shape))).reshape(shape)


def lut_to_sparse(a: Arguments) -> list[Array]:
    """The mask, repeated over vectors, and the values where it is 1."""
    mask, axis = a["indices_mask"], vector_axis(a)
    dense = palette(filled(a["indices_nonzero_data"], mask), a["lut"], axis)
    if axis is not None:
        mask = np.repeat(mask, a["lut"].shape[-1], axis)
    return [mask, dense[mask != 0]]


def sparse_shift_scale(a: Arguments) -> list[Array]:
    mask = a["data_mask"]
    return [mask, shift_scale(filled(a["nonzero_data"], mask), a)[mask != 0]]


OPS: dict[str, Function] = {
    "constexpr_affine_dequantize": affine_dequantize,
    "constexpr_blockwise_shift_scale": lambda a: shift_scale(a["data"], a),
    "constexpr_cast": lambda a: a["source_val"],  # the walk rounds to the recorded dtype
    "constexpr_lut_to_dense": lut_to_dense,
    "constexpr_lut_to_sparse": lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": sparse_shift_scale,
    "constexpr_sparse_to_dense": sparse_to_dense,
}
