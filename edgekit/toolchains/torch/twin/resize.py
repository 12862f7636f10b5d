"""Resize in, torch.nn.functional.interpolate where it says the same out, else a choice of pixels or a product with a matrix along each axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from onnx import NodeProto
from torch.nn import functional as F

from edgekit.hub.graph import attribute
from edgekit.hub.lower import Lowering
from edgekit.hub.lower.resize import identity, matrix, native, resized_axes
from edgekit.toolchains.torch.twin.build import Build, Value


def resize(build: Build, node: NodeProto) -> Value:
    """What a Resize does along each axis is in `edgekit.hub.lower.resize`, which asks ONNX's reference implementation."""
    x, graph = build.of(node.input[0]), Lowering(build.model, set())
    before, after = graph.shape(node.input[0]), graph.shape(node.output[0])
    mode, coordinates = (attribute(node, name, default).decode() for name, default in (("mode", b"nearest"), ("coordinate_transformation_mode", b"half_pixel")))
    if native(graph, node, before, after):
        if mode == "nearest":
            return build.call(F.interpolate, x, after[2:], mode="nearest")
        if coordinates != "asymmetric":
            return build.call(F.interpolate, x, after[2:], mode="bilinear", align_corners=coordinates == "align_corners")
    for axis in resized_axes(graph, node):
        found = matrix(graph, node, axis)
        if not identity(found):
            x = along(build, x, axis, *found)
    return x


def along(build: Build, x: Value, axis: int, weights: Any, offset: Any) -> Value:
    """One axis: [after, before] · x + [after]; pixels are chosen where each new one is an old one."""
    if axis == x.batch:
        build.apart("Resize changes the axis that counts samples")
    chosen = weights.argmax(1)
    if not offset.any() and np.array_equal(weights, np.eye(weights.shape[1])[chosen]):
        return build.call(torch.index_select, x, axis, build.hold(chosen.astype(np.int64)))
    return build.call(product, x, build.hold(weights.astype(np.float32)), build.hold(offset.astype(np.float32)), axis)


def product(x: Any, weights: Any, offset: Any, axis: int) -> Any:
    return (torch.matmul(x.movedim(axis, -1), weights.t().to(x.dtype)) + offset.to(x.dtype)).movedim(-1, axis)


OPERATORS = {"Resize": resize}
