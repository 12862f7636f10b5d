"""A Resize in, a Gather or a product with a stored matrix for each axis out: all modes of Resize-19 are linear in each axis.

What one axis does is asked of ONNX's reference implementation, on the rows of a unit matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper
from onnx.reference import ReferenceEvaluator

from edgekit.hub.graph import attribute
from edgekit.hub.lower import Array, Lowering

ATTRIBUTES = ("antialias", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside", "extrapolation_value", "mode", "nearest_mode")


def resize(graph: Lowering, node: NodeProto) -> None:
    """Write a Resize out, unless it is one that TFLite's own operators do just so."""
    before, after = graph.shape(node.input[0]), graph.shape(node.output[0])
    if native(graph, node, before, after):
        return
    matrices = {axis: matrix(graph, node, axis) for axis in resized_axes(graph, node)}
    matrices = {axis: found for axis, found in matrices.items() if not identity(found)}
    x = node.input[0]
    for axis, (weights, offset) in matrices.items():
        x = along(graph, x, axis, weights, offset, len(before))
    graph.add("Identity", [x], node.output)


def native(graph: Lowering, node: NodeProto, before: list[int], after: list[int]) -> bool:
    """Whether RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR is the same: the last two of four axes, grown by whole factors."""
    plain = all(not attribute(node, name, 0) for name in ("antialias", "exclude_outside")) and attribute(node, "axes") is None
    policy = attribute(node, "keep_aspect_ratio_policy", b"stretch") == b"stretch"
    if len(before) != 4 or before[:2] != after[:2] or not plain or not policy:
        return False
    scales = given(graph, node, 2)
    ratios = [n / m for n, m in zip(after, before, strict=True)]
    if scales is not None and not np.allclose(scales, ratios, rtol=1e-6):
        return False
    whole = all(ratio >= 1 and float(ratio).is_integer() for ratio in ratios)
    mode = attribute(node, "mode", b"nearest").decode()
    coordinates = attribute(node, "coordinate_transformation_mode", b"half_pixel").decode()
    rounding = attribute(node, "nearest_mode", b"round_prefer_floor").decode()
    if mode == "nearest":
        return whole and (coordinates, rounding) in (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil"))
    half = coordinates == "half_pixel" or (coordinates == "pytorch_half_pixel" and 1 not in after[2:])
    return mode == "linear" and (half or (whole and coordinates in ("align_corners", "asymmetric")))


def given(graph: Lowering, node: NodeProto, index: int) -> Array | None:
    """The stored roi (1), scales (2) or sizes (3), None where left out or empty."""
    name = graph.given(node, index)
    values = graph.value(name) if name else None
    if name and values is None:
        graph.refuse(node, "has scales or sizes that are computed: export it with stored ones")
    return values if values is not None and values.size else None


def resized_axes(graph: Lowering, node: NodeProto) -> list[int]:
    rank = len(graph.shape(node.input[0]))
    axes = attribute(node, "axes")
    return list(range(rank)) if axes is None else [axis % rank for axis in axes]


def matrix(graph: Lowering, node: NodeProto, axis: int) -> tuple[Array, Array]:
    """[after, before] and [after]: what a Resize does along one axis is weights · x + offset."""
    before, after = graph.shape(node.input[0])[axis], graph.shape(node.output[0])[axis]
    position = resized_axes(graph, node).index(axis)
    count = len(resized_axes(graph, node))
    roi, scales = given(graph, node, 1), given(graph, node, 2)
    part: Array | None = None if roi is None else np.array([0, roi[position], 1, roi[count + position]], np.float32)
    attributes: dict[str, Any] = {name: found for name in ATTRIBUTES if (found := attribute(node, name)) is not None}
    policy = attribute(node, "keep_aspect_ratio_policy", b"stretch").decode()
    if scales is not None:
        scale = float(scales[position])
    else:
        sizes = given(graph, node, 3)
        scale = after / before
        if policy != "stretch" and sizes is not None:
            ratios = [size / graph.shape(node.input[0])[one] for size, one in zip(sizes, resized_axes(graph, node), strict=True)]
            scale = min(ratios) if policy == "not_larger" else max(ratios)
    probe = np.concatenate([np.eye(before), np.zeros((1, before))]).astype(np.float32)
    found = by_reference(probe, part, scale, after, attributes, graph.opset)
    return (found[:-1] - found[-1]).T, found[-1]


def by_reference(probe: Array, roi: Array | None, scale: float, after: int, attributes: dict[str, Any], opset: int) -> Array:
    """ONNX's own Resize of [n, before] along its second axis to [n, after]; by scale, or by size where the scale says another."""
    n, before = probe.shape
    by_scale = int(np.floor(before * np.float32(scale))) == after
    names = ["x", "roi" if roi is not None else "", *(["scales"] if by_scale else ["", "sizes"])]
    stored: list[tuple[str, Any]] = [("x", probe), ("roi", roi), ("scales", np.array([1, scale], np.float32)), ("sizes", np.array([n, after], np.int64))]
    tensors = [onnx.numpy_helper.from_array(values, name) for name, values in stored if name in names and values is not None]
    graph = helper.make_graph([helper.make_node("Resize", names, ["y"], None, **attributes)], "g", [], [helper.make_empty_tensor_value_info("y")], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", max(opset, 19))])
    results: Any = ReferenceEvaluator(made).run(None, {})
    return np.asarray(results[0])


def identity(found: tuple[Array, Array]) -> bool:
    weights, offset = found
    return weights.shape[0] == weights.shape[1] and np.array_equal(weights, np.eye(len(weights))) and not offset.any()


def along(graph: Lowering, x: str, axis: int, weights: Array, offset: Array, rank: int) -> str:
    """One axis: a Gather where each new element is an old one, else a product with the axis turned to the last."""
    chosen = weights.argmax(1)
    if not offset.any() and np.array_equal(weights, np.eye(weights.shape[1])[chosen]):
        return graph.add("Gather", [x, graph.store(chosen, np.int64)], axis=axis)
    order = [one for one in range(rank) if one != axis] + [axis]
    if axis != rank - 1:
        x = graph.add("Transpose", [x], perm=order)
    x = graph.add("MatMul", [x, graph.store(weights.T, np.float32)])
    if offset.any():
        x = graph.add("Add", [x, graph.store(offset, np.float32)])
    return x if axis == rank - 1 else graph.add("Transpose", [x], perm=[int(place) for place in np.argsort(order)])
