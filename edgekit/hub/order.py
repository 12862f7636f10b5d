"""An ONNX graph in, the same graph in order out: sorted, without dead parts, each node with a name of its own."""

from __future__ import annotations

import heapq

import onnx
from onnx import GraphProto, NodeProto

from edgekit.hub.graph import Refusal, makers, output_names, reads, title


def sort(graph: GraphProto) -> None:
    """Put the nodes into topological order, keeping the order they have where it is free.

    Raises:
        Refusal: a node reads a tensor that nothing gives, or nodes depend on each other in a circle.
    """
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    made = makers(graph)
    waiting: dict[int, int] = {}
    blocked: dict[str, list[int]] = {}
    nodes = list(graph.node)
    ready = []
    for index, node in enumerate(nodes):
        needs = {name for name in node.input if name and name not in known}
        needs |= {name for name in reads(node) if name in made and name not in node.output}
        lost = next((name for name in needs if name not in made), None)
        if lost is not None:
            message = f"node {title(node)!r} ({node.op_type}) reads {lost!r}, which nothing in the graph gives: export the model again"
            raise Refusal(message, op=node.op_type, node=title(node))
        waiting[index] = len(needs)
        for name in needs:
            blocked.setdefault(name, []).append(index)
        if not needs:
            ready.append(index)
    order = []
    heapq.heapify(ready)
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for name in nodes[index].output:
            for follower in blocked.get(name, ()):
                waiting[follower] -= 1
                if waiting[follower] == 0:
                    heapq.heappush(ready, follower)
    if len(order) < len(nodes):
        stuck = nodes[next(i for i in waiting if waiting[i] > 0)]
        message = f"node {title(stuck)!r} ({stuck.op_type}) depends on its own output: export the model again"
        raise Refusal(message, op=stuck.op_type, node=title(stuck))
    if order != list(range(len(nodes))):
        copies = []
        for index in order:
            copy = NodeProto()
            copy.CopyFrom(nodes[index])
            copies.append(copy)
        del graph.node[:]
        graph.node.extend(copies)


def remove_dead(graph: GraphProto) -> None:
    """Remove nodes, initializers and shape notes that no output depends on. Needs topological order."""
    alive = set(output_names(graph))
    for node in reversed(graph.node):
        if alive.intersection(node.output):
            alive.update(reads(node))
    for index in reversed(range(len(graph.node))):
        if not alive.intersection(graph.node[index].output):
            del graph.node[index]
    for node in graph.node:
        drop_unread(node, alive)
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in alive:
            del graph.initializer[index]
    kept = alive | {name for node in graph.node for name in node.output}  # a Split gives its parts, read or not
    for index in reversed(range(len(graph.value_info))):
        if graph.value_info[index].name not in kept:
            del graph.value_info[index]


def drop_unread(node: NodeProto, alive: set[str]) -> None:
    """Leave out results that nothing reads, where the operator lets them be left out (an LSTM's last cell, a pool's indices)."""
    if set(node.output) <= alive or not onnx.defs.has(node.op_type, node.domain):
        return
    declared = onnx.defs.get_schema(node.op_type, domain=node.domain).outputs
    for index, name in enumerate(node.output):
        if name not in alive and index < len(declared) and declared[index].option == onnx.defs.OpSchema.FormalParameterOption.Optional:
            node.output[index] = ""
    while node.output and not node.output[-1]:
        del node.output[-1]


def name_nodes(graph: GraphProto) -> None:
    """Give each node without a name, or with a name that is taken, one of its own (`Conv_3`)."""
    taken: set[str] = set()
    for index, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{index}"
        while name in taken:
            name += f"_{index}"
        node.name = name
        taken.add(name)
