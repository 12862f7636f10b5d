"""A hub in, the same hub in its normal form out: the forms that every writer turns into its best operators.

Each rule says the same computation in other words: a constant MatMul of rank 2 is a Gemm with weights [out, in]; a mean over
all of an image is a GlobalAveragePool; taking an image apart into a row is a Flatten; automatic padding is explicit.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekit.hub.graph import array, attribute, constants, makers, output_names, readers, set_attribute, static_shapes


def rewrite(model: ModelProto) -> bool:
    """Apply all rules. Whether anything changed."""
    rules = (explicit_padding, mean_through_transpose, mean_to_global_pool, matmul_to_gemm, add_into_gemm, reshape_to_flatten)
    changed = [rule(model) for rule in rules]  # all of them: any() over a generator would stop at the first
    return any(changed)


def matmul_to_gemm(model: ModelProto) -> bool:
    """MatMul of a matrix by a stored matrix, and any Gemm of stored weights, → Gemm with weights [out, in] and alpha = beta = 1."""
    graph = model.graph
    stored, shapes = constants(graph), static_shapes(graph)
    changed = False
    for node in graph.node:
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in stored:
            continue
        plain = all(attribute(node, name, 1.0) == 1.0 for name in ("alpha", "beta")) and not attribute(node, "transA", 0)
        weights = stored[node.input[1]]
        if len(weights.dims) != 2 or len(shapes.get(node.input[0], ())) != 2 or not plain or attribute(node, "transB", 0):
            continue
        name = f"{node.input[1]}/transposed"
        if name not in stored:
            turned = numpy_helper.from_array(np.ascontiguousarray(array(weights).T), name)
            graph.initializer.append(turned)
            stored[name] = turned
        node.op_type = "Gemm"
        node.input[1] = name
        del node.attribute[:]
        set_attribute(node, "transB", 1)
        changed = True
    return changed


def add_into_gemm(model: ModelProto) -> bool:
    """Gemm without bias, then Add of a stored row → Gemm with bias."""
    graph = model.graph
    stored, shapes, read, outputs = constants(graph), static_shapes(graph), readers(graph), set(output_names(graph))
    gone = []
    for node in graph.node:
        follower = only_reader(node, read, outputs) if node.op_type == "Gemm" and len(node.input) == 2 else None
        if follower is None or follower.op_type != "Add":
            continue
        bias = next((name for name in follower.input if name in stored), None)
        width = shapes[node.output[0]][-1]
        if bias is None or math.prod(stored[bias].dims) != width or list(stored[bias].dims)[-1:] != [width]:
            continue
        if len(stored[bias].dims) > 2:
            continue
        if len(stored[bias].dims) == 2:
            row = numpy_helper.from_array(array(stored[bias]).reshape(width), f"{bias}/row")
            graph.initializer.append(row)
            bias = row.name
        node.input.append(bias)
        node.output[0] = follower.output[0]
        gone.append(follower)
    drop(model, gone)
    return bool(gone)


def only_reader(node: NodeProto, read: dict[str, list[NodeProto]], outputs: set[str]) -> NodeProto | None:
    """The one node that reads a node's first result, if it is no output of the graph."""
    found = read.get(node.output[0], [])
    return found[0] if len(found) == 1 and node.output[0] not in outputs else None


def drop(model: ModelProto, nodes: list[NodeProto]) -> None:
    """Remove nodes, which are the graph's own objects."""
    gone = {id(node) for node in nodes}
    for index in reversed(range(len(model.graph.node))):
        if id(model.graph.node[index]) in gone:
            del model.graph.node[index]


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
