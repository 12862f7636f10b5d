"""ScatterND and ScatterElements with a reduction in, a reduction over a mask of which update goes where out."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto, TensorProto

from edgekit.hub.graph import attribute
from edgekit.hub.lower import Lowering

LARGEST = 1 << 24
"""Elements of the mask [places, updates, each]; beyond it the file would need too much memory."""

COMBINED = {"add": ("ReduceSum", "Add"), "mul": ("ReduceProd", "Mul"), "max": ("ReduceMax", "Max"), "min": ("ReduceMin", "Min")}


def neutral(kind: int, reduction: str) -> float:
    """What changes nothing."""
    if reduction in ("add", "mul"):
        return 0 if reduction == "add" else 1
    top = float(np.finfo(np.float32).max if kind == TensorProto.FLOAT else np.iinfo(np.int32).max)
    return -top if reduction == "max" else top


def scatter_nd(graph: Lowering, node: NodeProto) -> None:
    """Indices [..., k] choose slices of data; updates [..., *rest]."""
    reduction = attribute(node, "reduction", b"none").decode()
    if reduction == "none":
        return
    data, indices, updates = node.input
    shape, index_shape = graph.shape(data), graph.shape(indices)
    k, count = index_shape[-1], math.prod(index_shape[:-1])
    rows = graph.add("Reshape", [indices, graph.ints(count, k)])
    places, each = math.prod(shape[:k]), math.prod(shape[k:])
    combine(graph, node, reduction, flat(graph, rows, shape[:k]), updates, (places, count, each))


def scatter_elements(graph: Lowering, node: NodeProto) -> None:
    """Indices of one axis; the others are the update's own place."""
    reduction = attribute(node, "reduction", b"none").decode()
    if reduction not in ("mul", "max", "min"):
        return
    data, indices, updates = node.input
    shape, index_shape = graph.shape(data), graph.shape(indices)
    axis, count = attribute(node, "axis", 0) % len(shape), math.prod(index_shape)
    own = np.indices(index_shape).reshape(len(shape), count).T.copy()
    own[:, axis] = 0
    steps = np.array([math.prod(shape[one + 1 :]) for one in range(len(shape))])
    row = from_start(graph, graph.add("Cast", [graph.add("Reshape", [indices, graph.ints(count)])], to=TensorProto.INT64), shape[axis])
    place = graph.add("Add", [graph.add("Mul", [row, graph.store(steps[axis], np.int64)]), graph.store(own @ steps, np.int64)])
    combine(graph, node, reduction, place, updates, (math.prod(shape), count, 1))


def from_start(graph: Lowering, indices: str, size: int | list[int]) -> str:
    """Indices that may count from the end, from 0 on."""
    below = graph.add("Cast", [graph.add("Less", [indices, graph.store(0, np.int64)])], to=TensorProto.INT64)
    return graph.add("Add", [indices, graph.add("Mul", [below, graph.store(size, np.int64)])])


def flat(graph: Lowering, rows: str, sizes: list[int]) -> str:
    """[n, k] indices → [n] places in the flattened first k axes."""
    rows = from_start(graph, graph.add("Cast", [rows], to=TensorProto.INT64), sizes)
    steps = np.array([math.prod(sizes[one + 1 :]) for one in range(len(sizes))])
    return graph.add("ReduceSum", [graph.add("Mul", [rows, graph.store(steps, np.int64)]), graph.ints(1)], keepdims=0)


def combine(graph: Lowering, node: NodeProto, reduction: str, place: str, updates: str, sizes: tuple[int, int, int]) -> None:
    """data[place[u]] ∘= updates[u] for all u, by a mask [places, updates]."""
    places, count, each = sizes
    data = node.input[0]
    if places * count * each > LARGEST:
        graph.refuse(node, f"combines {count} updates into {places} places with {reduction}, which TFLite has no kernel for: export it without a reduction")
    over, with_data = COMBINED[reduction]
    column = graph.store(np.arange(places).reshape(places, 1, 1), np.int64)
    mask = graph.add("Equal", [column, graph.add("Reshape", [place, graph.ints(1, count, 1)])])
    values = graph.add("Reshape", [updates, graph.ints(1, count, each)])
    chosen = graph.add("Where", [mask, values, graph.store(np.full((1, 1, 1), neutral(graph.dtype(data), reduction)), graph.numpy_dtype(data))])
    found = graph.add(over, [chosen, graph.ints(1)], keepdims=0)
    before = graph.add("Reshape", [data, graph.ints(places, each)])
    graph.add("Reshape", [graph.add(with_data, [before, found]), graph.ints(*graph.shape(data))], node.output)
