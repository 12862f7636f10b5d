"""Recurrent layers that read a reversed sequence in, layers of direction `reverse` out; and reversals that undo each other gone.

TensorFlow runs a layer backwards by turning its input round, running forwards, and turning the result round again.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekit.hub.graph import array, attribute, constants, makers, output_names, readers, set_attribute, static_shapes

LAYERS = ("GRU", "LSTM", "RNN")


def reverse_layers(model: ModelProto) -> bool:
    """Apply all rules once. Whether anything changed. Needs inferred shapes, and order."""
    changed = [reversals_to_gather(model), through_layers(model), cancel(model)]
    return any(changed)


def reversals_to_gather(model: ModelProto) -> bool:
    """ReverseSequence of whole sequences → Gather of all places from the last to the first, which every format has."""
    graph, changed = model.graph, False
    stored, shapes = constants(graph), static_shapes(graph)
    for node in graph.node:
        if node.op_type != "ReverseSequence" or node.input[1] not in stored or node.input[0] not in shapes:
            continue
        axis, batch = attribute(node, "time_axis", 0), attribute(node, "batch_axis", 1)
        size = shapes[node.input[0]][axis]
        if not (array(stored[node.input[1]]) == size).all() or batch == axis:
            continue
        node.op_type = "Gather"
        node.input[1] = places(model, stored, size)
        del node.attribute[:]
        set_attribute(node, "axis", axis)
        changed = True
    return changed


def places(model: ModelProto, stored: dict[str, TensorProto], size: int) -> str:
    """The stored indices size-1 … 0."""
    name = f"edgekit/reversed{size}"
    if name not in stored:
        stored[name] = numpy_helper.from_array(np.arange(size, dtype=np.int64)[::-1].copy(), name)
        model.graph.initializer.append(stored[name])
    return name


def reversed_axis(node: NodeProto | None, stored: dict[str, TensorProto], shapes: dict[str, list[int]]) -> int | None:
    """The axis that a Gather turns round, else None."""
    if node is None or node.op_type != "Gather" or node.input[1] not in stored or node.input[0] not in shapes:
        return None
    rank = len(shapes[node.input[0]])
    axis = attribute(node, "axis", 0) % max(rank, 1)
    if axis >= rank or stored[node.input[1]].dims != shapes[node.input[0]][axis : axis + 1]:
        return None
    indices = array(stored[node.input[1]])
    turned = np.array_equal(indices, np.arange(shapes[node.input[0]][axis])[::-1])
    return axis if turned and indices.size > 1 else None


def through_layers(model: ModelProto) -> bool:
    """A layer that runs forwards over a reversed sequence → one that runs in reverse, its steps turned round behind it."""
    graph, added = model.graph, []
    stored, shapes, made = constants(graph), static_shapes(graph), makers(graph)
    for node in graph.node:
        if node.op_type not in LAYERS or attribute(node, "direction", b"forward") != b"forward" or (len(node.input) > 4 and node.input[4]):
            continue
        before = made.get(node.input[0])
        if before is None or reversed_axis(before, stored, shapes) != 0 or attribute(node, "layout", 0):
            continue
        node.input[0] = before.input[0]
        set_attribute(node, "direction", "reverse")
        if node.output[0]:
            steps = node.output[0]
            node.output[0] = f"{steps}/last_to_first"
            size = shapes[before.output[0]][0]
            added.append(helper.make_node("Gather", [node.output[0], places(model, stored, size)], [steps], axis=0))
    for node in added:
        graph.node.append(node)
    return bool(added)


def cancel(model: ModelProto) -> bool:
    """A reversal, then nodes that only move axes, then the reversal of the same axis → those nodes alone."""
    graph = model.graph
    stored, shapes, made, read = constants(graph), static_shapes(graph), makers(graph), readers(graph)
    outputs = set(output_names(graph))
    for node in graph.node:
        axis = reversed_axis(node, stored, shapes)
        if axis is None:
            continue
        follower, name = node, node.input[0]
        while axis is not None and name in made and name not in outputs and len(read.get(name, [])) == 1:
            before = made[name]
            if not before.input:
                break
            if reversed_axis(before, stored, shapes) == axis:
                if follower is node:
                    node.op_type, node.input[:] = "Identity", [before.input[0]]
                else:
                    follower.input[0] = before.input[0]
                    node.op_type, node.input[:] = "Identity", [node.input[0]]
                del node.attribute[:]
                return True  # one at a time: what is known of the graph is old now
            axis = axis_before(before, axis, shapes)
            follower, name = before, before.input[0]
    return False


def axis_before(node: NodeProto, axis: int, shapes: dict[str, list[int]]) -> int | None:
    """Which axis of a node's input its result's axis was; None where it is not one axis, or the node does more than move axes."""
    if node.op_type == "Transpose":
        order = attribute(node, "perm")
        return order[axis] if order else None
    if node.op_type not in ("Reshape", "Squeeze", "Unsqueeze", "Identity") or node.input[0] not in shapes or node.output[0] not in shapes:
        return None
    given, found = shapes[node.input[0]], shapes[node.output[0]]
    # The axis stays one axis where as many elements come before it, and it has the same size.
    for position, size in enumerate(given):
        if size == found[axis] and size > 1 and math.prod(given[:position]) == math.prod(found[:axis]):
            return position
    return None
