"""An operator of moved tensors in, the same operator on the tensors before the move out."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.toolchains.convert.tighten.edit import Array, constant, shape, store

Axes = list[Any]
"""For each axis of a moved tensor the axis that it was (int), or None for a new one of one element."""

UNARY = {
    "ABS", "CAST", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGICAL_NOT", "LOGISTIC", "NEG", "RELU", "RELU6",
    "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIGN", "SIN", "SQRT", "SQUARE", "TANH",
}  # fmt: skip
ELEMENTWISE = {
    "ADD", "DIV", "EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "MAXIMUM", "MINIMUM", "MUL", "NOT_EQUAL", "POW",
    "SQUARED_DIFFERENCE", "SUB",
}  # fmt: skip
PADS = {"PAD", "PADV2", "MIRROR_PAD"}
REDUCTIONS = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"}


def through(graph: Any, op: Any, axes: Axes, sources: dict[str, str]) -> list[int] | None:
    """Let the operator read the tensors before the move; the shape of its result then, or None where that cannot be had, and nothing is changed.

    Args:
        sources: moved tensor → the one before it; all have moved along the same axes.
    """
    if op.op_type in UNARY and op.inputs[0] in sources:
        op.inputs = [sources[op.inputs[0]], *op.inputs[1:]]
        return shape(graph, op.inputs[0])
    if op.op_type in ELEMENTWISE:
        return elementwise(graph, op, axes, sources)
    if op.op_type == "CONCATENATION":
        return concatenation(graph, op, axes, sources)
    if op.op_type in PADS and op.inputs[0] in sources:
        return padding(graph, op, axes, sources[op.inputs[0]])
    if op.op_type in REDUCTIONS and op.inputs[0] in sources:
        return reduction(graph, op, axes, sources[op.inputs[0]])
    if op.op_type == "SLICE" and op.inputs[0] in sources:
        return slices(graph, op, axes, sources[op.inputs[0]])
    return None


def elementwise(graph: Any, op: Any, axes: Axes, sources: dict[str, str]) -> list[int] | None:
    """Constants broadcast from the right, so they get all axes before they are moved back."""
    rank = len(shape(graph, next(iter(sources.values()))))
    stored: dict[str, Array] = {}
    for name in op.inputs:
        if name in sources:
            continue
        values = constant(graph, name)
        if values is None or values.ndim > len(axes) or values.dtype not in (np.float32, np.int32, np.int64, np.bool_):
            return None
        if values.size > 1:
            full = values.reshape((1,) * (len(axes) - values.ndim) + values.shape)
            if any(axis is None and size != 1 for axis, size in zip(axes, full.shape, strict=True)):
                return None
            kept = [place for place, axis in enumerate(axes) if axis is not None]
            kept.sort(key=lambda place: axes[place])
            sizes = {axes[place]: full.shape[place] for place in kept}
            others = [place for place, axis in enumerate(axes) if axis is None]
            stored[name] = full.transpose(others + kept).reshape([sizes.get(axis, 1) for axis in range(rank)])
    shapes = [shape(graph, sources[name]) if name in sources else list(stored[name].shape) if name in stored else [] for name in op.inputs]
    op.inputs = [sources.get(name) or (store(graph, f"{name}/moved", stored[name]) if name in stored else name) for name in op.inputs]
    return [int(size) for size in np.broadcast_shapes(*map(tuple, shapes))]


def concatenation(graph: Any, op: Any, axes: Axes, sources: dict[str, str]) -> list[int] | None:
    axis = axes[op.options["axis"] % len(axes)]
    if axis is None or any(name not in sources for name in op.inputs):
        return None
    shapes = [shape(graph, sources[name]) for name in op.inputs]
    if any(one[:axis] + one[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :] for one in shapes):
        return None
    op.inputs = [sources[name] for name in op.inputs]
    op.options = {**op.options, "axis": axis}
    return [*shapes[0][:axis], sum(one[axis] for one in shapes), *shapes[0][axis + 1 :]]


def padding(graph: Any, op: Any, axes: Axes, source: str) -> list[int] | None:
    pads, sizes = constant(graph, op.inputs[1]), shape(graph, source)
    if pads is None or any(axis is None and pads[place].any() for place, axis in enumerate(axes)):
        return None
    moved = np.zeros((len(sizes), 2), pads.dtype)
    for place, axis in enumerate(axes):
        if axis is not None:
            moved[axis] = pads[place]
    op.inputs = [source, store(graph, f"{op.inputs[1]}/moved", moved), *op.inputs[2:]]
    return [int(size + moved[axis].sum()) for axis, size in enumerate(sizes)]


def reduction(graph: Any, op: Any, axes: Axes, source: str) -> list[int] | None:
    over = constant(graph, op.inputs[1])
    if over is None or not op.options.get("keepDims"):
        return None
    before = [axes[int(place) % len(axes)] for place in over.reshape(-1)]
    if None in before:
        return None
    op.inputs = [source, store(graph, f"{op.inputs[1]}/moved", np.array(sorted(before), np.int32))]
    return [1 if axis in before else size for axis, size in enumerate(shape(graph, source))]


def slices(graph: Any, op: Any, axes: Axes, source: str) -> list[int] | None:
    begin, length, sizes = constant(graph, op.inputs[1]), constant(graph, op.inputs[2]), shape(graph, source)
    if begin is None or length is None:
        return None
    starts, taken = [0] * len(sizes), list(sizes)
    for place, axis in enumerate(axes):
        if axis is not None:
            starts[axis] = int(begin[place])
            taken[axis] = int(length[place]) if length[place] >= 0 else sizes[axis] - int(begin[place])
    given = [store(graph, f"{op.inputs[1]}/moved", np.array(values, np.int32)) for values in (starts, taken)]
    op.inputs = [source, *given]
    return taken
