"""A node in, the nodes that ONNX's own definition of its operator consists of out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import onnx
from onnx import FunctionProto, ModelProto, NodeProto, TypeProto, helper

from edgekit.hub.graph import opset, subgraphs
from edgekit.hub.names import rename


def body_of(node: NodeProto, types: Sequence[TypeProto], version: int, fresh: Callable[[str], str]) -> list[NodeProto] | None:
    """The nodes that compute what a node does, by the function body of its definition; None where it has none.

    Args:
        types: of the node's inputs, an empty one for each that is left out.
        version: the opset of the model, in whose terms the body is given.
        fresh: gives a name that no tensor has yet.
    """
    function = definition(node, types, version)
    if function is None:
        return None
    names = dict.fromkeys(function.input, "")
    names |= dict(zip(function.input, node.input, strict=False))
    outputs = dict(zip(function.output, node.output, strict=False))
    attributes = {name: known.default_value for name, known in onnx.defs.get_schema(node.op_type, version, "").attributes.items()}
    given = {found.name: found for found in node.attribute}
    nodes: list[NodeProto] = []
    for inner in function.node:
        twin = NodeProto()
        twin.CopyFrom(inner)
        resolve(twin, {**attributes, **given})
        for name in inner.output:
            if name:
                names[name] = outputs.get(name) or fresh(name)
        twin.input[:] = [names.get(name, name) for name in inner.input]
        while twin.input and not twin.input[-1]:
            del twin.input[-1]
        twin.output[:] = [names.get(name, name) for name in inner.output]
        twin.name = fresh(inner.op_type + "/node")
        for body in subgraphs(twin):
            rename(body, {old: new for old, new in names.items() if new})
        nodes.append(twin)
    passed = [(names[name], outputs[name]) for name in function.output if name in function.input and outputs.get(name)]
    nodes += [helper.make_node("Identity", [source], [target], name=fresh("Identity/node")) for source, target in passed]
    return nodes


UNINFERRED = ("GroupNormalization", "MeanVarianceNormalization", "AffineGrid", "CastLike")
"""Operators whose definition tells ONNX's own shape inference nothing, or misleads it."""


def expand_uninferred(model: ModelProto) -> bool:
    """Write operators out whose results ONNX's shape inference cannot tell. Whether anything changed."""
    graph = model.graph
    if not any(node.op_type in UNINFERRED for node in graph.node):
        return False
    kinds = {value.name: value.type for value in [*graph.input, *graph.value_info, *graph.output]}
    kinds |= {tensor.name: helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims)) for tensor in graph.initializer}
    taken = {name for node in graph.node for name in node.output} | set(kinds)

    def fresh(hint: str) -> str:
        name = next(one for one in (f"{hint}/{count}" for count in itertools.count()) if one not in taken)
        taken.add(name)
        return name

    changed = False
    nodes: list[NodeProto] = []
    for node in graph.node:
        ready = node.op_type in UNINFERRED and node.domain == "" and all(name in kinds for name in node.input if name)
        body = body_of(node, [kinds.get(name, TypeProto()) for name in node.input], opset(model), fresh) if ready else None
        changed |= body is not None
        nodes += [node] if body is None else body
    if changed:
        copies = [NodeProto() for _ in nodes]
        for copy, node in zip(copies, nodes, strict=True):
            copy.CopyFrom(node)
        del graph.node[:]
        graph.node.extend(copies)
    return changed


def definition(node: NodeProto, types: Sequence[TypeProto], version: int) -> FunctionProto | None:
    """The function body that a node's schema has for an opset, or builds from the node and its input types."""
    schema: Any = onnx.defs.get_schema(node.op_type, version, "")  # its functions are missing in onnx's own stubs
    for own in sorted(usable(schema.function_opset_versions, version), reverse=True):
        return parsed(schema.get_function_with_opset_version(own))
    for own in sorted(usable(schema.context_dependent_function_opset_versions, version), reverse=True):
        context = [kind.SerializeToString() for kind in types]
        return parsed(schema.get_context_dependent_function_with_opset_version(own, node.SerializeToString(), context))
    return None


def usable(versions: Sequence[int], version: int) -> list[int]:
    """Bodies written for the opset or an earlier one."""
    return [own for own in versions if own <= version]


def parsed(data: bytes) -> FunctionProto | None:
    function = FunctionProto()
    function.ParseFromString(data)
    return function if function.node else None


def resolve(node: NodeProto, attributes: dict[str, onnx.AttributeProto]) -> None:
    """Give a body's node the values of the attributes that it takes from the call; one that is not given is left out."""
    kept = []
    for found in node.attribute:
        value = onnx.AttributeProto()
        if found.ref_attr_name:
            source = attributes.get(found.ref_attr_name)
            if source is None or source.type == onnx.AttributeProto.UNDEFINED:
                continue
            value.CopyFrom(source)
            value.name = found.name
        else:
            value.CopyFrom(found)
        kept.append(value)
    del node.attribute[:]
    node.attribute.extend(kept)
    for body in subgraphs(node):
        for inner in body.node:
            resolve(inner, attributes)
