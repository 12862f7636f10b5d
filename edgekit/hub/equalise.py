"""A hub in, the same function with weights of neighbouring layers equalised out: channels of a like range lose less in integers.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", sections 4.1 and 4.2: what is
positively homogeneous lets a factor through, so W2 f(W1 x + b1) = (W2 S) f(S⁻¹ W1 x + S⁻¹ b1) for any positive diagonal S.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from edgekit.hub.graph import array, attribute, constants, output_names, readers, static_shapes

Array = np.ndarray[Any, Any]

HOMOGENEOUS = ("Relu", "LeakyRelu", "PRelu", "Identity", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Flatten", "Pad")
"""Operators with f(s · x) = s · f(x) for s > 0, channel by channel. A Clip, such as ReLU6, is none: its bound would have to move."""

ROUNDS = 20
"""Neighbouring pairs share a layer, so all are equalised again until nothing moves; it took 4 to 12 rounds on the networks tried."""
SETTLED = 0.02
"""A factor this close to 1 changes no integer worth the name."""
LARGEST = 1e4
"""No factor goes beyond it: a dead channel's weights would vanish into rounding."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two layers with nothing but homogeneous operators between them, which nobody else reads."""

    first: NodeProto
    second: NodeProto
    channels: int


def equalise(model: ModelProto) -> int:
    """Equalise in place. The number of pairs whose weights moved; 0 leaves the model as it was."""
    found = pairs(model)
    if not found:
        return 0
    weights = Weights(model)
    moved: set[int] = set()
    for _ in range(ROUNDS):
        settled = True
        for index, pair in enumerate(found):
            first, second = output_view(pair.first, weights.of(pair.first)), input_view(pair, weights.of(pair.second))
            r1, r2 = (np.abs(view).max(axis=tuple(range(1, view.ndim))) for view in (first, second))
            usable = (r1 > 0) & (r2 > 0)
            factor = np.clip(np.sqrt(np.where(usable, r1, 1) / np.where(usable, r2, 1)), 1 / LARGEST, LARGEST)
            if np.abs(np.log(factor)).max() > SETTLED:
                settled = False
                moved.add(index)
                scale(pair, weights, factor)
        if settled:
            break
    if moved:
        weights.store()
    return len(moved)


class Weights:
    """Weights and biases of layers by node, as float64 until they are stored again."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.stored = constants(model.graph)
        self.values: dict[str, tuple[NodeProto, Array, Array | None]] = {}

    def of(self, node: NodeProto) -> Array:
        return self.entry(node)[1]

    def entry(self, node: NodeProto) -> tuple[NodeProto, Array, Array | None]:
        key = node.output[0]
        if key not in self.values:
            bias = array(self.stored[node.input[2]]).astype(np.float64) if has_bias(node) else None
            self.values[key] = (node, array(self.stored[node.input[1]]).astype(np.float64), bias)
        return self.values[key]

    def store(self) -> None:
        """Under names of their own: what was shared with another node stays as it is for that one."""
        graph = self.model.graph
        for index, (node, weights, bias) in enumerate(self.values.values()):
            for place, values in ((1, weights), (2, bias)):
                if values is not None:
                    name = f"{node.input[place]}/equalised{index}"
                    graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
                    node.input[place] = name
        read = readers(graph)
        kept = [tensor for tensor in graph.initializer if tensor.name in read or tensor.name in output_names(graph)]
        del graph.initializer[:]
        graph.initializer.extend(kept)


def has_bias(node: NodeProto) -> bool:
    return len(node.input) > 2 and bool(node.input[2])


def pairs(model: ModelProto) -> list[Pair]:
    """All pairs, in the order of the graph."""
    graph = model.graph
    stored, shapes, read, outputs = constants(graph), static_shapes(graph), readers(graph), set(output_names(graph))
    found = []
    for node in graph.node:
        if not layer(node, stored) or (node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1):
            continue
        channels = (shapes.get(node.output[0]) or [0, 0])[1]
        name = node.output[0]
        while name not in outputs and len(read.get(name, [])) == 1:
            follower = read[name][0]
            if layer(follower, stored) and follower.op_type != "ConvTranspose" and follower.input[0] == name:
                if channels and fits(follower, channels, array(stored[follower.input[1]])):
                    found.append(Pair(node, follower, channels))
                break
            if not homogeneous(follower, name, stored):
                break
            name = follower.output[0]
    return found


def layer(node: NodeProto, stored: dict[str, Any]) -> bool:
    """Whether a node is a convolution or a Gemm with stored weights and, if it has one, a stored bias."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm") or node.input[1] not in stored or (has_bias(node) and node.input[2] not in stored):
        return False
    return node.op_type != "Gemm" or (not attribute(node, "transA", 0) and attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0)


def homogeneous(node: NodeProto, name: str, stored: dict[str, Any]) -> bool:
    """Whether a node lets a factor for each channel (axis 1) through."""
    if node.op_type not in HOMOGENEOUS or node.input[0] != name or len(node.output) != 1:
        return False
    if node.op_type == "Flatten":
        return bool(attribute(node, "axis", 1) == 1)
    if node.op_type == "Pad":
        value = array(stored[node.input[2]]) if len(node.input) > 2 and node.input[2] in stored else None
        unpadded = node.input[1] in stored and not array(stored[node.input[1]]).reshape(2, -1)[:, :2].any()
        zero = len(node.input) < 3 or not node.input[2] or (value is not None and not value.any())
        return unpadded and zero and attribute(node, "mode", b"constant") == b"constant"
    return True


def fits(node: NodeProto, channels: int, weights: Array) -> bool:
    """Whether the second layer's inputs are whole channels."""
    if node.op_type == "Conv":
        return int(weights.shape[1] * attribute(node, "group", 1)) == channels
    return bool(weights.shape[1 if attribute(node, "transB", 0) else 0] % channels == 0)


def output_view(node: NodeProto, weights: Array) -> Array:
    """Weights with the output channel as the first axis: a view."""
    axis = 1 if node.op_type == "ConvTranspose" or (node.op_type == "Gemm" and not attribute(node, "transB", 0)) else 0
    return np.moveaxis(weights, axis, 0)


def input_view(pair: Pair, weights: Array) -> Array:
    """Weights with the input channel as the first axis: a view."""
    if pair.second.op_type == "Gemm":
        matrix = weights if attribute(pair.second, "transB", 0) else weights.T  # [outputs, inputs]
        return np.moveaxis(matrix.reshape(matrix.shape[0], pair.channels, -1), 1, 0)
    groups = int(attribute(pair.second, "group", 1))
    split = weights.reshape(groups, weights.shape[0] // groups, *weights.shape[1:])  # [group, outputs, inputs, ...]
    return np.moveaxis(split, 2, 1).reshape(pair.channels, weights.shape[0] // groups, *weights.shape[2:])


def scale(pair: Pair, weights: Weights, factor: Array) -> None:
    """Divide what the first layer gives and multiply what the second takes, channel by channel."""
    _, first, bias = weights.entry(pair.first)
    view = output_view(pair.first, first)
    view /= factor.reshape(-1, *[1] * (view.ndim - 1))
    if bias is not None:
        node = pair.first
        weights.values[node.output[0]] = (node, first, bias / factor)
    node, second, second_bias = weights.entry(pair.second)
    if node.op_type == "Gemm":
        across = bool(attribute(node, "transB", 0))
        each = factor.repeat(second.shape[1 if across else 0] // pair.channels)
        made = second * (each[None, :] if across else each[:, None])
    else:
        groups = int(attribute(node, "group", 1))
        spread = factor.reshape(groups, 1, -1).repeat(second.shape[0] // groups, axis=1).reshape(second.shape[0], -1)
        made = second * spread.reshape(*spread.shape, *[1] * (second.ndim - 2))
    weights.values[node.output[0]] = (node, made, second_bias)
