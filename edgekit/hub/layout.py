"""A hub in, which of its inputs and outputs are images with channels first out; and the hub with those in the platforms' own order, channels last."""

from __future__ import annotations

import onnx
from onnx import ModelProto, NodeProto, helper

from edgekit.hub.graph import constants, makers, readers, static_shape
from edgekit.hub.kinds import ELEMENTWISE, IMAGE_OPERATORS, UNARY
from edgekit.hub.names import rename

LAST = (0, 2, 3, 1)
FIRST = (0, 3, 1, 2)
PASSING = {*UNARY, *ELEMENTWISE, "Pad", "Concat", "Identity", "Slice"}
"""Operators that leave an image an image, in the same order of axes."""


def images(model: ModelProto) -> dict[str, list[int]]:
    """Name → the model's axes in channels-last order, of inputs and outputs of rank 4 that image operators read or give."""
    graph = model.graph
    stored, read, made = constants(graph), readers(graph), makers(graph)
    inputs = [value.name for value in graph.input if value.name not in stored and len(static_shape(value) or ()) == 4]
    outputs = [value.name for value in graph.output if len(static_shape(value) or ()) == 4]
    found = [name for name in inputs if leads_to_image(name, read)] + [name for name in outputs if comes_from_image(name, made)]
    return {name: list(LAST) for name in found}


def leads_to_image(name: str, read: dict[str, list[NodeProto]]) -> bool:
    """Whether an image operator reads a tensor, directly or after operators that keep its order."""
    pending, seen = [name], {name}
    while pending:
        for node in read.get(pending.pop(), ()):
            if node.op_type in IMAGE_OPERATORS:
                return True
            fresh = [one for one in node.output if one not in seen] if node.op_type in PASSING else []
            seen.update(fresh)
            pending += fresh
    return False


def comes_from_image(name: str, made: dict[str, NodeProto]) -> bool:
    """Whether an image operator gives a tensor, directly or before operators that keep its order."""
    pending, seen = [name], {name}
    while pending:
        node = made.get(pending.pop())
        if node is not None and node.op_type in IMAGE_OPERATORS:
            return True
        fresh = [one for one in node.input if one and one not in seen] if node is not None and node.op_type in PASSING else []
        seen.update(fresh)
        pending += fresh
    return False


def turn(model: ModelProto, names: dict[str, list[int]]) -> None:
    """Give these inputs and outputs their channels last, in place: a Transpose stands behind each such input and before each such output."""
    graph = model.graph
    inner = {name: f"{name}/channels_first" for name in names}
    given = {value.name for value in graph.input}
    rename(graph, inner)
    own = {new: old for old, new in inner.items()}
    for value in [*graph.input, *graph.output]:
        if value.name not in own:
            continue
        value.name = own[value.name]
        axes = value.type.tensor_type.shape.dim
        sizes = [axis.dim_value for axis in axes]
        before = onnx.ValueInfoProto()
        before.CopyFrom(value)
        before.name = inner[value.name]
        graph.value_info.append(before)
        for axis, source in zip(axes, names[value.name], strict=True):
            axis.dim_value = sizes[source]
        if value.name in given:
            graph.node.insert(0, helper.make_node("Transpose", [value.name], [inner[value.name]], name=f"{value.name}/order", perm=FIRST))
        else:
            graph.node.append(helper.make_node("Transpose", [inner[value.name]], [value.name], name=f"{value.name}/order", perm=LAST))
