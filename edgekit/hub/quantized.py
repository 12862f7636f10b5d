"""A model that somebody has quantized in; whether it is so, and the same with its stored weights in float32 where they alone are quantized, out."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekit.hub.fold import KEPT, constants_to_initializers, evaluate
from edgekit.hub.graph import array, attribute, constants, opset, output_names, reads, subgraphs, title, walk

Array = np.ndarray[Any, Any]

INTEGER = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")
"""Operators that compute on integers that stand for real numbers."""

WIDER = {TensorProto.INT4: np.int8, TensorProto.INT2: np.int8, TensorProto.UINT4: np.uint8, TensorProto.UINT2: np.uint8}
"""Several in a byte (opsets 21 and 25) → the type that numpy has for them."""

BYTES = (TensorProto.INT8, TensorProto.UINT8)


def quantized_node(model: ModelProto) -> NodeProto | None:
    """The first node of quantized arithmetic."""
    return next((node for node in walk(model.graph.node) if node.op_type in INTEGER), None)


def widen(model: ModelProto) -> None:
    """Store initializers of 2 and 4 bits as 8: what casts, looks up or dequantizes them gives the same then, in any opset.

    One that quantizes the model's own numbers stays: what it makes would have 8 bits too.
    """
    making = {name for node in walk(model.graph.node) if node.op_type == "QuantizeLinear" for name in node.input}
    widened = [tensor for tensor in model.graph.initializer if tensor.data_type in WIDER and tensor.name not in making]
    for tensor in widened:
        tensor.CopyFrom(numpy_helper.from_array(array(tensor).astype(WIDER[tensor.data_type]), tensor.name))
    if widened:  # whoever wrote the types of inner tensors down meant the narrow ones
        del model.graph.value_info[:]


def dequantize_weights(model: ModelProto) -> list[str]:
    """Where weights alone are stored as integers, replace each by the float32 that it stands for; gives a note of what was found.

    However the integers are unpacked: by DequantizeLinear, a Cast and a product, or a palette. A model that quantizes activations too is left as
    it is: there the integers are what it computes with.
    """
    arithmetic = quantized_node(model)
    if arithmetic is not None:
        cure = "give the float model that it was made from, which edgekit quantizes for each format itself"
        return [f"the model is quantized already ({arithmetic.op_type} node {title(arithmetic)!r}) and kept as it is: {cure}"]
    graph, found = model.graph, []
    constants_to_initializers(model)
    known, done = constants(graph), []
    for node in unpacking(model):
        values = computed(node, known, opset(model))
        if values is None:
            continue
        known |= {tensor.name: tensor for tensor in values}
        found += values
        done.append(node)
    for node in done:
        graph.node.remove(node)
    read = {name for node in graph.node for name in reads(node)}
    kept = [tensor for tensor in found if tensor.name in read]
    graph.initializer.extend(kept)
    return ["weights stored as integers are the float32 that they stand for"] if any(is_float(tensor) for tensor in kept) else []


def is_float(tensor: TensorProto) -> bool:
    return tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)


def unpacking(model: ModelProto) -> list[NodeProto]:
    """The nodes that make something of stored tensors alone, of which one holds integers of 8 bits; in order."""
    known, outputs = constants(model.graph), set(output_names(model.graph))
    fixed, packed = set(known), {name for name, tensor in known.items() if tensor.data_type in BYTES}
    free, wanted = [], set()
    for node in model.graph.node:
        if (node.op_type in KEPT and node.op_type != "DequantizeLinear") or outputs.intersection(node.output) or next(subgraphs(node), None) is not None:
            continue
        if all(name in fixed for name in node.input if name):
            fixed.update(node.output)
            free.append(node)
            if packed.intersection(node.input):
                packed.update(node.output)
                wanted.update(node.output)
    needed = []
    for node in reversed(free):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            needed.append(node)
    return needed[::-1]


def computed(node: NodeProto, known: dict[str, TensorProto], version: int) -> list[TensorProto] | None:
    """What a node makes of stored tensors; None where that is not known."""
    if not all(name in known for name in node.input if name):
        return None
    if node.op_type != "DequantizeLinear":
        return evaluate(node, known, version)
    values = dequantized(node, [array(known[name]) if name else None for name in node.input])
    return None if values is None else [numpy_helper.from_array(values, node.output[0])]


def dequantized(node: NodeProto, inputs: list[Array | None]) -> Array | None:
    """(x - zero_point) · scale, per tensor, along an axis, or for each block along it (ONNX operators, DequantizeLinear); None for what that does not say."""
    values, scale, zero = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
    assert values is not None
    assert scale is not None
    axis, block = attribute(node, "axis", 1), attribute(node, "block_size", 0)
    shift = np.zeros_like(scale) if zero is None else zero.astype(np.float32)
    if block:
        if scale.ndim != values.ndim or shift.shape != scale.shape or -(-values.shape[axis] // block) != scale.shape[axis]:
            return None
        whole = [slice(None)] * values.ndim
        whole[axis] = slice(values.shape[axis])
        scale, shift = (np.repeat(one, block, axis)[tuple(whole)] for one in (scale, shift))
    elif scale.ndim > 1:
        return None
    else:
        shape = [1] * values.ndim
        if scale.size > 1:
            shape[axis] = scale.size
        scale, shift = scale.reshape(shape if scale.size > 1 else -1), shift.reshape(shape if shift.size > 1 else -1)
    return np.asarray((values.astype(np.float32) - shift) * scale, scale.dtype)
