"""A hub in, its means over images as pools and its images taken apart into rows as Flatten out."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekit.hub.graph import array, attribute, constants, makers, set_attribute, static_shapes


def mean_through_transpose(model: ModelProto) -> bool:
    """Transpose, then ReduceMean that drops its axes and leaves the others in their order → ReduceMean of what was transposed."""
    graph = model.graph
    stored, made, shapes = constants(graph), makers(graph), static_shapes(graph)
    changed = False
    for node in graph.node:
        before = made.get(node.input[0]) if node.op_type == "ReduceMean" and not attribute(node, "keepdims", 1) else None
        if before is None or before.op_type != "Transpose" or before.input[0] not in shapes:
            continue
        axes = mean_axes(node, stored) or []
        order = attribute(before, "perm")
        dropped = {axis % len(order) for axis in axes} if order else set()
        left = [axis for position, axis in enumerate(order or []) if position not in dropped]
        if not order or not dropped or left != sorted(left):
            continue
        name = f"{node.output[0]}/axes"
        graph.initializer.append(numpy_helper.from_array(np.array(sorted(order[axis] for axis in dropped), np.int64), name))
        node.input[:] = [before.input[0], name]
        set_attribute(node, "axes", None)
        changed = True
    return changed


def mean_axes(node: NodeProto, stored: dict[str, TensorProto]) -> list[int] | None:
    """The axes of a ReduceMean, from its attribute or its stored second input, or None."""
    if len(node.input) > 1 and node.input[1] in stored:
        return [int(axis) for axis in array(stored[node.input[1]])]
    found = attribute(node, "axes")
    return None if found is None else list(found)


def mean_to_global_pool(model: ModelProto) -> bool:
    """ReduceMean over all but the first two axes of an image → GlobalAveragePool, then Flatten where the axes are dropped."""
    graph = model.graph
    stored, shapes = constants(graph), static_shapes(graph)
    added = []
    for node in graph.node:
        shape = shapes.get(node.input[0], []) if node.op_type == "ReduceMean" else []
        if len(shape) != 4:
            continue
        axes = mean_axes(node, stored)
        if axes is None or sorted(axis % len(shape) for axis in axes) != list(range(2, len(shape))):
            continue
        keep = attribute(node, "keepdims", 1)
        node.op_type = "GlobalAveragePool"
        del node.attribute[:]
        del node.input[1:]
        if not keep:
            pooled = f"{node.output[0]}/pooled"
            added.append(helper.make_node("Flatten", [pooled], [node.output[0]], axis=1))
            node.output[0] = pooled
    graph.node.extend(added)
    return bool(added)


def reshape_to_flatten(model: ModelProto) -> bool:
    """Reshape or Squeeze of an image into one row per sample → Flatten."""
    graph = model.graph
    shapes = static_shapes(graph)
    changed = False
    for node in graph.node:
        if node.op_type not in ("Reshape", "Squeeze"):
            continue
        before, after = shapes.get(node.input[0], []), shapes.get(node.output[0], [])
        if len(before) == 4 and len(after) == 2 and before[0] == after[0]:
            node.op_type = "Flatten"
            del node.input[1:]
            del node.attribute[:]
            set_attribute(node, "axis", 1)
            changed = True
    return changed
