"""A hub graph, or the TFLite graph that onnx2tf made of it, in; the same with the hub's own inputs and outputs out.

onnx2tf drops the transpose before an output, so a model that ends in a convolution gives its channels last. Which axes it moved
cannot be told from shapes where they are equal, so the outputs are pinned before the conversion: each ends in a Reshape to one
axis, which reads its values in the hub's order, and which becomes a Reshape to the hub's shape (or nothing) afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

PIN = "edgekit/pin/"
TFLITE_DTYPES = {
    "FLOAT": "FLOAT32",
    "FLOAT16": "FLOAT16",
    "DOUBLE": "FLOAT64",
    "UINT64": "UINT64",
    "UINT32": "UINT32",
    "UINT16": "UINT16",
    "INT64": "INT64",
    "INT32": "INT32",
    "INT16": "INT16",
    "INT8": "INT8",
    "UINT8": "UINT8",
    "BOOL": "BOOL",
}
"""ONNX dtype → TFLite dtype, of inputs and outputs."""


class BoundaryError(ValueError):
    """The written graph cannot be given the hub's inputs and outputs; the message names the tensor."""


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output of the hub: name, TFLite dtype name, static shape."""

    name: str
    dtype: str
    shape: list[int]


def inputs_of(hub: onnx.ModelProto) -> list[Value]:
    constants = {tensor.name for tensor in hub.graph.initializer}
    return [value_of(info) for info in hub.graph.input if info.name not in constants]


def outputs_of(hub: onnx.ModelProto) -> list[Value]:
    return [value_of(info) for info in hub.graph.output]


def value_of(info: onnx.ValueInfoProto) -> Value:
    """
    Raises:
        BoundaryError: a dtype that TFLite has no input or output of.
    """
    kind = info.type.tensor_type
    dtype = onnx.TensorProto.DataType.Name(kind.elem_type)
    if dtype not in TFLITE_DTYPES:
        raise BoundaryError(f"{info.name!r} is {dtype.lower()}, which TFLite models take no input or output of: export the model with float32 there")
    return Value(info.name, TFLITE_DTYPES[dtype], [axis.dim_value for axis in kind.shape.dim])


def pin(hub: onnx.ModelProto) -> dict[str, Value]:
    """Let each output that a layout pass could touch end in a Reshape to one axis; returns the new outputs' names with the old.

    The graph is changed in place. Outputs of fewer than three axes have no layout; they are pinned only where they are another
    tensor's alias. An output that is an input is left as it is.
    """
    inputs = {info.name for info in hub.graph.input}
    aliases = {name for node in hub.graph.node if node.op_type == "Identity" for name in node.output}
    pins: dict[str, Value] = {}
    for info in hub.graph.output:
        value = value_of(info)
        if value.name in inputs or not (len(value.shape) >= 3 or not value.shape or value.name in aliases):
            continue
        name = f"{PIN}{len(pins)}"
        count = int(np.prod(value.shape))
        hub.graph.initializer.append(numpy_helper.from_array(np.array([count], np.int64), f"{name}/shape"))
        hub.graph.node.append(helper.make_node("Reshape", [value.name, f"{name}/shape"], [name], name=name))
        old = onnx.ValueInfoProto()
        old.CopyFrom(info)
        hub.graph.value_info.append(old)
        info.CopyFrom(helper.make_tensor_value_info(name, info.type.tensor_type.elem_type, [count]))
        pins[name] = value
    return pins


def unpin(graph: Any, pins: dict[str, Value]) -> None:
    """Give the pinned outputs of an onnx2tf ModelIR their own shape and name; changes it in place."""
    for name, value in pins.items():
        pinning = next((op for op in graph.operators if name in op.outputs), None)
        if pinning is not None and pinning.op_type == "RESHAPE" and is_free(graph, pinning.inputs[0], value):
            graph.operators.remove(pinning)
            graph.outputs = [pinning.inputs[0] if one == name else one for one in graph.outputs]
            rename(graph, pinning.inputs[0], value.name)
        else:
            reshape_to(graph, pinning, name, value)
            rename(graph, name, value.name)


def is_free(graph: Any, source: str, value: Value) -> bool:
    """Whether a tensor can be the output itself: an operator's result, of the output's shape, and no output yet."""
    made = any(source in op.outputs for op in graph.operators)
    return made and source not in graph.outputs and list(graph.tensors[source].shape) == value.shape


def reshape_to(graph: Any, pinning: Any, name: str, value: Value) -> None:
    """Let the operator that made the flat output make the output's own shape."""
    from onnx2tf.tflite_builder.ir import OperatorIR, TensorIR

    if pinning is None or pinning.op_type != "RESHAPE":  # None: a constant
        flat = f"{name}/flat"
        rename(graph, name, flat)
        graph.outputs = [name if one == flat else one for one in graph.outputs]
        graph.tensors[name] = TensorIR(name, value.dtype, value.shape)
        pinning = OperatorIR("RESHAPE", [flat], [name])
        graph.operators.append(pinning)
    target = f"{name}/target"
    graph.tensors[target] = TensorIR(target, "INT32", [len(value.shape)], data=np.array(value.shape, np.int32))
    pinning.inputs = [pinning.inputs[0], target]
    pinning.options = {"newShape": value.shape}
    graph.tensors[name].shape = graph.tensors[name].shape_signature = value.shape


def rename(graph: Any, old: str, new: str) -> None:
    """Rename a tensor everywhere; a tensor that already has the new name makes room."""
    if old == new:
        return
    if new in graph.tensors:
        rename(graph, new, f"{new}/inner")
    tensor = graph.tensors.pop(old)
    tensor.name = new
    graph.tensors[new] = tensor
    for op in graph.operators:
        op.inputs = [new if one == old else one for one in op.inputs]
        op.outputs = [new if one == old else one for one in op.outputs]
    graph.inputs = [new if one == old else one for one in graph.inputs]
    graph.outputs = [new if one == old else one for one in graph.outputs]


def settle(graph: Any, inputs: list[Value], outputs: list[Value]) -> None:
    """Put inputs and outputs into the hub's order, add inputs that nothing reads, and hold every dtype and shape against the hub.

    Raises:
        BoundaryError: an output is missing, or a dtype or shape is not the hub's.
    """
    from onnx2tf.tflite_builder.ir import TensorIR

    for value in inputs:
        if value.name not in graph.tensors:
            graph.tensors[value.name] = TensorIR(value.name, value.dtype, value.shape)
    graph.inputs = [value.name for value in inputs]
    missing = {value.name for value in outputs} - set(graph.outputs)
    if missing:
        raise BoundaryError(f"the output {sorted(missing)[0]!r} is lost in conversion")
    graph.outputs = [value.name for value in outputs]
    for value in [*inputs, *outputs]:
        tensor = graph.tensors[value.name]
        if value.shape == [] and list(tensor.shape) == [1]:  # onnx2tf notes a scalar so; the operator itself gives a scalar
            tensor.shape = tensor.shape_signature = []
        if list(tensor.shape) != value.shape or tensor.dtype != value.dtype:
            raise BoundaryError(f"{value.name!r} is {value.dtype} {value.shape} in the model and {tensor.dtype} {list(tensor.shape)} in the TFLite file")
