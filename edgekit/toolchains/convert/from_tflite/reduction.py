"""Sums, means, extremes, normalisations and searches along axes of TFLite in, ONNX's out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.toolchains.convert.from_tflite.graph import Graph, Op, Rule

REDUCTIONS = {"MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin", "REDUCE_PROD": "ReduceProd"}


def axes_of(graph: Graph, op: Op, position: int = 1) -> list[int]:
    """Constant axes, none of them negative."""
    rank = len(op.shapes[0])
    return sorted({int(axis) % rank for axis in np.atleast_1d(graph.known(op, position, "axes"))}) if rank else []


def reduce(graph: Graph, op: Op) -> str:
    """Over constant axes. A mean over an image's pixels is taken with channels first."""
    axes, keep = axes_of(graph, op), int(bool(op.option("keepDims")))
    pixels = axes == [1, 2] and op.inputs[0] in graph.first
    given = graph.first[op.inputs[0]] if pixels else op.inputs[0]
    chosen = graph.constant([2, 3] if pixels else axes, np.int64, "axes")
    if op.kind in REDUCTIONS:
        found = graph.node(REDUCTIONS[op.kind], [given, chosen], keepdims=keep)
    else:  # of booleans
        extreme = "ReduceMax" if op.kind == "REDUCE_ANY" else "ReduceMin"
        found = graph.cast(graph.node(extreme, [graph.cast(given, np.int32), chosen], keepdims=keep), np.bool_)
    return graph.channels_last(found) if pixels and keep else found


def softmax(graph: Graph, op: Op) -> str:
    """Along the last axis; `beta` scales first."""
    beta = float(op.option("beta", 1.0))
    given = op.inputs[0] if op.kind == "LOG_SOFTMAX" or beta == 1 else graph.node("Mul", [op.inputs[0], graph.constant(beta, np.float32)])
    return graph.node("Softmax" if op.kind == "SOFTMAX" else "LogSoftmax", [given], axis=-1)


def l2_normalization(graph: Graph, op: Op) -> str:
    """x / max(‖x‖, 1e-6) along the last axis (TFLite reference_ops, L2Normalization)."""
    axes = graph.constant([-1], np.int64, "axes")
    squares = graph.node("ReduceSum", [graph.node("Mul", [op.inputs[0], op.inputs[0]]), axes], keepdims=1)
    norm = graph.node("Max", [graph.node("Sqrt", [squares]), graph.constant(1e-6, np.float32)])
    return graph.fused(graph.node("Div", [op.inputs[0], norm]), op)


def local_response_normalization(graph: Graph, op: Op) -> str:
    """Over `radius` channels each way; ONNX divides alpha by the count of channels, TFLite does not."""
    size = 2 * op.option("radius") + 1
    attributes = {"alpha": float(op.option("alpha")) * size, "beta": float(op.option("beta")), "bias": float(op.option("bias")), "size": size}
    return graph.channels_last(graph.node("LRN", [graph.channels_first(op.inputs[0])], **attributes))


def arg(graph: Graph, op: Op) -> str:
    """ARG_MAX and ARG_MIN: the first of equals."""
    (axis,) = axes_of(graph, op)
    found = graph.node("ArgMax" if op.kind == "ARG_MAX" else "ArgMin", [op.inputs[0]], axis=axis, keepdims=0)
    return found if op.output_dtypes[0] == np.int64 else graph.cast(found, op.output_dtypes[0])


def top_k(graph: Graph, op: Op) -> list[str]:
    """Along the last axis, the largest first."""
    count = graph.constant([int(graph.known(op, 1, "count"))], np.int64)
    values, places = graph.node_of("TopK", [op.inputs[0], count], 2, axis=-1)
    return [values, places if op.output_dtypes[1] == np.int64 else graph.cast(places, op.output_dtypes[1])]


def cumsum(graph: Graph, op: Op) -> str:
    axis = graph.constant(int(graph.known(op, 1, "axis")), np.int64)
    return graph.node("CumSum", [op.inputs[0], axis], exclusive=int(bool(op.option("exclusive"))), reverse=int(bool(op.option("reverse"))))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys((*REDUCTIONS, "REDUCE_ANY", "REDUCE_ALL"), reduce),
    "SOFTMAX": softmax,
    "LOG_SOFTMAX": softmax,
    "L2_NORMALIZATION": l2_normalization,
    "LOCAL_RESPONSE_NORMALIZATION": local_response_normalization,
    "ARG_MAX": arg,
    "ARG_MIN": arg,
    "TOPK_V2": top_k,
    "CUMSUM": cumsum,
}
