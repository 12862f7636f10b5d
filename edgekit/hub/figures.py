"""A hub in, its figures out: operators by kind, parameters, multiply-accumulates, bytes of weights."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, helper

from edgekit.hub.graph import attribute, opset, spec, static_shapes

PARAMETER_TYPES = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT8, TensorProto.UINT8}
"""int32 and int64 tensors are shapes, axes and indices."""

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def figures(model: ModelProto) -> dict[str, Any]:
    """`inputs`, `outputs` (specs), `ops` (kind → count, most frequent first), `parameters`, `macs` (one sample), `depthwise_macs` of
    them, `weights_bytes`, `opset`.

    Parameters are stored elements of floating or 8-bit type with at least one axis; scalars (Clip's bounds) are not counted.
    """
    graph = model.graph
    shapes = static_shapes(graph)
    weights = [tensor for tensor in graph.initializer if tensor.data_type in PARAMETER_TYPES and len(tensor.dims) > 0]
    return {
        "inputs": [spec(value) for value in graph.input],
        "outputs": [spec(value) for value in graph.output],
        "ops": dict(Counter(node.op_type for node in graph.node).most_common()),
        "parameters": sum(math.prod(tensor.dims) for tensor in weights),
        "macs": sum(macs(node, shapes) for node in graph.node),
        "depthwise_macs": sum(macs(node, shapes) for node in graph.node if is_depthwise(node, shapes)),
        "weights_bytes": sum(math.prod(tensor.dims) * item_bytes(tensor) for tensor in weights),
        "opset": opset(model),
    }


def is_depthwise(node: NodeProto, shapes: dict[str, list[int]]) -> bool:
    """A convolution each of whose output channels sees one input channel, of several."""
    return node.op_type == "Conv" and attribute(node, "group", 1) > 1 and shapes[node.input[1]][1] == 1


def item_bytes(tensor: TensorProto) -> int:
    return int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def macs(node: NodeProto, shapes: dict[str, list[int]]) -> int:
    """Multiply-accumulates of one run of a node: convolutions, matrix products and recurrent cells; 0 for all else."""
    if node.op_type == "Conv":
        _, channels, *kernel = shapes[node.input[1]]
        return math.prod(shapes[node.output[0]]) * channels * math.prod(kernel)
    if node.op_type == "ConvTranspose":
        _, channels, *kernel = shapes[node.input[1]]
        return math.prod(shapes[node.input[0]]) * channels * math.prod(kernel)
    if node.op_type == "Gemm":
        inner = shapes[node.input[0]][0 if attribute(node, "transA", 0) else 1]
        return math.prod(shapes[node.output[0]]) * inner
    if node.op_type == "MatMul":
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type in GATES:
        steps, batch = shapes[node.input[0]][:2]
        directions, rows, inputs = shapes[node.input[1]]
        return steps * batch * directions * rows * (inputs + rows // GATES[node.op_type])
    return 0
