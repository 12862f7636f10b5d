"""Pools that few runtimes have in (dilated, Lp, with indices), Gathers and reductions out.

A window is gathered axis by axis: [.., size, ..] becomes [.., places, taps, ..] and is reduced over its taps. Maxima and sums over a box
are the same taken axis by axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto

from edgekit.hub.graph import attribute
from edgekit.hub.lower import Array, Lowering

LOWEST: dict[int, float] = {TensorProto.FLOAT: -float(np.finfo(np.float32).max), TensorProto.INT8: -128, TensorProto.UINT8: 0}


@dataclass(frozen=True)
class Window:
    """A pool's geometry over the spatial axes: what it reads, of a tensor padded by `begin` and `end`."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]
    places: list[int]

    def taps(self, axis: int) -> Array:
        """[places, kernel] positions in the padded tensor."""
        starts = np.arange(self.places[axis]) * self.strides[axis]
        return np.asarray(starts[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis], np.int64)


def window(graph: Lowering, node: NodeProto) -> Window:
    """The geometry, with automatic padding and `ceil_mode` worked out: `end` reaches as far as the last window does."""
    size = graph.shape(node.input[0])[2:]
    places = graph.shape(node.output[0])[2:]
    rank = len(size)
    kernel = list(attribute(node, "kernel_shape"))
    strides = list(attribute(node, "strides") or [1] * rank)
    dilations = list(attribute(node, "dilations") or [1] * rank)
    pads = list(attribute(node, "pads") or [0] * 2 * rank)
    begin = pads[:rank]
    mode = attribute(node, "auto_pad", b"NOTSET").decode()
    for axis in range(rank):
        reach = (places[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        if mode.startswith("SAME"):
            total = max(reach - size[axis], 0)
            begin[axis] = total // 2 if mode == "SAME_UPPER" else total - total // 2
    end = []
    for axis in range(rank):
        reach = (places[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        end.append(max(reach - size[axis] - begin[axis], 0))
    return Window(kernel, strides, dilations, begin, end, places)


def padded(graph: Lowering, node: NodeProto, x: str, box: Window, value: float) -> str:
    """A tensor of the dtype of the node's input, padded."""
    if not any(box.begin) and not any(box.end):
        return x
    return graph.add("Pad", [x, graph.ints(0, 0, *box.begin, 0, 0, *box.end), graph.like(node.input[0], value)], mode="constant")


def reduced(graph: Lowering, x: str, box: Window, reduction: str, output: list[str] | None = None) -> str:
    """A padded tensor, reduced over its windows."""
    for axis in range(len(box.kernel)):
        windows = graph.add("Gather", [x, graph.store(box.taps(axis))], axis=2 + axis)
        last = axis == len(box.kernel) - 1
        x = graph.add(reduction, [windows, graph.ints(3 + axis)], output if last else None, keepdims=0)
    return x


def dilated(node: NodeProto) -> bool:
    return any(step != 1 for step in attribute(node, "dilations") or [])


def max_pool(graph: Lowering, node: NodeProto) -> None:
    """A MaxPool that is dilated or also gives the places of its maxima."""
    given = [name for name in node.output if name]
    if not dilated(node) and len(given) == 1:
        return
    x, box = node.input[0], window(graph, node)
    whole = padded(graph, node, x, box, LOWEST.get(graph.dtype(x), 0))
    if len(given) == 1:
        reduced(graph, whole, box, "ReduceMax", list(node.output))
        return
    with_indices(graph, node, whole, box)


def with_indices(graph: Lowering, node: NodeProto, whole: str, box: Window) -> None:
    """Values and flat indices: the first largest of each window's taps, looked up in a stored table of where each tap lies."""
    n, c, *size = graph.shape(node.input[0])
    rank, count, taps = len(size), math.prod(box.places), math.prod(box.kernel)
    x = whole
    for axis in range(rank):
        x = graph.add("Gather", [x, graph.store(box.taps(axis))], axis=2 + 2 * axis)
    order = [0, 1, *(2 + 2 * axis for axis in range(rank)), *(3 + 2 * axis for axis in range(rank))]
    flat = graph.add("Reshape", [graph.add("Transpose", [x], perm=order), graph.ints(n, c, count, taps)])
    values = graph.add("ReduceMax", [flat, graph.ints(3)], keepdims=0)
    graph.add("Reshape", [values, graph.ints(n, c, *box.places)], [node.output[0]] if node.output[0] else None)
    lies = [box.taps(axis) - box.begin[axis] for axis in range(rank)]
    steps = [math.prod(size[axis + 1 :]) for axis in range(rank)]
    if attribute(node, "storage_order", 0):
        steps = [math.prod(size[:axis]) for axis in range(rank)]
    table = np.zeros([*box.places, *box.kernel], np.int64)
    for axis in range(rank):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = box.places[axis], box.kernel[axis]
        table = table + lies[axis].reshape(shape) * steps[axis]
    tap = graph.add("ArgMax", [flat], axis=3, keepdims=0)
    place = graph.add("Add", [tap, graph.store((np.arange(count) * taps).reshape(1, 1, count), np.int64)])
    found = graph.add("Gather", [graph.store(table.ravel()), place])
    channel = (np.arange(n * c) * math.prod(size)).reshape(n, c, 1)
    indices = graph.add("Add", [found, graph.store(channel, np.int64)])
    graph.add("Reshape", [indices, graph.ints(n, c, *box.places)], [node.output[1]])


def average_pool(graph: Lowering, node: NodeProto) -> None:
    """A dilated AveragePool: the sum over each window, over the number of its taps that count."""
    if not dilated(node):
        return
    x, box = node.input[0], window(graph, node)
    total = reduced(graph, padded(graph, node, x, box, 0), box, "ReduceSum")
    size = graph.shape(x)[2:]
    rank = len(size)
    pads = list(attribute(node, "pads") or [0] * 2 * rank)
    counts = np.ones([1, 1, *box.places], np.float32)
    for axis in range(rank):
        taps = box.taps(axis)
        low, high = box.begin[axis], box.begin[axis] + size[axis]
        if attribute(node, "count_include_pad", 0):
            low, high = 0, high + pads[rank + axis]
        shape = [1] * (2 + rank)
        shape[2 + axis] = box.places[axis]
        counts = counts * ((taps >= low) & (taps < high)).sum(1).reshape(shape)
    graph.add("Div", [total, graph.store(counts, np.float32)], node.output)


def lp_pool(graph: Lowering, node: NodeProto) -> None:
    """(Σ |x|ᵖ)^(1/p) over each window."""
    x, box, p = node.input[0], window(graph, node), attribute(node, "p", 2)
    power = graph.add("Mul", [x, x]) if p == 2 else graph.add("Pow", [graph.add("Abs", [x]), graph.like(x, p)])
    total = reduced(graph, padded(graph, node, power, box, 0), box, "ReduceSum")
    if p == 2:
        graph.add("Sqrt", [total], node.output)
    else:
        graph.add("Pow", [total, graph.like(x, 1 / p)], node.output)
