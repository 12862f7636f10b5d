"""A model that somebody has quantized in; whether it is so, and the same with its stored weights in float32 where they alone are quantized, out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekit.hub.graph import array, attribute, constants, title, walk

Array = np.ndarray[Any, Any]

INTEGER = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")
"""Operators that compute on integers that stand for real numbers."""


def quantized_node(model: ModelProto) -> NodeProto | None:
    """The first node of quantized arithmetic."""
    return next((node for node in walk(model.graph.node) if node.op_type in INTEGER), None)


def dequantize_weights(model: ModelProto) -> list[str]:
    """Where weights alone are stored as integers, replace each by the float32 that it stands for; gives a note of what was found.

    A model that quantizes activations too is left as it is: there the integers are what it computes with.
    """
    arithmetic = quantized_node(model)
    if arithmetic is not None:
        cure = "give the float model that it was made from, which edgekit quantizes for each format itself"
        return [f"the model is quantized already ({arithmetic.op_type} node {title(arithmetic)!r}) and kept as it is: {cure}"]
    known, done = constants(model.graph), []
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or not all(name in known for name in node.input if name):
            continue
        values = dequantized(node, [array(known[name]) if name else None for name in node.input])
        if values is None:
            continue
        model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        done.append(node)
    for node in done:
        model.graph.node.remove(node)
    return ["weights stored as integers are the float32 that they stand for"] if done or stored_as_integers(model, known) else []


def stored_as_integers(model: ModelProto, known: Mapping[str, TensorProto]) -> bool:
    """Whether a stored tensor of 8-bit integers is cast to float, as weights are that are multiplied by their scale."""
    narrow, floats = (TensorProto.INT8, TensorProto.UINT8), (TensorProto.FLOAT, TensorProto.FLOAT16)
    casts = (node for node in model.graph.node if node.op_type == "Cast" and attribute(node, "to", 0) in floats)
    return any(node.input[0] in known and known[node.input[0]].data_type in narrow for node in casts)


def dequantized(node: NodeProto, inputs: list[Array | None]) -> Array | None:
    """(x - zero_point) · scale, per tensor or along an axis (ONNX operators, DequantizeLinear); None for blocks."""
    values, scale, zero = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
    assert values is not None
    assert scale is not None
    if attribute(node, "block_size", 0) or scale.ndim > 1:
        return None
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[attribute(node, "axis", 1)] = scale.size
    shift = np.zeros(1, np.float32) if zero is None else zero.astype(np.float32)
    return np.asarray(
        (values.astype(np.float32) - shift.reshape(shape if shift.size > 1 else -1)) * scale.reshape(shape if scale.size > 1 else -1), scale.dtype
    )
