"""A hub in, the same with fewer transposes out: each is pushed towards the outputs until it meets its inverse, or another of its kind.

A Reshape that moves only axes of one element is a transpose too, so that the two merge. No rule makes more transposes than it takes.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper

from edgekit.hub.graph import attribute, constants, makers, output_names, readers, set_attribute, static_shapes
from edgekit.hub.rewrite.edit import bypass, drop_unread
from edgekit.hub.rewrite.through import through
from edgekit.hub.rewrite.views import VIEWS

Permutation = list[int]


def merge_permutations(model: ModelProto) -> bool:
    """Transpose of a transpose, or of a view that is one, → one Transpose, or nothing."""
    graph = model.graph
    made, shapes = makers(graph), static_shapes(graph)
    changed = False
    for node in list(graph.node):
        perm = permutation(node, shapes)
        if perm and node.op_type == "Transpose" and perm == sorted(perm) and bypass(model, node, node.input[0]):
            made, changed = makers(graph), True
            continue
        before = made.get(node.input[0]) if perm else None
        first = permutation(before, shapes) if before is not None else None
        if perm is None or before is None or first is None or "Transpose" not in (node.op_type, before.op_type):
            continue
        both = [first[axis] for axis in perm]  # axis of the first one's input, for each axis of the second's output
        if both == sorted(both) and bypass(model, node, before.input[0]):
            made = makers(graph)
        else:
            node.op_type = "Transpose"
            node.input[:] = [before.input[0]]
            del node.attribute[:]
            set_attribute(node, "perm", both)
        changed = True
    if changed:
        drop_unread(model, ("Transpose", *VIEWS))
    return changed


def permutation(node: NodeProto, shapes: dict[str, list[int]]) -> Permutation | None:
    """The order in which a node takes its input's axes: a Transpose's, or that of a view which moves axes of one element only; else None."""
    if node.op_type == "Transpose" and node.input[0] in shapes:
        return list(attribute(node, "perm") or reversed(range(len(shapes[node.input[0]]))))
    if node.op_type not in VIEWS or not {node.input[0], node.output[0]} <= shapes.keys():
        return None
    before, after = shapes[node.input[0]], shapes[node.output[0]]
    long = [axis for axis, size in enumerate(before) if size != 1]
    if len(before) != len(after) or [before[axis] for axis in long] != [size for size in after if size != 1]:
        return None
    short = iter(axis for axis, size in enumerate(before) if size == 1)
    rest = iter(long)
    return [next(short) if size == 1 else next(rest) for size in after]


def sink_transposes(model: ModelProto) -> bool:
    """Operator of transposed tensors → transposed operator: elementwise ones, Concat, Pad, Slice, Softmax and reductions."""
    graph = model.graph
    shapes, made, read = static_shapes(graph), makers(graph), readers(graph)
    stored, outputs, dtypes = constants(graph), set(output_names(graph)), {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    dtypes |= {value.name: value.type.tensor_type.elem_type for value in graph.output}
    changed = False
    for node in list(graph.node):
        turned = {name: made[name] for name in node.input if name in made and made[name].op_type == "Transpose"}
        if not turned or len(node.output) != 1 or not {node.output[0], *turned} <= shapes.keys() or node.output[0] not in dtypes:
            continue
        perms = [permutation(one, shapes) for one in turned.values()]
        alone = all(read[name] == [node] and name not in outputs for name in turned)
        moved = through(node, perms[0], stored, turned) if perms[0] and alone and perms.count(perms[0]) == len(perms) else None
        if moved is None:
            continue
        graph.initializer.extend(moved.stored)
        stored.update({tensor.name: tensor for tensor in moved.stored})
        result, inner = node.output[0], f"{node.output[0]}/{node.op_type}"
        node.input[:] = [turned[name].input[0] if name in turned else name for name in moved.inputs]
        node.output[0] = inner
        for name, value in moved.attributes.items():
            set_attribute(node, name, value)
        back = np.argsort(moved.perm)
        shapes[inner], dtypes[inner] = [shapes[result][axis] for axis in back], dtypes[result]
        graph.value_info.append(helper.make_tensor_value_info(inner, dtypes[inner], shapes[inner]))
        graph.node.append(helper.make_node("Transpose", [inner], [result], perm=moved.perm))
        made[result], made[inner], read[inner] = graph.node[-1], node, [graph.node[-1]]
        for one in turned.values():
            read[one.input[0]] = [node if reader is one else reader for reader in read[one.input[0]]]
        changed = True
    if changed:
        drop_unread(model, ("Transpose",))
    return changed
