"""A node whose result does not depend on the inputs in, its values as a stored tensor out."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from edgekit.hub.fold import evaluate
from edgekit.hub.graph import array, attribute
from edgekit.hub.lower import Lowering
from edgekit.hub.lower.scatter import from_start


def stored(graph: Lowering, node: NodeProto) -> None:
    """Of an output of the graph: folding leaves those that the graph gives out."""
    if not all(name in graph.stored for name in node.input if name):
        return
    values = evaluate(node, graph.stored, graph.opset)
    if values is not None:
        for tensor, name in zip(values, node.output, strict=True):
            graph.add("Identity", [graph.store(array(tensor))], [name])


def shape(graph: Lowering, node: NodeProto) -> None:
    whole = graph.shape(node.input[0])
    part = whole[slice(attribute(node, "start", 0), attribute(node, "end"))]
    values = np.array(np.prod(whole), np.int64) if node.op_type == "Size" else np.array(part, np.int64)
    graph.add("Identity", [graph.store(values)], node.output)


def eye_like(graph: Lowering, node: NodeProto) -> None:
    kind = attribute(node, "dtype") or graph.dtype(node.input[0])
    rows, columns = graph.shape(node.input[0])
    values = np.eye(rows, columns, attribute(node, "k", 0), dtype=np.float32)
    graph.add("Cast", [graph.store(values)], node.output, to=kind)


def bool_reduction(graph: Lowering, node: NodeProto) -> None:
    """ReduceMax and ReduceMin of bools, in int32."""
    if graph.dtype(node.input[0]) != TensorProto.BOOL:
        return
    if 0 in graph.shape(node.input[0]):
        graph.add("Identity", [graph.store(np.full(graph.shape(node.output[0]), node.op_type == "ReduceMin"))], node.output)
        return
    wide = graph.add("Cast", [node.input[0]], to=TensorProto.INT32)
    given = {found.name: attribute(node, found.name) for found in node.attribute}
    found = graph.add(node.op_type, [wide, *node.input[1:]], **given)
    graph.add("Cast", [found], node.output, to=TensorProto.BOOL)


def bitwise_not(graph: Lowering, node: NodeProto) -> None:
    """-1 - x; all ones minus x for unsigned integers."""
    x = node.input[0]
    kind = graph.numpy_dtype(x)
    ones = np.iinfo(kind).max if kind.kind == "u" else -1
    graph.add("Sub", [graph.store(ones, kind), x], node.output)


def one_hot(graph: Lowering, node: NodeProto) -> None:
    """Indices compared with 0 … depth - 1; what is outside of them (after counting from the end) is off everywhere."""
    indices, depth_name, values = node.input
    depth = graph.value(depth_name)
    if depth is None:
        graph.refuse(node, "has a depth that is computed: export it with a stored one")
    size, rank = int(depth.ravel()[0]), len(graph.shape(indices))
    axis = attribute(node, "axis", -1) % (rank + 1)
    near = graph.add("Cast", [indices], to=TensorProto.INT64)
    near = from_start(graph, near, size)
    places = np.arange(size).reshape([-1 if one == axis else 1 for one in range(rank + 1)])
    hit = graph.add("Equal", [graph.add("Unsqueeze", [near, graph.ints(axis)]), graph.store(places, np.int64)])
    off, on = (graph.add("Gather", [values, graph.store(place, np.int64)], axis=0) for place in (0, 1))
    graph.add("Where", [hit, on, off], node.output)
