"""Lookups, scatters and image scaling of TFLite in, ONNX's out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.toolchains.convert.from_tflite.graph import Graph, Op, Rule


def gather(graph: Graph, op: Op) -> str:
    """Along one axis."""
    if op.option("batchDims"):
        raise op.refusal("looks up within each sample of a batch (batch_dims), which is not read here")
    return graph.node("Gather", [op.inputs[0], op.inputs[1]], axis=op.option("axis") % len(op.shapes[0]))


def embedding_lookup(graph: Graph, op: Op) -> str:
    """Rows by index."""
    return graph.node("Gather", [op.inputs[1], op.inputs[0]], axis=0)


def gather_nd(graph: Graph, op: Op) -> str:
    return graph.node("GatherND", [op.inputs[0], graph.cast(op.inputs[1], np.int64)])


def scatter_nd(graph: Graph, op: Op) -> str:
    """Into zeros; what falls on the same place is added up."""
    zeros = graph.constant(np.zeros(op.shape, op.output_dtypes[0]))
    places = graph.values.get(op.inputs[0])
    apart = places is not None and len(np.unique(places.reshape(-1, places.shape[-1]), axis=0)) == places.size // places.shape[-1]
    indices = graph.constant(places, np.int64) if places is not None else graph.cast(op.inputs[0], np.int64)
    return graph.node("ScatterND", [zeros, indices, op.inputs[1]], **({} if apart else {"reduction": "add"}))


def one_hot(graph: Graph, op: Op) -> str:
    """Indices, depth, and the values for there and elsewhere."""
    indices, depth, on, off = op.inputs
    row = [0] if not op.shapes[2] else list(op.shapes[2])
    values = graph.node("Concat", [graph.reshape(off, [1] if row == [0] else row), graph.reshape(on, [1] if row == [0] else row)], axis=0)
    return graph.node("OneHot", [graph.cast(indices, np.int64), graph.cast(depth, np.int64), values], axis=op.option("axis", -1))


def reverse_sequence(graph: Graph, op: Op) -> str:
    lengths = graph.cast(op.inputs[1], np.int64)
    return graph.node("ReverseSequence", [op.inputs[0], lengths], time_axis=op.option("seqDim"), batch_axis=op.option("batchDim"))


def resize(graph: Graph, op: Op) -> str:
    """RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR, to the result's size.

    Nearest takes floor((x + 0.5) · scale) with half-pixel centres, which is round_prefer_ceil of ONNX's coordinate; with aligned corners it rounds
    halves up; else it takes the floor (TFLite reference_ops, GetNearestNeighbor).
    """
    aligned, centred = bool(op.option("alignCorners")), bool(op.option("halfPixelCenters"))
    coordinates = "align_corners" if aligned else "half_pixel" if centred else "asymmetric"
    _, height, width, channels = op.shape
    sizes = graph.constant([op.shape[0], channels, height, width], np.int64, "sizes")
    attributes: dict[str, str] = {"mode": "linear", "coordinate_transformation_mode": coordinates}
    if op.kind == "RESIZE_NEAREST_NEIGHBOR":
        attributes |= {"mode": "nearest", "nearest_mode": "round_prefer_ceil" if aligned or centred else "floor"}
    return graph.channels_last(graph.node("Resize", [graph.channels_first(op.inputs[0]), "", "", sizes], **attributes))


RULES: Mapping[str, Rule] = {
    "GATHER": gather,
    "EMBEDDING_LOOKUP": embedding_lookup,
    "GATHER_ND": gather_nd,
    "SCATTER_ND": scatter_nd,
    "ONE_HOT": one_hot,
    "REVERSE_SEQUENCE": reverse_sequence,
    "RESIZE_BILINEAR": resize,
    "RESIZE_NEAREST_NEIGHBOR": resize,
}
