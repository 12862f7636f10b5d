"""Operators of TFLite that move values without changing them in, ONNX's out. Shapes are those that the file has when it runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.toolchains.convert.from_tflite.graph import Array, Graph, Op, Rule

IMAGE_AXES = (0, 2, 3, 1)
"""An axis of [n, h, w, c] → the same axis of [n, c, h, w]."""


def reshape(graph: Graph, op: Op) -> str:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: all say the shape that the result has."""
    return graph.reshape(op.inputs[0], op.shape)


def transpose(graph: Graph, op: Op) -> str:
    return graph.transpose(op.inputs[0], [int(axis) for axis in graph.known(op, 1, "order of axes")])


def concatenation(graph: Graph, op: Op) -> str:
    """CONCATENATION, with channels first where all parts are at hand so."""
    axis = op.option("axis") % max(len(op.shape), 1)
    if len(op.shape) == 4 and all(name in graph.first for name in op.inputs):
        joined = graph.node("Concat", [graph.first[name] for name in op.inputs], axis=IMAGE_AXES[axis])
        return graph.channels_last(graph.fused(joined, op))
    return graph.fused(graph.node("Concat", list(op.inputs), axis=axis), op)


def pack(graph: Graph, op: Op) -> str:
    """Tensors of one shape along a new axis."""
    axis = op.option("axis") % len(op.shape)
    parts = [graph.reshape(name, [*shape[:axis], 1, *shape[axis:]]) for name, shape in zip(op.inputs, op.shapes, strict=True)]
    return graph.node("Concat", parts, axis=axis)


def unpack(graph: Graph, op: Op) -> list[str]:
    """One tensor for each place along an axis, which is gone."""
    axis = op.option("axis") % len(op.shapes[0])
    return [graph.node("Gather", [op.inputs[0], graph.constant(index, np.int64)], axis=axis) for index in range(len(op.output_shapes))]


def split(graph: Graph, op: Op) -> list[str]:
    """SPLIT (axis, tensor; equal parts) and SPLIT_V (tensor, sizes, axis)."""
    where, what = (0, 1) if op.kind == "SPLIT" else (2, 0)
    axis = int(graph.known(op, where, "axis").reshape(())) % len(op.shapes[what])
    sizes = graph.constant([shape[axis] for shape in op.output_shapes], np.int64, "sizes")
    return graph.node_of("Split", [op.inputs[what], sizes], len(op.output_shapes), axis=axis)


def slices(graph: Graph, name: str, starts: list[int], ends: list[int], steps: list[int]) -> str:
    """Along all axes; places that change nothing are left out."""
    axes = list(range(len(starts)))
    return graph.node("Slice", [name, *(graph.constant(values, np.int64, "slice") for values in (starts, ends, axes, steps))])


def slice_(graph: Graph, op: Op) -> str:
    """SLICE: `begin` and a size; the size is the result's."""
    if op.inputs[1] in graph.values:
        begin = [int(value) for value in graph.values[op.inputs[1]]]
        return slices(graph, op.inputs[0], begin, [start + size for start, size in zip(begin, op.shape, strict=True)], [1] * len(begin))
    begin_name = graph.cast(op.inputs[1], np.int64)
    end = graph.node("Add", [begin_name, graph.constant(list(op.shape), np.int64)])
    return graph.node("Slice", [op.inputs[0], begin_name, end, graph.constant(list(range(len(op.shape))), np.int64)])


def strided_slice(graph: Graph, op: Op) -> str:
    """STRIDED_SLICE, as Python's own slices: the masks leave an end open, drop an axis, add one, or stand for all axes between."""
    begin, end, strides = (graph.known(op, position, what) for position, what in ((1, "begin"), (2, "end"), (3, "strides")))
    rank, entries = len(op.shapes[0]), len(begin)
    masks = {name: op.option(f"{name}Mask") for name in ("begin", "end", "ellipsis", "newAxis", "shrinkAxis")}
    has = {name: [bool(mask >> entry & 1) for entry in range(entries)] for name, mask in masks.items()}
    starts, ends, steps = [0] * rank, list(op.shapes[0]), [1] * rank
    axis = 0
    for entry in range(entries):
        if has["ellipsis"][entry]:
            axis = rank - sum(not has["newAxis"][later] for later in range(entry + 1, entries))
            continue
        if has["newAxis"][entry]:
            continue
        size = op.shapes[0][axis]
        last = int(end[entry]) + (int(begin[entry]) if op.option("offset", False) else 0)
        if has["shrinkAxis"][entry]:
            start = int(begin[entry]) % size
            starts[axis], ends[axis] = start, start + 1
        else:
            chosen = slice(None if has["begin"][entry] else int(begin[entry]), None if has["end"][entry] else last, int(strides[entry])).indices(size)
            starts[axis], ends[axis], steps[axis] = chosen
            if chosen[1] < 0:  # before the first place, which ONNX writes as far below zero
                ends[axis] = -size - 1
        axis += 1
    found = op.inputs[0]
    if (starts, ends, steps) != ([0] * rank, list(op.shapes[0]), [1] * rank):
        found = slices(graph, found, starts, ends, steps)
    kept = tuple(len(range(start, end_, step)) if step > 0 else -1 for start, end_, step in zip(starts, ends, steps, strict=True))
    return found if kept == op.shape else graph.reshape(found, op.shape)


def tile(graph: Graph, op: Op) -> str:
    return graph.node("Tile", [op.inputs[0], graph.constant(graph.known(op, 1, "counts"), np.int64)])


def broadcast_to(graph: Graph, op: Op) -> str:
    """BROADCAST_TO and FILL (shape, value)."""
    given = op.inputs[1 if op.kind == "FILL" else 0]
    return graph.node("Expand", [given, graph.constant(list(op.shape), np.int64)])


def pad(graph: Graph, op: Op) -> str:
    """PAD (with zeros) and PADV2 (with a value); an image that is at hand with channels first is padded so."""
    amounts = graph.known(op, 1, "paddings").astype(np.int64)
    value = [op.inputs[2]] if len(op.inputs) > 2 else []
    if op.inputs[0] in graph.first:
        turned = amounts[[0, 3, 1, 2]]
        return graph.channels_last(graph.node("Pad", [graph.first[op.inputs[0]], graph.constant(turned.T.ravel()), *value]))
    return graph.node("Pad", [op.inputs[0], graph.constant(amounts.T.ravel()), *value])


def mirror_pad(graph: Graph, op: Op) -> str:
    """MIRROR_PAD: mode 0 leaves the edge out (reflect), mode 1 repeats it (symmetric). As lookups, for ONNX's Pad has no symmetric mode."""
    amounts: Array = graph.known(op, 1, "paddings")
    found = op.inputs[0]
    for axis, (before, after) in enumerate(amounts.tolist()):
        if before or after:
            places = np.pad(np.arange(op.shapes[0][axis]), (before, after), mode="symmetric" if op.option("mode") else "reflect")
            found = graph.node("Gather", [found, graph.constant(places, np.int64)], axis=axis)
    return found


def reverse(graph: Graph, op: Op) -> str:
    """REVERSE_V2, along constant axes."""
    found = op.inputs[0]
    for axis in np.atleast_1d(graph.known(op, 1, "axes")).tolist():
        places = np.arange(op.shape[axis])[::-1]
        found = graph.node("Gather", [found, graph.constant(places, np.int64)], axis=axis % len(op.shape))
    return found


def space_to_depth(graph: Graph, op: Op) -> str:
    """SPACE_TO_DEPTH and DEPTH_TO_SPACE: blocks come before channels, which ONNX calls DCR."""
    to_depth = op.kind == "SPACE_TO_DEPTH"
    found = graph.node("SpaceToDepth" if to_depth else "DepthToSpace", [graph.channels_first(op.inputs[0])], blocksize=op.option("blockSize"))
    return graph.channels_last(found)


def space_to_batch(graph: Graph, op: Op) -> str:
    """SPACE_TO_BATCH_ND: pad, then each place within a block becomes a batch of its own (before the old batch)."""
    block, amounts = graph.known(op, 1, "block").tolist(), graph.known(op, 2, "paddings").astype(np.int64)
    count, inner = len(block), list(op.shapes[0][1 + len(block) :])
    pads = np.zeros((len(op.shapes[0]), 2), np.int64)
    pads[1 : 1 + count] = amounts
    padded = graph.node("Pad", [op.inputs[0], graph.constant(pads.T.ravel())])
    sizes = [size + int(pair.sum()) for size, pair in zip(op.shapes[0][1 : 1 + count], amounts, strict=True)]
    apart = graph.reshape(padded, [op.shapes[0][0], *(part for size, step in zip(sizes, block, strict=True) for part in (size // step, step)), *inner])
    order = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2), *range(2 * count + 1, 2 * count + 1 + len(inner))]
    return graph.reshape(graph.transpose(apart, order), op.shape)


def batch_to_space(graph: Graph, op: Op) -> str:
    """BATCH_TO_SPACE_ND: the reverse, then crops."""
    block, crops = graph.known(op, 1, "block").tolist(), graph.known(op, 2, "crops").astype(np.int64)
    count, shape = len(block), op.shapes[0]
    inner, batch = list(shape[1 + count :]), op.shape[0]
    apart = graph.reshape(op.inputs[0], [*block, batch, *shape[1 : 1 + count], *inner])
    order = [count, *(axis for position in range(count) for axis in (count + 1 + position, position)), *range(2 * count + 1, 2 * count + 1 + len(inner))]
    sizes = [size * step for size, step in zip(shape[1 : 1 + count], block, strict=True)]
    joined = graph.reshape(graph.transpose(apart, order), [batch, *sizes, *inner])
    starts = [0, *crops[:, 0].tolist(), *[0] * len(inner)]
    ends = [batch, *(size - after for size, after in zip(sizes, crops[:, 1].tolist(), strict=True)), *inner]
    return slices(graph, joined, starts, ends, [1] * len(shape)) if crops.any() else joined


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), reshape),
    "TRANSPOSE": transpose,
    "CONCATENATION": concatenation,
    "PACK": pack,
    "UNPACK": unpack,
    "SPLIT": split,
    "SPLIT_V": split,
    "SLICE": slice_,
    "STRIDED_SLICE": strided_slice,
    "TILE": tile,
    "BROADCAST_TO": broadcast_to,
    "FILL": broadcast_to,
    "PAD": pad,
    "PADV2": pad,
    "MIRROR_PAD": mirror_pad,
    "REVERSE_V2": reverse,
    "SPACE_TO_DEPTH": space_to_depth,
    "DEPTH_TO_SPACE": space_to_depth,
    "SPACE_TO_BATCH_ND": space_to_batch,
    "BATCH_TO_SPACE_ND": batch_to_space,
}
