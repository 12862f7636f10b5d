"""An ONNX model in, the same with its weights stored smaller out; what is computed stays float32.

ONNX Runtime turns stored weights back into float32 once, when a session is made, so such a file is as fast as the float one. For
that int8 weights stand before a Cast and a Mul: a DequantizeLinear is not folded, and a MobileNetV2 with them took 2.3 times as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgekit.hub.graph import array, attribute, constants, readers
from edgekit.hub.weights import scales

Array = np.ndarray[Any, Any]

LEAST_VALUES = 256
"""A smaller tensor is hardly worth its scales and its node; biases and norms are such."""

LARGEST_HALF = float(np.finfo(np.float16).max)


def store_half(model: onnx.ModelProto, kept: set[str]) -> list[str]:
    """Weights in float16 and a Cast behind each, those in `kept` aside; returns notes."""
    left = []
    for name, tensor in floats(model).items():
        if name in kept:
            continue
        values = array(tensor)
        if np.abs(values).max() > LARGEST_HALF:
            left.append(name)
            continue
        stored = f"{name}:f16"
        node = helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT)
        replace(model, name, [numpy_helper.from_array(values.astype(np.float16), stored)], [node])
    return [f"weights beyond float16's range left in float32: {', '.join(left)}"] if left else []


def store_int8(model: onnx.ModelProto, kept: set[str] | None = None) -> None:
    """Weights but those in `kept` in int8, symmetric, a scale for each output channel; Cast and Mul behind each."""
    axes = channel_axes(model)
    for name, tensor in floats(model).items():
        if name not in axes or (kept and name in kept):
            continue
        values, axis = array(tensor), axes[name]
        scale = scales(values, axis, 8)
        stored = numpy_helper.from_array(np.clip(np.rint(values / scale), -127, 127).astype(np.int8), f"{name}:i8")
        scale_tensor = numpy_helper.from_array(scale, f"{name}:s")
        whole = f"{name}:i"
        cast = helper.make_node("Cast", [stored.name], [whole], to=onnx.TensorProto.FLOAT)
        replace(model, name, [stored, scale_tensor], [cast, helper.make_node("Mul", [whole, scale_tensor.name], [name])])


def floats(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Float32 constants that are worth storing smaller, and no output themselves."""
    outputs = {value.name for value in model.graph.output}
    wanted = onnx.TensorProto.FLOAT
    found = constants(model.graph).items()
    return {name: t for name, t in found if t.data_type == wanted and np.prod(t.dims) >= LEAST_VALUES and name not in outputs}


def float_values(model: onnx.ModelProto) -> int:
    """How many numbers are in the constants that are worth storing smaller, and are not."""
    return sum(int(np.prod(tensor.dims)) for tensor in floats(model).values())


def channel_axes(model: onnx.ModelProto) -> dict[str, int]:
    """Of each weight: the axis that counts output channels. A weight that is read in two ways is left out."""
    axes: dict[str, int] = {}
    for name, nodes in readers(model.graph).items():
        found = {channel_axis(node, name) for node in nodes}
        axis = found.pop()
        if not found and axis is not None:
            axes[name] = axis
    ranks = {name: len(tensor.dims) for name, tensor in constants(model.graph).items()}
    return {name: axis % ranks[name] for name, axis in axes.items() if ranks.get(name)}


def channel_axis(node: onnx.NodeProto, name: str) -> int | None:
    if name not in node.input[1:2] and not (node.op_type == "Gather" and name == node.input[0]):
        return 1 if node.op_type in ("LSTM", "GRU", "RNN") and name in node.input[2:3] else None
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    if node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1:
        return 0
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gather": 0, "LSTM": 1, "GRU": 1, "RNN": 1}.get(node.op_type)


def replace(model: onnx.ModelProto, name: str, stored: list[onnx.TensorProto], nodes: list[onnx.NodeProto]) -> None:
    """Put stored tensors, and the nodes that give the weight its name back, in the place of a constant."""
    (old,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    model.graph.initializer.remove(old)
    model.graph.initializer.extend(stored)
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
