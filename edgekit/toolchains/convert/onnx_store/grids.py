"""A float ONNX model and a Spec in; the same with weights that lie on grids, or have palettes, stored as integers, to the bit, out.

A weight is its integers, a Cast and a Mul by its scales: ONNX Runtime folds that when a session is made, where a DequantizeLinear would be
computed in every run, or multiplied in 8 bits (see onnx_int4). A matrix in blocks of four bits becomes MatMulNBits, which multiplies integers
as they are.
"""

from __future__ import annotations

import numpy as np
import onnx

from edgekit.hub.compressed import Grid, Palette, Spec, block_axis, floats, integers, scale_like
from edgekit.hub.graph import array, constants, readers
from edgekit.toolchains.convert.onnx_store.pack import LEAST_BYTES, Array, Chain, digits, packed
from edgekit.toolchains.convert.quantize.onnx_int4 import fits_nbits, nbits

LEAST_NBITS = 16
"""MatMulNBits takes blocks of a power of two, from this on (ONNX Runtime contrib operators)."""

ROUNDING = 1e-4
"""Of a step: what another order of multiplications may make of a value on a grid."""


def store(model: onnx.ModelProto, spec: Spec, done: frozenset[str] = frozenset(), four_bits: bool = False) -> list[str]:
    """Weights of a Spec but those that are `done`; returns a note of what is not what the Spec says of it. `four_bits`: see `pack`."""
    off = []
    for name, known in spec.tensors.items():
        tensor = constants(model.graph).get(name)
        if tensor is None or name in done:
            continue
        values = array(tensor)
        if known.grid is not None:
            whole = on_grid(values, known.grid)
            if whole is None:
                off.append(name)
            elif values.nbytes >= LEAST_BYTES and not as_product(model, name, values, whole, known.grid):
                replace_if_smaller(model, from_integers(name, whole, known.grid, four_bits), values)
        elif known.palette is not None and known.palette.axis is not None:
            chain = from_pattern(name, values, known.palette.axis) or from_slices(name, values, known.palette, four_bits)
            replace_if_smaller(model, chain, values)
    return [f"stored as float32, because the values are not the {len(off)} grids' own: {', '.join(off[:3])}"] if off else []


def replace_if_smaller(model: onnx.ModelProto, chain: Chain, values: Array) -> None:
    if chain.nbytes < values.nbytes:
        chain.replace(model)


def on_grid(values: Array, grid: Grid) -> Array | None:
    """The integers (int8) that these values stand for; None where they do not."""
    if values.dtype != np.float32 or grid.bits > 8 or not grid.signed or any(grid.zero_point):
        return None
    whole = integers(values, grid)
    near = np.abs(floats(whole, grid) - values) <= ROUNDING * scale_like(values, grid)[0]
    return whole.astype(np.int8) if near.all() else None


def integer_chain(name: str, whole: Array, four_bits: bool = False) -> tuple[Chain, str]:
    """Integers in their fewest bytes, and the name of the tensor that they are."""
    chain = packed(name, whole, four_bits)
    if chain is not None:
        return chain, str(chain.nodes[-1].output[0])
    chain = Chain(name)
    return chain, chain.constant(whole)


def from_integers(name: str, whole: Array, grid: Grid, four_bits: bool = False) -> Chain:
    """scale · integer, in float32."""
    chain, stored = integer_chain(name, whole, four_bits)
    if chain.nodes and chain.nodes[-1].op_type == "Cast":  # of 4 bits, which need not be 8 on the way
        stored = chain.nodes.pop().input[0]
    wide = chain.node("Cast", stored, to=onnx.TensorProto.FLOAT)
    chain.node("Mul", wide, scales(chain, whole, grid))
    return chain


def scales(chain: Chain, whole: Array, grid: Grid) -> str:
    """A grid's scales, shaped to broadcast; of blocks each as often as its block is long."""
    if grid.block is None or grid.axis is None:
        return chain.constant(scale_like(whole, grid)[0])
    along = block_axis(grid.axis)
    shape = [1] * whole.ndim
    shape[grid.axis], shape[along] = whole.shape[grid.axis], -1
    few = chain.constant(np.asarray(grid.scale, np.float32).reshape(shape))
    return chain.node("Gather", few, chain.constant((np.arange(whole.shape[along]) // grid.block).astype(np.int32)), axis=along)


def as_product(model: onnx.ModelProto, name: str, values: Array, whole: Array, grid: Grid) -> bool:
    """Turn products with a matrix in blocks of 4 bits into MatMulNBits, where all are of its kind."""
    block = grid.block
    if grid.bits not in (3, 4) or block is None or block < LEAST_NBITS or block & (block - 1):
        return False
    users = readers(model.graph)[name]
    if not all(fits_nbits(node, name, values, block) and output_axis(node) == grid.axis for node in users):
        return False
    if not all(output_axis(node) == output_axis(users[0]) for node in users):
        return False
    scale = np.asarray(grid.scale, np.float32)
    if grid.axis == 1:  # in the order of the tensor's own axes, which are the product's turned
        whole, scale = whole.T, scale.reshape(-1, whole.shape[1]).T
    nbits(model, name, np.ascontiguousarray(whole), scale.reshape(-1), block)
    return True


def output_axis(node: onnx.NodeProto) -> int:
    """Of a product's matrix on the right."""
    return 0 if any(one.name == "transB" and one.i for one in node.attribute) else 1


def from_pattern(name: str, values: Array, axis: int) -> Chain | None:
    """Ternary and binary weights: -1, 0 and 1, and what each slice along the axis multiplies them by; None where they are not."""
    scale = np.abs(values).max(axis=tuple(i for i in range(values.ndim) if i != axis), keepdims=True)
    pattern = np.sign(values)
    if not np.array_equal(pattern * scale, values):
        return None
    grid = Grid(2, tuple(map(float, scale.reshape(-1))), (0,) * scale.size, axis)
    return from_integers(name, pattern.astype(np.int8), grid)


def from_slices(name: str, values: Array, palette: Palette, four_bits: bool = False) -> Chain:
    """A palette for each slice along an axis, or each group of them: numbers of values in it, and all palettes in a row."""
    axis = palette.axis or 0
    moved = np.moveaxis(values, axis, 0)
    group = palette.group if moved.shape[0] % palette.group == 0 else 1
    rows = moved.reshape(moved.shape[0] // group, -1)
    found = [np.unique(row, return_inverse=True) for row in rows]
    longest = max(2, *(len(own) for own, _ in found))
    table = np.zeros((len(rows), longest), values.dtype)
    for place, (own, _) in zip(table, found, strict=True):
        place[: len(own)] = own
    chain = Chain(name, four_bits)
    if longest > 256:
        chain.constant(values)  # no palette at all, and no smaller
        return chain
    row = digits(chain, np.concatenate([codes for _, codes in found]), longest)
    square = chain.node("Reshape", row, chain.constant(np.array(rows.shape, np.int64)))
    starts = chain.constant((np.arange(len(rows)) * longest).astype(np.int32).reshape(-1, 1))
    flat = chain.node("Gather", chain.constant(table.reshape(-1)), chain.node("Add", square, starts))
    whole = chain.node("Reshape", flat, chain.constant(np.array(moved.shape, np.int64)))
    if axis:
        chain.node("Transpose", whole, perm=[*range(1, axis + 1), 0, *range(axis + 1, values.ndim)])
    return chain
