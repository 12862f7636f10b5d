"""A graph in, the same graph under other names out: its boundary, and layers that others went into, named as the source model names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import GraphProto, ModelProto

from edgekit.hub.graph import constants, makers, subgraphs

ABSORBED = {"Add", "BatchNormalization", "Div", "Mul", "Sub"}
"""What goes into the weights and the bias of the layer before it, where all else that it reads is constant."""


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


def name_fused(model: ModelProto, before: ModelProto) -> None:
    """Give each layer the name that its node had before a scale, a normalisation or a bias went into it; those that were fused otherwise keep theirs."""
    made_by, stored = makers(before.graph), constants(before.graph)
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm"):
            continue
        source = made_by.get(node.output[0])
        while source is not None and source.op_type in ABSORBED:
            computed = [name for name in source.input if name not in stored]
            source = made_by.get(computed[0]) if len(computed) == 1 else None
        if source is not None and source.op_type == node.op_type and source.name:
            node.name = source.name
