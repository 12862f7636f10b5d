"""A graph in, the same graph under other names out: its boundary named as the source model names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import GraphProto, ModelProto

from edgekit.hub.graph import subgraphs


def rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Rename tensors in a graph and, where they are read from there, in its bodies."""
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for body in subgraphs(node):
            own = {value.name for value in body.input} | {tensor.name for tensor in body.initializer} | {n for inner in body.node for n in inner.output}
            rename(body, {old: new for old, new in names.items() if old not in own})


def name_boundary(model: ModelProto, inputs: Mapping[str, str], outputs: Sequence[str]) -> None:
    """Name inputs (old name → new name) and outputs (by position); a tensor inside that has one of these names gives way.

    One tensor under two output names, or an input that is an output, is passed through an Identity for each.
    """
    graph = model.graph
    given = {value.name for value in graph.input}
    separate: dict[str, str] = {}
    for value, name in zip(graph.output, outputs, strict=True):
        if value.name in given or value.name in separate:
            graph.node.append(onnx.helper.make_node("Identity", [value.name], [f"{value.name}/as/{name}"]))
            value.name = f"{value.name}/as/{name}"
        separate[value.name] = name
    names = {**inputs, **separate}
    taken = {*inputs.values(), *outputs}
    inside = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
    rename(graph, {**{name: f"{name}/inner" for name in inside & taken if name not in names}, **names})
