"""A hub in, negations as part of the weights before them out."""

from __future__ import annotations

from onnx import ModelProto, numpy_helper

from edgekit.hub.graph import array, constants, output_names, readers
from edgekit.hub.rewrite.edit import drop, only_reader


def negation_into_convolution(model: ModelProto) -> bool:
    """Conv or ConvTranspose of stored weights, then Neg → the same with negated weights and bias: exact, a sign being a bit of its own."""
    graph = model.graph
    stored, read, outputs = constants(graph), readers(graph), set(output_names(graph))
    gone = []
    for node in graph.node:
        follower = only_reader(node, read, outputs) if node.op_type in ("Conv", "ConvTranspose") else None
        if follower is None or follower.op_type != "Neg" or any(name and name not in stored for name in node.input[1:]):
            continue
        for index in range(1, len(node.input)):
            name = f"{node.input[index]}/negated"
            if node.input[index] and name not in stored:
                graph.initializer.append(numpy_helper.from_array(-array(stored[node.input[index]]), name))
                stored[name] = graph.initializer[-1]
            node.input[index] = name if node.input[index] else ""
        node.output[0] = follower.output[0]
        gone.append(follower)
    drop(model, gone)
    return bool(gone)
