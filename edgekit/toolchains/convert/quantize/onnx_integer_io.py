"""A QDQ model with float32 inputs and outputs in, the same with int8 ones out, and their scales and zero points."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgekit.hub.graph import array, constants, makers, readers
from edgekit.hub.ranges import Histogram, affine, limits

KEY = "edgekit.quantization"
"""The property of the file that tells the parameters of its ends, as JSON."""

Ends = dict[str, list[dict[str, Any] | None]]


def integer_ends(model: onnx.ModelProto, histograms: Mapping[str, Histogram], method: str) -> Ends:
    """Change float32 inputs and outputs into int8; those of other types stay, and have None."""
    return {
        "inputs": [integer_input(model, value, histograms, method) for value in model.graph.input],
        "outputs": [integer_output(model, value, histograms, method) for value in model.graph.output],
    }


def tell(model: onnx.ModelProto, ends: Ends) -> None:
    """Write the parameters into the file."""
    helper.set_model_props(model, {KEY: json.dumps(ends)})


def told(path: Path) -> Ends:
    """The parameters that a file tells."""
    properties = {one.key: one.value for one in onnx.load(path, load_external_data=False).metadata_props}
    ends: Ends = json.loads(properties[KEY])
    return ends


def integer_input(model: onnx.ModelProto, value: onnx.ValueInfoProto, histograms: Mapping[str, Histogram], method: str) -> dict[str, Any] | None:
    if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        return None
    users = readers(model.graph).get(value.name, [])
    value.type.tensor_type.elem_type = onnx.TensorProto.INT8
    if users and all(node.op_type == "QuantizeLinear" for node in users):
        found = parameters(model, users[0])
        for node in users:  # they are all alike: one tensor has one range
            swap(model, node.output[0], value.name)
            model.graph.node.remove(node)
        return found
    made = add_parameters(model, value.name, histograms, method)
    swap(model, value.name, f"{value.name}:float")
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", [value.name, *made], [f"{value.name}:float"]))
    return parameters(model, model.graph.node[0])


def integer_output(model: onnx.ModelProto, value: onnx.ValueInfoProto, histograms: Mapping[str, Histogram], method: str) -> dict[str, Any] | None:
    if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        return None
    value.type.tensor_type.elem_type = onnx.TensorProto.INT8
    last = makers(model.graph)[value.name]
    if last.op_type == "DequantizeLinear" and last.input[0] in (made := makers(model.graph)) and value.name not in readers(model.graph):
        found, inner = parameters(model, last), last.input[0]
        model.graph.node.remove(last)
        made[inner].output[0] = value.name
        swap(model, inner, value.name)
        return found
    inner = f"{value.name}:float"
    last.output[:] = [inner if name == value.name else name for name in last.output]
    swap(model, value.name, inner)
    node = helper.make_node("QuantizeLinear", [inner, *add_parameters(model, value.name, histograms, method)], [value.name])
    model.graph.node.append(node)
    return parameters(model, node)


def parameters(model: onnx.ModelProto, node: onnx.NodeProto) -> dict[str, Any]:
    tensors = constants(model.graph)
    scale, zero = (array(tensors[name]).reshape(()) for name in node.input[1:3])
    return {"scale": float(scale), "zero_point": int(zero), "dtype": zero.dtype.name}


def add_parameters(model: onnx.ModelProto, name: str, histograms: Mapping[str, Histogram], method: str) -> list[str]:
    scale, zero = affine(*limits(histograms[name], method))
    names = [f"{name}:scale", f"{name}:zero"]
    model.graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), names[0]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(zero, np.int8), names[1]))
    return names


def swap(model: onnx.ModelProto, old: str, new: str) -> None:
    """Let every reader of one tensor read another."""
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
