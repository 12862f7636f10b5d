"""Activations and other element-wise operators in, the operators that every runtime has out."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from edgekit.hub.graph import attribute
from edgekit.hub.lower import Lowering


def elu(graph: Lowering, node: NodeProto) -> None:
    """max(x, 0) + alpha · elu(min(x, 0)), where alpha is not 1."""
    alpha = attribute(node, "alpha", 1.0)
    if alpha != 1.0:
        x, zero = node.input[0], graph.like(node.input[0], 0)
        below = graph.add("Mul", [graph.add("Elu", [graph.add("Min", [x, zero])]), graph.like(x, alpha)])
        graph.add("Add", [graph.add("Relu", [x]), below], node.output)


def mish(graph: Lowering, node: NodeProto) -> None:
    """x · tanh(log(1 + eˣ)) = x · n / (n + 2) with n = eˣ · (eˣ + 2), which keeps small values; beyond x = 20 it is x in float32."""
    x = node.input[0]
    power = graph.add("Exp", [graph.add("Min", [x, graph.like(x, 20)])])
    n = graph.add("Mul", [power, graph.add("Add", [power, graph.like(x, 2)])])
    graph.add("Mul", [x, graph.add("Div", [n, graph.add("Add", [n, graph.like(x, 2)])])], node.output)


def swish(graph: Lowering, node: NodeProto) -> None:
    """x · sigmoid(alpha · x) (Swish-24)."""
    x, alpha = node.input[0], attribute(node, "alpha", 1.0)
    inner = x if alpha == 1.0 else graph.add("Mul", [x, graph.like(x, alpha)])
    graph.add("Mul", [x, graph.add("Sigmoid", [inner])], node.output)


def prelu(graph: Lowering, node: NodeProto) -> None:
    """max(x, 0) + slope · min(x, 0), where the slope is not one value for each channel of an image."""
    x, slope = node.input
    shape, rank = graph.shape(slope), len(graph.shape(x))
    per_channel = len(shape) == rank - 1 and all(size == 1 for size in shape[1:])
    if graph.value(slope) is None or not (np.prod(shape) == 1 or (per_channel and rank == 4)):
        zero = graph.like(x, 0)
        if len(shape) == 1 and shape[0] == graph.shape(x)[1] != graph.shape(x)[-1]:  # as opsets before 9 meant it: one for each channel
            slope = graph.add("Reshape", [slope, graph.ints(-1, *[1] * (rank - 2))])
        below = graph.add("Mul", [graph.add("Min", [x, zero]), slope])
        graph.add("Add", [graph.add("Max", [x, zero]), below], node.output)


def hardmax(graph: Lowering, node: NodeProto) -> None:
    """1 at the first largest place along an axis, else 0: where the index is that of the maximum."""
    x = node.input[0]
    shape = graph.shape(x)
    axis = attribute(node, "axis", -1) % len(shape)
    places = graph.store(np.arange(shape[axis]).reshape([-1 if index == axis else 1 for index in range(len(shape))]), np.int64)
    first = graph.add("ArgMax", [x], axis=axis, keepdims=1)
    graph.add("Cast", [graph.add("Equal", [places, first])], node.output, to=graph.dtype(x))


def clip(graph: Lowering, node: NodeProto) -> None:
    """min(max(x, low), high), in this order: where low is above high, all is high. Also for bounds that are computed and for integers."""
    x, low, high = node.input[0], graph.given(node, 1), graph.given(node, 2)
    values = [graph.value(name) if name else None for name in (low, high)]
    computed = any(name and value is None for name, value in zip((low, high), values, strict=True))
    crossed = values[0] is not None and values[1] is not None and np.any(values[0] > values[1])
    if not (computed or crossed or graph.dtype(x) != TensorProto.FLOAT):
        return
    if low:
        x = graph.add("Max", [x, low], None if high else node.output)
    if high:
        graph.add("Min", [x, high], node.output)
    if not low and not high:
        graph.add("Identity", [x], node.output)


def variadic(graph: Lowering, node: NodeProto) -> None:
    """Max, Min, Sum and Mean of one tensor, or of more than two: pair by pair."""
    op = {"Sum": "Add", "Mean": "Add"}.get(node.op_type, node.op_type)
    names = list(node.input)
    if node.op_type == "Mean":
        total = names[0]
        for name in names[1:]:
            total = graph.add("Add", [total, name])
        graph.add("Div", [total, graph.like(names[0], len(names))], node.output)
    elif len(names) == 1:
        graph.add("Identity", names, node.output)
    elif len(names) > 2 or op != node.op_type:
        total = names[0]
        for name in names[1:-1]:
            total = graph.add(op, [total, name])
        graph.add(op, [total, names[-1]], node.output)


def lp_normalization(graph: Lowering, node: NodeProto) -> None:
    """x over its norm along an axis; 0 where the norm is 0 (LpNormalization-22)."""
    x, axis, p = node.input[0], attribute(node, "axis", -1), attribute(node, "p", 2)
    norm = graph.add("ReduceL1" if p == 1 else "ReduceL2", [x, graph.ints(axis)], keepdims=1)
    empty = graph.add("Cast", [graph.add("Equal", [norm, graph.like(x, 0)])], to=graph.dtype(x))
    graph.add("Div", [x, graph.add("Add", [norm, empty])], node.output)
