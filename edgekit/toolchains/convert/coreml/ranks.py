"""A hub in; the same hub with transposed tensors of more than 5 axes, which Core ML does not have, in fewer axes out.

Windows of an image, pixel shuffles and heads of attention are Reshape, Transpose, Reshape; what lies between has six axes or more. Axes of
size 1 say nothing, and neighbours that stay neighbours are one axis: without them the same elements move in fewer axes.
"""

from __future__ import annotations

import itertools

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from edgekit.hub.graph import attribute, makers, output_names, readers, set_attribute, static_shapes

MOST = 5


def fewer_axes(model: ModelProto) -> None:
    """Rewrite each Reshape, Transpose, Reshape through more than 5 axes, in place."""
    graph = model.graph
    shapes, made, read, outputs = static_shapes(graph), makers(graph), readers(graph), set(output_names(graph))
    for node in graph.node:
        if node.op_type != "Transpose" or len(shapes.get(node.input[0], [])) <= MOST:
            continue
        before, after = made.get(node.input[0]), read.get(node.output[0], [])
        alone = node.output[0] not in outputs and len(read.get(node.input[0], [])) == 1 and node.input[0] not in outputs
        if not alone or before is None or not reshapes(before) or len(after) != 1 or not reshapes(after[0]):
            continue
        shape = shapes[node.input[0]]
        order = list(attribute(node, "perm") or range(len(shape))[::-1])
        sizes, order = merged(shape, order)
        if len(sizes) > MOST:
            continue
        name = f"{node.input[0]}/fewer"
        graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), name))
        to_reshape(before, name)
        set_attribute(node, "perm", order)
        last = f"{after[0].output[0]}/shape"
        graph.initializer.append(numpy_helper.from_array(np.array(shapes[after[0].output[0]], np.int64), last))
        to_reshape(after[0], last)
        note(model, node.input[0], sizes)
        note(model, node.output[0], [sizes[i] for i in order])


def reshapes(node: NodeProto) -> bool:
    return node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def to_reshape(node: NodeProto, shape: str) -> None:
    """Make a node a Reshape to a stored shape."""
    node.op_type = "Reshape"
    del node.attribute[:]
    node.input[:] = [node.input[0], shape]


def merged(shape: list[int], order: list[int]) -> tuple[list[int], list[int]]:
    """Sizes and order of a transposition without axes of 1 and with neighbours that stay neighbours as one."""
    order = [axis for axis in order if shape[axis] != 1]
    groups: list[list[int]] = []
    kept = sorted(order)
    following = dict(itertools.pairwise(kept))
    for axis in order:
        if groups and following.get(groups[-1][-1]) == axis:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    places = sorted(range(len(groups)), key=lambda i: groups[i][0])
    sizes = [int(np.prod([shape[axis] for axis in groups[i]])) for i in places]
    return sizes or [1], [places.index(i) for i in range(len(groups))] or [0]


def note(model: ModelProto, name: str, sizes: list[int]) -> None:
    """Give a tensor of the graph another shape."""
    for value in model.graph.value_info:
        if value.name == name:
            del value.type.tensor_type.shape.dim[:]
            for size in sizes:
                value.type.tensor_type.shape.dim.add().dim_value = size
