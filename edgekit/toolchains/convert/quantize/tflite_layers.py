"""A float .tflite file in, the same with weights cut off and biases corrected out: what makes the integers to come err less."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.hub.weights import clip, rounded
from edgekit.toolchains.convert.runtime.runners import Array
from edgekit.toolchains.convert.tflite.file import TfliteFile

PLACES = {"CONV_2D": (0, 0), "DEPTHWISE_CONV_2D": (0, 3), "FULLY_CONNECTED": (0, 0), "TRANSPOSE_CONV": (2, 0)}
"""Kind → which operand is the activation, and the weights' axis of output channels; weights are operand 1, the bias the one after the first two."""


@dataclass(frozen=True, slots=True)
class Layer:
    """An operator with constant float weights."""

    position: int
    kind: str
    source: str
    """The name of its activation."""
    weights: int
    bias: int | None
    """Indices of tensors."""
    axis: int


def layers(model: TfliteFile) -> Iterator[Layer]:
    """Those of the main graph, in order."""
    graph = model.table.subgraphs[0]
    for position, op in enumerate(model.operators()):
        if op.kind not in PLACES:
            continue
        operand, axis = PLACES[op.kind]
        last = 3 if op.kind == "TRANSPOSE_CONV" else 2
        bias = op.inputs[last] if len(op.inputs) > last and op.inputs[last] >= 0 else None
        if constant(model, op.inputs[1]) is not None and (bias is None or constant(model, bias) is not None):
            yield Layer(position, op.kind, (graph.tensors[op.inputs[operand]].name or b"").decode(), op.inputs[1], bias, axis)


def constant(model: TfliteFile, index: int) -> Array | None:
    """A constant float32 tensor's values."""
    from ai_edge_litert.schema_py_generated import TensorType

    tensor = model.table.subgraphs[0].tensors[index]
    data = model.table.buffers[tensor.buffer].data
    if tensor.type != TensorType.FLOAT32 or data is None or not len(data):
        return None
    return np.frombuffer(bytes(data), np.float32).reshape(tensor.shape)


def prepare(model: TfliteFile, bits: Callable[[Layer], int], clipped: bool, means: Mapping[str, Array] | None) -> None:
    """Cut weights off where that errs less (`clipped`), of layers that get fewer than 8 `bits`.

    With `means`, add to each bias what rounding the weights takes from the output's mean.
    Source of the second: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, with
    the input's expectation measured on calibration samples: E[y] - E[y'] = -ΔW · E[x]. Borders that are padded with zeros are not told apart.
    """
    for layer in list(layers(model)):
        weights = constant(model, layer.weights)
        assert weights is not None
        size = bits(layer)
        cut = clipped and size < 8
        stored = clip(weights, layer.axis, size) if cut else weights
        if cut:
            put(model, layer.weights, stored)
        mean = means.get(layer.source) if means is not None else None
        if mean is None or layer.bias is None:
            continue
        shift = response(layer.kind, rounded(stored, layer.axis, size) - weights, mean)
        bias = constant(model, layer.bias)
        if shift is not None and bias is not None and shift.shape == bias.shape:
            own_bias(model, layer, np.asarray(bias - shift, np.float32))


def response(kind: str, weights: Array, mean: Array) -> Array | None:
    """What weights give for an input that has its mean everywhere; None where the channels do not match."""
    if kind == "CONV_2D" and mean.size == weights.shape[3]:
        return np.asarray(np.einsum("ohwi,i->o", weights, mean))
    if kind == "DEPTHWISE_CONV_2D" and weights.shape[3] % mean.size == 0:
        return np.asarray(weights.sum(axis=(0, 1, 2)) * mean.repeat(weights.shape[3] // mean.size))
    if kind == "FULLY_CONNECTED" and mean.size == weights.shape[1]:
        return np.asarray(weights @ mean)
    return None


def put(model: TfliteFile, index: int, values: Array) -> None:
    """Give a tensor values of its own; whoever shared its buffer keeps the old ones."""
    from ai_edge_litert.schema_py_generated import BufferT

    buffer = BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.table.subgraphs[0].tensors[index].buffer = len(model.table.buffers)
    model.table.buffers.append(buffer)


def own_bias(model: TfliteFile, layer: Layer, values: Array) -> None:
    """Give one operator a bias that no other operator reads."""
    graph: Any = model.table.subgraphs[0]
    if sum(layer.bias in op.inputs for op in graph.operators) == 1:
        assert layer.bias is not None
        return put(model, layer.bias, values)
    tensor = copy.copy(graph.tensors[layer.bias])
    tensor.name = (tensor.name or b"") + b";bias%d" % layer.position
    graph.tensors.append(tensor)
    op = graph.operators[layer.position]
    op.inputs = [len(graph.tensors) - 1 if index == layer.bias else index for index in op.inputs]
    return put(model, len(graph.tensors) - 1, values)
