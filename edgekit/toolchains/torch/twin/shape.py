"""Reshape, Flatten, Transpose, Squeeze, Unsqueeze, Expand, Concat and Identity in, views of the same tensors out."""

from __future__ import annotations

import math
from typing import Any

import torch
from onnx import NodeProto

from edgekit.hub.graph import attribute
from edgekit.toolchains.torch.twin.build import Build, Value


def reshape(build: Build, node: NodeProto) -> Value:
    x, wanted = build.of(node.input[0]), build.fixed(node, 1)
    shape = [int(size) for size in wanted]  # type: ignore[union-attr]  # an input that is never left out
    if not attribute(node, "allowzero", 0):
        shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    if -1 in shape:
        shape[shape.index(-1)] = math.prod(x.shape) // max(math.prod(size for size in shape if size != -1), 1)
    return build.reshape(x, shape)


def flatten(build: Build, node: NodeProto) -> Value:
    x, axis = build.of(node.input[0]), attribute(node, "axis", 1)
    axis = axis + len(x.shape) if axis < 0 else axis
    if axis == 1 and x.batch == 0 and len(x.shape) > 1:
        return build.call(torch.flatten, x, 1)
    return build.reshape(x, [math.prod(x.shape[:axis]), math.prod(x.shape[axis:])])


def squeeze(build: Build, node: NodeProto) -> Value:
    x, given = build.of(node.input[0]), build.fixed(node, 1)
    axes = [axis for axis, size in enumerate(x.shape) if size == 1] if given is None else [int(a) % max(len(x.shape), 1) for a in given.ravel()]
    if x.batch in axes:
        return build.reshape(x, [size for axis, size in enumerate(x.shape) if axis not in axes])
    return build.call(torch.squeeze, x, tuple(axes)) if axes else x


def unsqueeze(build: Build, node: NodeProto) -> Value:
    x, given = build.of(node.input[0]), build.fixed(node, 1)
    axes = [int(a) for a in given.ravel()]  # type: ignore[union-attr]  # an input that is never left out
    rank = len(x.shape) + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = build.call(torch.unsqueeze, x, axis)
    return x


def transpose(build: Build, node: NodeProto) -> Value:
    x = build.of(node.input[0])
    order = list(attribute(node, "perm") or reversed(range(len(x.shape))))
    return build.call(torch.permute, x, order)


def concat(build: Build, node: NodeProto) -> Value:
    values, axis = build.all(node), attribute(node, "axis")
    axis = axis % len(values[0].shape)
    grown = next((value for value in values if value.batch is not None and value.batch != axis), None)
    if grown is not None:  # what is stored (a class token) goes to every sample
        values = [value if value.batch is not None else build.call(spread, value, grown, grown.batch) for value in values]
    elif any(value.batch == axis for value in values):
        build.apart(f"Concat (node {node.name!r}) joins along the axis that counts samples")
    return build.call(torch.cat, values, axis)


def spread(x: Any, like: Any, axis: int, to: int | None = None) -> Any:
    """`x` repeated along its axis `to` (as a rule `axis`) as often as another tensor is long along `axis`."""
    to = axis if to is None else to
    return x.expand([like.shape[axis] if position == to else -1 for position in range(x.dim())])


def expand(build: Build, node: NodeProto) -> Value:
    x, wanted = build.of(node.input[0]), build.fixed(node, 1)
    shape = [int(size) for size in wanted]  # type: ignore[union-attr]  # an input that is never left out
    if len(shape) < len(x.shape):
        shape = [1] * (len(x.shape) - len(shape)) + shape
    lead = len(shape) - len(x.shape)
    kept = [-1 if axis >= lead and shape[axis] in (1, x.shape[axis - lead]) else size for axis, size in enumerate(shape)]
    return build.call(torch.Tensor.expand, x, kept)


def identity(build: Build, node: NodeProto) -> Value:
    return build.of(node.input[0])


OPERATORS: dict[str, Any] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Concat": concat,
    "Expand": expand,
    "Identity": identity,
    "Dropout": identity,
}
