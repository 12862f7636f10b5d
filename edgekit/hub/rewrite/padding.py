"""A hub in, the padding of its convolutions and pools as numbers out."""

from __future__ import annotations

import math

from onnx import ModelProto

from edgekit.hub.graph import attribute, set_attribute, static_shapes


def explicit_padding(model: ModelProto) -> bool:
    """`auto_pad` of Conv and pools → `pads` (ONNX operators, Conv: SAME_UPPER puts the odd pixel at the end)."""
    graph = model.graph
    shapes = static_shapes(graph)
    changed = False
    for node in graph.node:
        mode = attribute(node, "auto_pad", b"NOTSET").decode() if node.op_type in ("Conv", "MaxPool", "AveragePool") else "NOTSET"
        if mode == "NOTSET":
            continue
        size, rank = shapes[node.input[0]][2:], len(shapes[node.input[0]]) - 2
        kernel = attribute(node, "kernel_shape") or shapes[node.input[1]][2:]
        strides, dilations = attribute(node, "strides") or [1] * rank, attribute(node, "dilations") or [1] * rank
        begin, end = [0] * rank, [0] * rank
        if mode.startswith("SAME"):
            for axis in range(rank):
                reach = (kernel[axis] - 1) * dilations[axis] + 1
                total = max((math.ceil(size[axis] / strides[axis]) - 1) * strides[axis] + reach - size[axis], 0)
                small, large = total // 2, total - total // 2
                begin[axis], end[axis] = (small, large) if mode == "SAME_UPPER" else (large, small)
        set_attribute(node, "auto_pad", None)
        set_attribute(node, "pads", begin + end)
        changed = True
    return changed
