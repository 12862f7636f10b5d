"""An ONNX model in, the same with 4-bit weights out, per output channel or per block; what is computed stays float32.

A weight is a tensor of INT4, a Cast and a Mul by its scale, which ONNX Runtime computes once, when a session is made: such a file is as fast
as the float one. It takes INT4 from opset 21 on, and casts it from 1.23 on. Where a model cannot be in that opset, two weights share a byte,
and a table of 256 pairs gives them back (Gather).

No DequantizeLinear: ONNX Runtime 1.31 computes that of a Conv, ConvTranspose, LSTM or GRU in every run, and makes a product behind it a
MatMulNBits that rounds what it multiplies to 8 bits, unless a session is told otherwise: 0.3 % of the output's range off, where a Cast and a
Mul are right to the bit. A matrix product in blocks becomes a MatMulNBits that multiplies 4-bit weights by float32: half the time of float32.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgekit.hub.graph import array, attribute, constants, readers
from edgekit.hub.weights import Array, clip, scales
from edgekit.toolchains.convert.onnx_store.opset import may_rise, rise
from edgekit.toolchains.convert.onnx_store.pack import FOUR_BITS, Chain
from edgekit.toolchains.convert.quantize.onnx_weights import channel_axes, floats, replace

LEAST_BLOCK = 8
"""Smaller blocks cost more in scales than they save: such a weight gets one scale for each channel."""

TABLE = "int4"


def store_int4(model: onnx.ModelProto, block: int | None, clipped: bool, kept: set[str]) -> None:
    """Weights but those in `kept`; `block` weights, or a whole output channel, share a scale; `clipped` cuts them off where that errs less."""
    axes, unpack = channel_axes(model), cast if may_rise(model) else gather
    for name, tensor in floats(model).items():
        if name not in axes or name in kept:
            continue
        values = array(tensor)
        if block and all(fits_nbits(node, name, values, block) for node in readers(model.graph)[name]):
            multiply_nbits(model, name, values, block, clipped)
            continue
        unpack(model, name, values.shape, axes[name], *quantized(rows(values, axes[name], block), clipped))
    rise(model)
    if any(TABLE in node.input for node in model.graph.node):
        pairs = np.stack([np.arange(256) & 15, np.arange(256) >> 4], axis=1).astype(np.float32) - 8
        model.graph.initializer.append(numpy_helper.from_array(pairs, TABLE))


def has_int4(model: onnx.ModelProto) -> bool:
    """Whether any weight is stored in 4 bits, while constants have the names that they were given here."""
    stored = any(tensor.data_type in FOUR_BITS for tensor in model.graph.initializer)
    return stored or any(node.op_type == "MatMulNBits" or TABLE in node.input for node in model.graph.node)


def rows(values: Array, axis: int, block: int | None) -> Array:
    """Each row is what shares a scale; `axis` counts output channels."""
    flat = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    return np.asarray(flat.reshape(-1, block_size(flat.shape[1], block)))


def as_stored(values: Array, axis: int, block: int | None, clipped: bool) -> Array:
    """The weights that 4 bits leave."""
    stored, scale = quantized(rows(values, axis, block), clipped)
    moved = (stored * scale).reshape(np.moveaxis(values, axis, 0).shape)
    return np.asarray(np.moveaxis(moved, 0, axis), np.float32)


def block_size(length: int, block: int | None) -> int:
    """The largest divisor of a channel's length that is no larger than the block; the whole channel where that is too small."""
    if block is None or length <= block:
        return length
    size = next(size for size in range(block, 0, -1) if length % size == 0)
    return size if size >= LEAST_BLOCK else length


def quantized(rows: Array, clipped: bool) -> tuple[Array, Array]:
    """Integers in -7..7 and a scale for each row."""
    rows = clip(rows, 0, 4) if clipped else rows
    scale = scales(rows, 0, 4)
    return np.clip(np.rint(rows / scale), -7, 7).astype(np.int8), scale


def pack(integers: Array) -> Array:
    """Two of them in a byte, each plus 8, the first in the low half."""
    flat = (integers.reshape(-1) + 8).astype(np.uint8)
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    return np.asarray(flat[0::2] | flat[1::2] << 4, np.uint8)


def cast(model: onnx.ModelProto, name: str, shape: tuple[int, ...], axis: int, stored: Array, scale: Array) -> None:
    """The constant as INT4, with the nodes that make it float again; of its own shape, where a channel has one scale."""
    chain = Chain(name)
    inner = (shape[axis], *(n for i, n in enumerate(shape) if i != axis))
    if len(scale) == shape[axis]:
        stored = np.moveaxis(stored.reshape(inner), 0, axis)
        scale = scale.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    rows = chain.node("Mul", chain.node("Cast", chain.nibbles(stored, onnx.TensorProto.INT4), to=onnx.TensorProto.FLOAT), chain.constant(scale))
    if stored.shape != shape:
        whole = chain.node("Reshape", rows, chain.constant(np.array(inner, np.int64)))
        if axis:
            chain.node("Transpose", whole, perm=[*range(1, axis + 1), 0, *range(axis + 1, len(shape))])
    chain.replace(model)


def gather(model: onnx.ModelProto, name: str, shape: tuple[int, ...], axis: int, stored: Array, scale: Array) -> None:
    """The constant as bytes, with the nodes that make it float again."""
    names = [f"{name}:{part}" for part in ("i4", "int", "pair", "flat", "rows", "whole")]
    packed, integers, pairs, flat, rows, moved = names
    inner = (shape[axis], *(n for i, n in enumerate(shape) if i != axis))
    sizes = {f"{name}:d{i}": np.array(dims, np.int64) for i, dims in enumerate([stored.shape, inner])}
    tensors = [numpy_helper.from_array(value, key) for key, value in {packed: pack(stored), f"{name}:s": scale, **sizes}.items()]
    nodes = [
        helper.make_node("Cast", [packed], [integers], to=onnx.TensorProto.INT32),
        helper.make_node("Gather", [TABLE, integers], [pairs]),
        helper.make_node("Reshape", [pairs, f"{name}:d0"], [flat]),
        helper.make_node("Mul", [flat, f"{name}:s"], [rows]),
        helper.make_node("Reshape", [rows, f"{name}:d1"], [moved]),
    ]
    if stored.size % 2:
        nodes[2:3] = drop_last(name, pairs, flat, stored.size, tensors)
    if axis == 0:
        nodes[-1].output[0] = name
    else:
        nodes.append(helper.make_node("Transpose", [moved], [name], perm=[*range(1, axis + 1), 0, *range(axis + 1, len(shape))]))
    replace(model, name, tensors, nodes)


def drop_last(name: str, pairs: str, flat: str, count: int, tensors: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    """An odd number of weights leaves half a byte over."""
    line, end, start, all_ = (f"{name}:{part}" for part in ("line", "n", "0", "-1"))
    for key, value in ((end, [count]), (start, [0]), (all_, [-1])):
        tensors.append(numpy_helper.from_array(np.array(value, np.int64), key))
    return [
        helper.make_node("Reshape", [pairs, all_], [line]),
        helper.make_node("Slice", [line, start, end], [f"{line}d"]),
        helper.make_node("Reshape", [f"{line}d", f"{name}:d0"], [flat]),
    ]


def fits_nbits(node: onnx.NodeProto, name: str, values: Array, block: int) -> bool:
    """Whether MatMulNBits computes a node: a product with a constant matrix on the right whose rows are whole blocks."""
    if values.ndim != 2 or node.input[1] != name or name in node.input[2:]:
        return False
    if node.op_type == "MatMul":
        return int(values.shape[0]) % block == 0
    plain = not attribute(node, "transA", 0) and attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0
    return bool(node.op_type == "Gemm" and plain and values.shape[1 if attribute(node, "transB", 0) else 0] % block == 0)


def multiply_nbits(model: onnx.ModelProto, name: str, values: Array, block: int, clipped: bool) -> None:
    """Every product with this constant in 4 bits, by MatMulNBits."""
    users = readers(model.graph)[name]
    across = users[0].op_type == "Gemm" and bool(attribute(users[0], "transB", 0))
    matrix = values if across else values.T
    stored, scale = quantized(matrix.reshape(-1, block), clipped)
    nbits(model, name, stored.reshape(matrix.shape), scale.reshape(-1), block)


def nbits(model: onnx.ModelProto, name: str, stored: Array, scale: Array, block: int) -> None:
    """Every product with this constant as MatMulNBits (com.microsoft, version 1), its bias added after it.

    Args:
        stored: int8 in -8..7, [outputs, inputs].
        scale: float32, one for each block of inputs, output after output.
    """
    packed = pack(stored).reshape(stored.shape[0], -1, block // 2)
    users = readers(model.graph)[name]
    model.graph.initializer.remove(constants(model.graph)[name])
    model.graph.initializer.extend([numpy_helper.from_array(packed, f"{name}:i4"), numpy_helper.from_array(scale, f"{name}:s")])
    for node in users:
        index = list(model.graph.node).index(node)
        bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
        product = f"{node.output[0]}:product" if bias else node.output[0]
        sizes = {"K": stored.shape[1], "N": stored.shape[0], "bits": 4, "block_size": block}
        made = [helper.make_node("MatMulNBits", [node.input[0], f"{name}:i4", f"{name}:s"], [product], node.name, domain="com.microsoft", **sizes)]
        if bias:
            made.append(helper.make_node("Add", [product, bias], [node.output[0]], f"{node.name}:bias"))
        model.graph.node.remove(node)
        for offset, one in enumerate(made):
            model.graph.node.insert(index + offset, one)
    if "com.microsoft" not in {entry.domain for entry in model.opset_import}:
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
