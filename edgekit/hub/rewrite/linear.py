"""A hub in, its matrix products in one form out: a stored matrix is a Gemm's, with weights [out, in] and the bias in it."""

from __future__ import annotations

import math

import numpy as np
from onnx import ModelProto, numpy_helper

from edgekit.hub.graph import array, attribute, constants, output_names, readers, set_attribute, static_shapes
from edgekit.hub.rewrite.edit import drop, only_reader


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
