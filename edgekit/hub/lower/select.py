"""Operators that choose and move elements in, forms of them that every writer gets right out: ArgMax, Slice, Split, Pad, Gather, TopK."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from edgekit.hub.graph import attribute
from edgekit.hub.lower import Lowering

NO_END = np.iinfo(np.int64).max


def arg(graph: Lowering, node: NodeProto) -> None:
    """ArgMax and ArgMin with `select_last_index`: the first of the reversed tensor, counted from the end."""
    if not attribute(node, "select_last_index", 0):
        return
    x, axis = node.input[0], attribute(node, "axis", 0)
    found = graph.add(node.op_type, [reversed_along(graph, x, axis)], axis=axis, keepdims=attribute(node, "keepdims", 1))
    graph.add("Sub", [graph.store(graph.shape(x)[axis] - 1, np.int64), found], node.output)


def reversed_along(graph: Lowering, x: str, axis: int) -> str:
    """The tensor in reversed order along an axis."""
    order = graph.store(np.arange(graph.shape(x)[axis] - 1, -1, -1), np.int64)
    return graph.add("Gather", [x, order], axis=axis)


def slice_(graph: Lowering, node: NodeProto) -> None:
    """A Slice with a negative step gathers its elements axis by axis."""
    given = [graph.value(name) if (name := graph.given(node, index)) else None for index in (1, 2, 3, 4)]
    starts, ends, axes, steps = given
    if starts is None or ends is None or steps is None or np.all(steps > 0):
        return
    x, shape = node.input[0], graph.shape(node.input[0])
    axes = np.arange(len(starts)) if axes is None else axes % len(shape)
    last = len(axes) - 1
    for position, (axis, start, end, step) in enumerate(zip(axes, starts, ends, steps, strict=True)):
        indices = np.arange(shape[axis])[slice(int(start), None if step < 0 and end < -shape[axis] else int(end), int(step))]
        x = graph.add("Gather", [x, graph.store(indices, np.int64)], node.output if position == last else None, axis=int(axis))


def split(graph: Lowering, node: NodeProto) -> None:
    """A Split into parts that are not equal gets their sizes (Split-18: the last part is smaller)."""
    shape = graph.shape(node.input[0])
    axis = attribute(node, "axis", 0) % len(shape)
    count = len(node.output)
    if graph.given(node, 1) or shape[axis] % count == 0:
        return
    size = -(-shape[axis] // count)
    sizes = [min(size, max(shape[axis] - index * size, 0)) for index in range(count)]
    graph.add("Split", [node.input[0], graph.ints(*sizes)], node.output, axis=axis)


def pad(graph: Lowering, node: NodeProto) -> None:
    """A Pad with axes gets pads for all axes; `wrap` gathers; negative pads crop first."""
    x, shape = node.input[0], graph.shape(node.input[0])
    rank = len(shape)
    pads = graph.value(node.input[1])
    if pads is None:
        graph.refuse(node, "has pads that are computed, and mobile formats need fixed shapes: export it with stored pads")
    axes_name = graph.given(node, 3)
    axes = graph.value(axes_name) if axes_name else np.arange(rank)
    if axes is None:
        graph.refuse(node, "has axes that are computed: export it with stored axes")
    mode = attribute(node, "mode", b"constant").decode()
    begin, end = np.zeros(rank, np.int64), np.zeros(rank, np.int64)
    begin[axes], end[axes] = pads[: len(axes)], pads[len(axes) :]
    if not axes_name and mode != "wrap" and np.all(pads >= 0):
        return
    if mode == "wrap":
        for axis in range(rank):
            if begin[axis] or end[axis]:
                indices = np.arange(-begin[axis], shape[axis] + end[axis]) % shape[axis]
                x = graph.add("Gather", [x, graph.store(indices, np.int64)], axis=axis)
        graph.add("Identity", [x], node.output)
        return
    if np.any(begin < 0) or np.any(end < 0):
        starts, stops = np.maximum(-begin, 0), np.array(shape) - np.maximum(-end, 0)
        x = graph.add("Slice", [x, graph.ints(*starts), graph.ints(*stops), graph.ints(*range(rank))])
        begin, end = np.maximum(begin, 0), np.maximum(end, 0)
    rest = [name] if (name := graph.given(node, 2)) else []
    graph.add("Pad", [x, graph.ints(*begin, *end), *rest], node.output, mode=mode)


def wrapped(graph: Lowering, indices: str, size: int) -> str | None:
    """Indices from 0 on, of indices that may count from the end; None where they do not."""
    stored = graph.value(indices)
    if stored is not None:
        return None if np.all(stored >= 0) else graph.store(np.where(stored < 0, stored + size, stored))
    below = graph.add("Cast", [graph.add("Less", [indices, graph.like(indices, 0)])], to=graph.dtype(indices))
    return graph.add("Add", [indices, graph.add("Mul", [below, graph.like(indices, size)])])


def gather(graph: Lowering, node: NodeProto) -> None:
    """Gather and GatherElements of indices that may be negative."""
    x, indices = node.input
    shape = graph.shape(x)
    axis = attribute(node, "axis", 0) % len(shape)
    made = from_zero(graph, indices) or wrapped(graph, indices, shape[axis])
    if made and made != indices:
        graph.add(node.op_type, [x, mark(graph, made)], node.output, axis=axis)


MARK = "/from_zero"
"""Ends the name of indices that are known to be ≥ 0, so that they are not wrapped again."""


def mark(graph: Lowering, indices: str) -> str:
    return graph.add("Identity", [indices], [graph.fresh("indices") + MARK])


def from_zero(graph: Lowering, indices: str) -> str | None:
    """The indices themselves where a rule has wrapped them before, or nothing can be below 0."""
    unsigned = graph.dtype(indices) in (TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.BOOL)
    return indices if indices.endswith(MARK) or unsigned else None


def trilu(graph: Lowering, node: NodeProto) -> None:
    """A triangle of stored size: the tensor where a stored mask says so, else 0."""
    x, shape = node.input[0], graph.shape(node.input[0])
    given = graph.given(node, 1)
    k = graph.value(given) if given else np.zeros((), np.int64)
    if k is None:
        graph.refuse(node, "has a diagonal that is computed: export it with a stored one")
    ones = np.ones(shape[-2:], bool)
    mask = np.triu(ones, int(k)) if attribute(node, "upper", 1) else np.tril(ones, int(k))
    if graph.dtype(x) == TensorProto.BOOL:
        graph.add("And", [x, graph.store(mask)], node.output)
    else:
        graph.add("Where", [graph.store(mask), x, graph.like(x, 0)], node.output)


def space_to_depth(graph: Lowering, node: NodeProto) -> None:
    """In CRD order too: Reshape, Transpose, Reshape."""
    if attribute(node, "mode", b"DCR") != b"CRD":
        return
    x, block = node.input[0], attribute(node, "blocksize")
    n, c, h, w = graph.shape(x)
    parts = graph.add("Reshape", [x, graph.ints(n, c, h // block, block, w // block, block)])
    turned = graph.add("Transpose", [parts], perm=[0, 1, 3, 5, 2, 4])
    graph.add("Reshape", [turned, graph.ints(n, c * block * block, h // block, w // block)], node.output)


def flatten(graph: Lowering, node: NodeProto) -> None:
    """A Flatten of a vector or a scalar is a Reshape."""
    if len(graph.shape(node.input[0])) < 2:
        graph.add("Reshape", [node.input[0], graph.ints(*graph.shape(node.output[0]))], node.output)
