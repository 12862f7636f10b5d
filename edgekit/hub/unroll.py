"""A Loop and a number of turns in, its body once for each turn out."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from edgekit.hub.graph import attribute, title
from edgekit.hub.names import rename


def unrolled(node: NodeProto, turns: int) -> tuple[list[NodeProto], list[TensorProto]]:
    """The body once for each turn, each with names of its own, and the stored tensors that these need."""
    body: GraphProto = attribute(node, "body")
    base = f"{title(node)}/"
    carried = list(node.input[2:])
    gathered: list[list[str]] = [[] for _ in body.output[1 + len(carried) :]]
    nodes: list[NodeProto] = []
    stored: list[TensorProto] = [numpy_helper.from_array(np.asarray(True), f"{base}true"), numpy_helper.from_array(np.asarray([0], np.int64), f"{base}axis")]
    shared = {tensor.name: base + tensor.name for tensor in body.initializer}
    for tensor in body.initializer:
        copy = TensorProto()
        copy.CopyFrom(tensor)
        copy.name = shared[tensor.name]
        stored.append(copy)
    for turn in range(turns):
        prefix = f"{base}{turn}/"
        stored.append(numpy_helper.from_array(np.asarray(turn, np.int64), f"{prefix}turn"))
        names = {**shared, **{name: prefix + name for inner in body.node for name in inner.output if name}}
        names |= {body.input[0].name: f"{prefix}turn", body.input[1].name: f"{base}true"}
        names |= {value.name: given for value, given in zip(body.input[2:], carried, strict=True)}
        graph = GraphProto(node=body.node, name="turn")
        rename(graph, names)
        for inner in graph.node:
            inner.name = prefix + inner.name if inner.name else ""
        nodes += graph.node
        carried = [names.get(value.name, value.name) for value in body.output[1 : 1 + len(carried)]]
        for parts, value in zip(gathered, body.output[1 + len(carried) :], strict=True):
            parts.append(f"{prefix}part{len(nodes)}_{value.name}")
            nodes.append(helper.make_node("Unsqueeze", [names.get(value.name, value.name), f"{base}axis"], [parts[-1]]))
    results = zip(node.output, [*carried, *gathered], strict=False)
    for name, given in results:
        if name:
            nodes.append(helper.make_node("Identity", [given], [name]) if isinstance(given, str) else helper.make_node("Concat", given, [name], axis=0))
    return nodes, stored
