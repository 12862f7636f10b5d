"""QuantizeLinear, DequantizeLinear and the operators on quantized integers: by the arithmetic of their definitions.

Sums of products of 8-bit integers are computed in int32 (matrix products) or in float32, which counts exactly to 2^24.
"""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil import Builder as mb
from onnx import TensorProto

from edgekit.toolchains.convert.coreml.convolution import conv_of
from edgekit.toolchains.convert.coreml.matrix import product
from edgekit.toolchains.convert.coreml.node import FLOATS, NARROW, Array, Lowering, Node, Var, cast, reshaped

EXACT = 1 << 24


def limits(node: Node, elem_type: int) -> tuple[int, int]:
    if elem_type not in NARROW:
        node.refuse(f"it quantizes to {TensorProto.DataType.Name(elem_type).lower()}, which Core ML does not have; use 8 bits")
    bits, signed = NARROW[elem_type]
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def along(parameter: Var, node: Node, shape: list[int]) -> Var:
    """A scale or zero point so that it broadcasts with a tensor of that shape: per tensor, per axis, or per block of an axis."""
    rank, sizes = len(shape), [int(n) for n in parameter.shape]
    axis = node.attribute("axis", 1)
    if len(sizes) == 0 or sizes == [1]:
        return parameter if not sizes else mb.squeeze(x=parameter, axes=[0]) if rank == 0 else parameter
    if len(sizes) == 1:
        return reshaped(parameter, [-1 if i == axis % rank else 1 for i in range(rank)] if rank > 1 else sizes)
    axis %= rank
    block = node.attribute("block_size", 0) or -(-shape[axis] // sizes[axis])
    at = (np.arange(shape[axis]) // block).astype(np.int32)
    return mb.gather(x=parameter, indices=at, axis=axis)


def quantized(x: Var, scale: Var, zero: Var | None, low: int, high: int) -> Var:
    """round(x / scale) + zero point, half to even, in the integers' range."""
    y = mb.round(x=mb.real_div(x=x, y=scale))
    y = y if zero is None else mb.add(x=y, y=cast(zero, "fp32"))
    return cast(mb.clip(x=y, alpha=np.float32(low), beta=np.float32(high)), "int32")


def quantize_linear(node: Node) -> Var:
    x, shape = cast(node.input(0), "fp32"), node.shape(0)
    low, high = limits(node, node.made_dtype())
    scale = along(cast(node.input(1), "fp32"), node, shape)
    zero = along(node.input(2), node, shape) if node.given(2) else None
    return quantized(x, scale, zero, low, high)


def dequantize_linear(node: Node) -> Var:
    x, shape = node.input(0), node.shape(0)
    if node.dtype(0) not in NARROW and node.dtype(0) != TensorProto.INT32:
        node.refuse(f"it dequantizes {TensorProto.DataType.Name(node.dtype(0)).lower()}, which Core ML does not have; use 8 bits")
    if node.given(2):
        x = mb.sub(x=x, y=along(node.input(2), node, shape))
    scale = along(node.input(1), node, shape)
    dtype = "fp16" if node.made_dtype() == TensorProto.FLOAT16 else "fp32"
    return mb.mul(x=cast(x, dtype), y=cast(scale, dtype))


def shifted(node: Node, index: int, zero: int, axis: int | None = None) -> Var:
    """Integers less their zero point; a zero point for each row or column lies along `axis`."""
    x = node.input(index)
    if not node.given(zero):
        return x
    point = node.input(zero)
    if axis is not None and [int(n) for n in point.shape] not in ([], [1]) and len(point.shape) == 1:
        rank = len(x.shape)
        point = reshaped(point, [-1 if i == axis % rank else 1 for i in range(rank)])
    return mb.sub(x=x, y=point)


def matmul_integer(node: Node) -> Var:
    return product(shifted(node, 0, 2, -2), shifted(node, 1, 3, -1))


def conv_integer(node: Node) -> Var:
    return cast(integer_conv(node, shifted(node, 0, 2), shifted(node, 1, 3, 0)), "int32")


def integer_conv(node: Node, x: Var, weight: Var) -> Var:
    """A convolution of integers in float32."""
    terms = int(np.prod([int(n) for n in weight.shape[1:]]))
    if terms * 255 * 255 >= EXACT and not small(weight, EXACT):
        node.refuse(f"it adds up {terms} products of integers, which float32 does not count exactly; dequantize before it")
    return conv_of(node, cast(x, "fp32"), cast(weight, "fp32"))


def small(weight: Var, limit: int) -> bool:
    """Whether no sum of products of stored weights and 8-bit integers reaches the limit."""
    stored: Array | None = weight.val
    return stored is not None and bool((np.abs(stored.astype(np.int64)).reshape(stored.shape[0], -1).sum(1) * 255 < limit).all())


def rescaled(node: Node, accumulated: Var, scales: list[Var], zero: Var, elem_type: int) -> Var:
    """An accumulator brought to the result's scale: scales are those of the two operands and of the result."""
    low, high = limits(node, elem_type)
    a, b, y = (cast(s, "fp32") for s in scales)
    real = mb.mul(x=cast(accumulated, "fp32"), y=mb.mul(x=a, y=b))
    return quantized(real, y, zero, low, high)


def qlinear_matmul(node: Node) -> Var:
    """Inputs: a, its scale and zero point, b and its, the result's."""
    if node.dtype(1) not in FLOATS:
        node.refuse("its scales are not floats")
    a, b = shifted(node, 0, 2, -2), shifted(node, 3, 5, -1)
    rows = node.input(1)
    if len(rows.shape) == 1 and int(rows.shape[0]) > 1:
        rows = reshaped(rows, [-1, 1])
    return rescaled(node, product(a, b), [rows, node.input(4), node.input(6)], node.input(7), node.made_dtype())


def qlinear_conv(node: Node) -> Var:
    """Inputs: x, its scale and zero point, the weights and theirs, the result's, a bias in the accumulator's scale."""
    y = integer_conv(node, shifted(node, 0, 2), shifted(node, 3, 5, 0))
    shape = [1, -1] + [1] * (len(y.shape) - 2)
    if node.given(8):
        y = mb.add(x=y, y=cast(mb.reshape(x=node.input(8), shape=shape), "fp32"))
    weight_scale = node.input(4)
    if len(weight_scale.shape) == 1 and int(weight_scale.shape[0]) > 1:
        weight_scale = mb.reshape(x=weight_scale, shape=shape)
    return rescaled(node, y, [node.input(1), weight_scale, node.input(6)], node.input(7), node.made_dtype())


def dynamic_quantize(node: Node) -> list[Var]:
    """uint8 over the range of x, which is made to hold 0."""
    x = node.input(0)
    rank = list(range(len(x.shape)))
    top = mb.maximum(x=mb.reduce_max(x=x, axes=rank, keep_dims=False), y=np.float32(0))
    bottom = mb.minimum(x=mb.reduce_min(x=x, axes=rank, keep_dims=False), y=np.float32(0))
    scale = mb.real_div(x=mb.sub(x=top, y=bottom), y=np.float32(255))
    zero = mb.cast(
        x=mb.clip(x=mb.round(x=mb.real_div(x=mb.mul(x=bottom, y=np.float32(-1)), y=scale)), alpha=np.float32(0), beta=np.float32(255)), dtype="int32"
    )
    return [quantized(x, scale, zero, 0, 255), scale, zero]


OPS: dict[str, Lowering] = {
    "ConvInteger": conv_integer,
    "DequantizeLinear": dequantize_linear,
    "DynamicQuantizeLinear": dynamic_quantize,
    "MatMulInteger": matmul_integer,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "QuantizeLinear": quantize_linear,
}
