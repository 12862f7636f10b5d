"""A graph and nodes of it in, the graph without them out; and who alone reads a node's result."""

from __future__ import annotations

from collections.abc import Container

from onnx import GraphProto, ModelProto, NodeProto

from edgekit.hub.graph import output_names, readers, subgraphs, walk


def only_reader(node: NodeProto, read: dict[str, list[NodeProto]], outputs: set[str]) -> NodeProto | None:
    """The one node that reads a node's first result, if it is no output of the graph."""
    found = read.get(node.output[0], [])
    return found[0] if len(found) == 1 and node.output[0] not in outputs else None


def drop(model: ModelProto, nodes: list[NodeProto]) -> None:
    """Remove nodes, which are the graph's own objects."""
    gone = {id(node) for node in nodes}
    for index in reversed(range(len(model.graph.node))):
        if id(model.graph.node[index]) in gone:
            del model.graph.node[index]


def read_instead(graph: GraphProto, old: str, new: str) -> None:
    """Let every node, those in bodies included, read another tensor."""
    for node in walk(graph.node):
        if old in node.input:
            node.input[:] = [new if name == old else name for name in node.input]
        for body in subgraphs(node):
            for output in body.output:
                if output.name == old:
                    output.name = new


def bypass(model: ModelProto, node: NodeProto, source: str) -> bool:
    """Take out a node whose result is `source` itself; whether that could be done: an output that is an input, or another output, needs the node."""
    graph, result = model.graph, node.output[0]
    if result in output_names(graph):
        maker = next((one for one in graph.node if source in one.output), None)
        if maker is None or source in output_names(graph):
            return False
        drop(model, [node])
        maker.output[:] = [result if name == source else name for name in maker.output]
        read_instead(graph, source, result)
    else:
        read_instead(graph, result, source)
    return True


def drop_unread(model: ModelProto, kinds: Container[str]) -> None:
    """Remove nodes of these kinds whose results nothing reads."""
    outputs = set(output_names(model.graph))
    while True:
        read = readers(model.graph)
        gone = [node for node in model.graph.node if node.op_type in kinds and not any(name in read or name in outputs for name in node.output)]
        if not gone:
            return
        drop(model, gone)
