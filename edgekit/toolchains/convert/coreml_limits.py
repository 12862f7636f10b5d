"""An ONNX node in, why Core ML would get it wrong out: the cases that onnx2coreml 1.1 writes without an error and wrongly.

Found by running ONNX's backend tests through it. Each answer reads on from "Conv node 'x' cannot be written for Core ML: ".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from coreml_lowerings import attribute  # type: ignore[import-not-found]

Initializers = dict[str, onnx.TensorProto]
Shapes = dict[str, list[int]]


def pool(node: onnx.NodeProto, initializers: Initializers, shapes: Shapes) -> str | None:
    if any(d != 1 for d in attribute(node, "dilations", [1])):
        return "its pooling windows are dilated, which Core ML does not have; pool a strided slice instead"
    if len([name for name in node.output if name]) > 1:
        return "it also gives the indices of the maxima, which Core ML does not have; remove that output"
    return None


def resize(node: onnx.NodeProto, initializers: Initializers, shapes: Shapes) -> str | None:
    """Core ML resizes the last two axes of a rank-4 tensor, nearest (floor) or linearly."""
    cure = "; use mode linear, or mode nearest with asymmetric coordinates and rounding floor"
    mode = attribute(node, "mode", "nearest")
    coordinates = attribute(node, "coordinate_transformation_mode", "half_pixel")
    rounding = attribute(node, "nearest_mode", "round_prefer_floor")
    before, after = shapes.get(node.input[0], []), shapes.get(node.output[0], [])
    for name, plain in (("antialias", 0), ("exclude_outside", 0), ("keep_aspect_ratio_policy", "stretch"), ("axes", None)):
        if attribute(node, name, plain) != plain:
            return f"its {name} has no counterpart in Core ML{cure}"
    if len(before) != 4 or before[:2] != after[:2]:
        return f"it resizes {before} to {after}, and Core ML resizes the last two of four axes; transpose around it"
    scales = given_scales(node, initializers)
    ratios = [n / m for n, m in zip(after[2:], before[2:], strict=True)]
    if scales is not None and not np.allclose(scales[-2:], ratios):
        return f"its scales {scales} are not the ratios of the sizes {ratios}, where the two conventions differ; give sizes that scale evenly"
    if mode == "nearest":
        even = all(float(r).is_integer() for r in ratios)
        # Whole factors read the same elements by either convention.
        same = (coordinates, rounding) == ("asymmetric", "floor") or (
            even and coordinates in ("half_pixel", "pytorch_half_pixel") and rounding in ("round_prefer_floor", "round_prefer_ceil")
        )
        return None if same else f"nearest with {coordinates} coordinates and rounding {rounding} is not Core ML's{cure}"
    if mode != "linear" or coordinates not in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        return f"mode {mode} with {coordinates} coordinates is not Core ML's{cure}"
    if 1 in after[2:] and coordinates == "pytorch_half_pixel":
        return f"pytorch_half_pixel to a single element is not Core ML's{cure}"
    return None


def given_scales(node: onnx.NodeProto, initializers: Initializers) -> list[float] | None:
    name = node.input[2] if len(node.input) > 2 else ""
    values = onnx.numpy_helper.to_array(initializers[name]) if name in initializers else np.zeros(0)
    return [float(v) for v in values] or None


def cast(node: onnx.NodeProto, initializers: Initializers, shapes: Shapes) -> str | None:
    target = onnx.TensorProto.DataType.Name(attribute(node, "to", 0))
    if target in ("INT8", "INT16", "UINT8", "UINT16"):
        return f"it casts to {target}, which Core ML would keep as int32 without wrapping; cast to INT32 and clip"
    return None


LIMITS: dict[str, Callable[[onnx.NodeProto, Initializers, Shapes], str | None]] = {
    "AveragePool": pool,
    "Cast": cast,
    "MaxPool": pool,
    "Resize": resize,
}


def unsupported(model: onnx.ModelProto) -> tuple[onnx.NodeProto, str] | None:
    """The first node that would come out wrong, and why."""
    graph = model.graph
    initializers = {i.name: i for i in graph.initializer}
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in [*graph.input, *graph.value_info, *graph.output]}
    for node in graph.node:
        rule = LIMITS.get(node.op_type)
        reason = rule(node, initializers, shapes) if rule else None
        if reason:
            return node, reason
    return None
