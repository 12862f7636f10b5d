"""A layer and the weights of the smaller ones in, the nodes that take its place out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from edgekit.compress.budget import Point
from edgekit.compress.layers import Layer
from edgekit.hub.graph import attribute, title

Array = np.ndarray[Any, Any]

PARTS = {2: ("u", "v"), 3: ("u", "core", "v")}
"""What is put behind the names of a node, of its weights and of its output, for each of the layers that take its place, in the order they run."""


def nodes_of(layer: Layer, point: Point, names: Sequence[str], weights: Sequence[Array]) -> list[NodeProto]:
    """Nodes that read what the layer read and give what it gave; its bias goes to the last."""
    node, parts = layer.node, PARTS[len(names)]
    between = [f"{node.output[0]}.{part}" for part in parts[:-1]]
    bias = [name for name in node.input[2:] if name]
    made = []
    for place, (name, given, gives) in enumerate(zip(names, [node.input[0], *between], [*between, node.output[0]], strict=True)):
        kind, settings = settings_of(layer, point, place, weights[place].shape)
        inputs = [given, name, *(bias if gives == node.output[0] else [])]
        made.append(helper.make_node(kind, inputs, [gives], f"{title(node)}.{parts[place]}", **settings))
    return made


def settings_of(layer: Layer, point: Point, place: int, shape: Sequence[int]) -> tuple[str, dict[str, Any]]:
    """Operator and attributes of one of the smaller layers."""
    own = {one.name: helper.get_attribute_value(one) for one in layer.node.attribute}
    if layer.kind == "MatMul":
        return "MatMul", {}
    if layer.kind == "Gemm":
        mine = ("transA", "transB", "alpha") if place == 0 else ("transB", "beta")
        return "Gemm", {name: value for name, value in own.items() if name in mine}
    kernel = {"kernel_shape": list(shape[2:])}
    if point.way == "spatial":
        return "Conv", {**kernel, **along(layer, place)}
    if place == {"channels": 0 if layer.kind == "Conv" else 1, "tucker": 1}[point.way]:
        return layer.kind, {**own, **kernel}
    return "Conv", kernel


def along(layer: Layer, axis: int) -> dict[str, Any]:
    """The attributes of a convolution in two dimensions along one of them."""
    top, left, bottom, right = attribute(layer.node, "pads") or [0] * 4
    strides, dilations = attribute(layer.node, "strides") or [1, 1], attribute(layer.node, "dilations") or [1, 1]
    return {
        "pads": [top, 0, bottom, 0] if axis == 0 else [0, left, 0, right],
        "strides": [strides[0], 1] if axis == 0 else [1, strides[1]],
        "dilations": [dilations[0], 1] if axis == 0 else [1, dilations[1]],
    }
