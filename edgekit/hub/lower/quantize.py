"""Quantizing operators in, the arithmetic that defines them out, in float32 (integers below 2²⁴ are exact in it)."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from edgekit.hub.graph import attribute
from edgekit.hub.lower import Array, Lowering
from edgekit.hub.lower.integers import BITS, UNSIGNED

EIGHT = (TensorProto.INT8, TensorProto.UINT8)


def limits(kind: int) -> tuple[int, int]:
    bits = BITS[kind]
    return (0, 2**bits - 1) if kind in UNSIGNED else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def spread(graph: Lowering, node: NodeProto, name: str, x_shape: list[int]) -> str:
    """A scale or zero point as float32, in a shape that broadcasts: of one value, of an axis, or of blocks along an axis."""
    values = graph.value(name)
    axis = attribute(node, "axis", 1)
    block = attribute(node, "block_size", 0)
    if values is None:
        if graph.shape(name) not in ([], [1]):
            graph.refuse(node, "has a scale that is computed: export it with a stored one")
        return graph.add("Cast", [name], to=TensorProto.FLOAT)
    array: Array = np.asarray(values).astype(np.float32)
    if array.ndim == 1 and array.size > 1:
        array = array.reshape([-1 if one == axis % len(x_shape) else 1 for one in range(len(x_shape))])
    elif block:
        array = np.repeat(array, block, axis=axis)
        array = np.take(array, np.arange(x_shape[axis % len(x_shape)]), axis=axis)
    elif array.size == 1:
        array = array.reshape([])
    return graph.store(array)


def real(graph: Lowering, node: NodeProto, x: str, scale: str, zero: str | None) -> str:
    """(x - zero) · scale."""
    shape = graph.shape(x)
    values = graph.add("Cast", [x], to=TensorProto.FLOAT)
    if zero:
        values = graph.add("Sub", [values, spread(graph, node, zero, shape)])
    return graph.add("Mul", [values, spread(graph, node, scale, shape)])


def rounded(graph: Lowering, node: NodeProto, values: str, shape: list[int], scale: str, zero: str | None, kind: int, outputs: list[str]) -> None:
    """saturate(round(values / scale) + zero)."""
    steps = graph.add("Round", [graph.add("Div", [values, spread(graph, node, scale, shape)])])
    if zero:
        steps = graph.add("Add", [steps, spread(graph, node, zero, shape)])
    low, high = limits(kind)
    held = graph.add("Clip", [steps, graph.store(low, np.float32), graph.store(high, np.float32)])
    graph.add("Cast", [held], outputs, to=kind)


def one_scale(graph: Lowering, name: str) -> bool:
    return int(np.prod(graph.shape(name))) == 1 and graph.value(name) is not None


def quantize(graph: Lowering, node: NodeProto) -> None:
    """QuantizeLinear that TFLite's QUANTIZE does not do: of axes, of blocks, to 16 bits, to uint8."""
    x, scale, zero = node.input[0], node.input[1], graph.given(node, 2)
    kind = graph.dtype(node.output[0])
    if not (one_scale(graph, scale) and kind == TensorProto.INT8):
        rounded(graph, node, x, graph.shape(x), scale, zero, kind, list(node.output))


def dequantize(graph: Lowering, node: NodeProto) -> None:
    """DequantizeLinear that TFLite's DEQUANTIZE does not do: of blocks, of 16 and 32 bits."""
    x, scale, zero = node.input[0], node.input[1], graph.given(node, 2)
    if graph.dtype(x) in EIGHT and not attribute(node, "block_size", 0) and graph.value(scale) is not None:
        return
    shape = graph.shape(x)
    values = graph.add("Cast", [x], to=TensorProto.FLOAT)
    if zero:
        values = graph.add("Sub", [values, spread(graph, node, zero, shape)])
    graph.add("Mul", [values, spread(graph, node, scale, shape)], node.output)


def matmul(graph: Lowering, node: NodeProto) -> None:
    """QLinearMatMul: both sides real, multiplied, rounded."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.input
    product = graph.add("MatMul", [real(graph, node, a, a_scale, a_zero), real(graph, node, b, b_scale, b_zero)])
    rounded(graph, node, product, graph.shape(node.output[0]), y_scale, y_zero, graph.dtype(node.output[0]), list(node.output))


def conv(graph: Lowering, node: NodeProto) -> None:
    """QLinearConv: real image and weights, convolved with the bias, rounded."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = node.input
    scales, zeros, weights = graph.value(w_scale), graph.value(w_zero), graph.value(w)
    input_scale = graph.value(x_scale)
    if scales is None or zeros is None or weights is None or input_scale is None:
        graph.refuse(node, "has weights or scales that are computed: export it with stored ones")
    each = [-1] + [1] * (weights.ndim - 1)
    spread_zeros, spread_scales = (values.astype(np.float32).reshape(each if values.size > 1 else []) for values in (zeros, scales))
    real_weights = (weights.astype(np.float32) - spread_zeros) * spread_scales
    inputs = [real(graph, node, x, x_scale, x_zero), graph.store(real_weights, np.float32)]
    if bias and bias[0]:
        held = graph.value(bias[0])
        if held is None:
            graph.refuse(node, "has a bias that is computed: export it with a stored one")
        inputs.append(graph.store(held.astype(np.float32) * input_scale.astype(np.float32).ravel()[0] * scales.astype(np.float32).ravel(), np.float32))
    given = {found.name: attribute(node, found.name) for found in node.attribute}
    result = graph.add("Conv", inputs, **given)
    rounded(graph, node, result, graph.shape(node.output[0]), y_scale, y_zero, graph.dtype(node.output[0]), list(node.output))


def dynamic(graph: Lowering, node: NodeProto) -> None:
    """DynamicQuantizeLinear: the scale of the range with 0 in it, a zero point, and the values in uint8."""
    x, zero = node.input[0], graph.store(0, np.float32)
    low = graph.add("Min", [graph.add("ReduceMin", [x], keepdims=0), zero])
    high = graph.add("Max", [graph.add("ReduceMax", [x], keepdims=0), zero])
    scale = graph.add("Div", [graph.add("Sub", [high, low]), graph.store(255, np.float32)])
    top = graph.store(255, np.float32)
    point = graph.add("Round", [graph.add("Clip", [graph.add("Neg", [graph.add("Div", [low, scale])]), zero, top])])
    steps = graph.add("Add", [graph.add("Round", [graph.add("Div", [x, scale])]), point])
    graph.add("Cast", [graph.add("Clip", [steps, zero, top])], [node.output[0]], to=TensorProto.UINT8)
    graph.add("Identity", [scale], [node.output[1]])
    graph.add("Cast", [point], [node.output[2]], to=TensorProto.UINT8)
