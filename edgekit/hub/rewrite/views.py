"""A hub in, each chain of Reshape, Squeeze, Unsqueeze and Flatten as one Reshape out; what changes no shape is gone."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, numpy_helper

from edgekit.hub.graph import makers, static_shapes
from edgekit.hub.rewrite.edit import bypass, drop_unread

VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")


def merge_views(model: ModelProto) -> bool:
    """View of a view → one Reshape of the first one's input, and a view to the shape that is there already → nothing."""
    graph = model.graph
    shapes, made = static_shapes(graph), makers(graph)
    changed = False
    for node in list(graph.node):
        if node.op_type not in VIEWS:
            continue
        source = node.input[0]
        while source in made and made[source].op_type in VIEWS:
            source = made[source].input[0]
        before, after = shapes.get(source), shapes.get(node.output[0])
        if before is None or after is None or 0 in after:
            continue
        if before == after and bypass(model, node, source):
            made, changed = makers(graph), True
        elif source != node.input[0]:
            name = f"{node.output[0]}/shape"
            graph.initializer.append(numpy_helper.from_array(np.array(after, np.int64), name))
            node.op_type = "Reshape"
            node.input[:] = [source, name]
            del node.attribute[:]
            changed = True
    if changed:
        drop_unread(model, VIEWS)
    return changed
