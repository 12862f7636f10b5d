"""An If or a Loop that stays in a graph in; its bodies in normal form, and the shapes of its results, out.

A body is made a model for the time of the work: what it reads from outside are inputs of that model, or stored tensors. A Loop's
state keeps one shape through all turns, or has none: what is carried has the shape that it starts with, if the body gives that back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, helper

from edgekit.hub.graph import constants, makers, set_attribute, static_shape, subgraphs, title
from edgekit.hub.names import rename
from edgekit.hub.order import remove_dead, sort
from edgekit.hub.shapes import LARGE_BYTES, restore_types

CONTROL = ("If", "Loop")
Work = Callable[[ModelProto], None]
COUNTER = helper.make_tensor_type_proto(TensorProto.INT64, [])
CONDITION = helper.make_tensor_type_proto(TensorProto.BOOL, [])


def settle_bodies(model: ModelProto, settle: Work) -> bool:
    """Settle the bodies of each If and Loop of the main graph whose surroundings have fixed shapes. Whether a result has a shape that was not known."""

    def anew(body: ModelProto) -> None:
        del body.graph.value_info[:]
        for value in body.graph.output:
            value.type.tensor_type.ClearField("shape")
        settle(body)

    changed = False
    for node in model.graph.node:
        if node.op_type in CONTROL and outside(node) <= set(types(model)):
            in_bodies(model, node, anew)
            changed |= note_results(model, node)
    return changed


def in_bodies(model: ModelProto, node: NodeProto, work: Work) -> None:
    """Do some work on each body of an If or Loop, as on a model of its own; the body is replaced by what comes of it, sorted and without dead parts."""
    known = types(model)
    for held in [held for held in node.attribute if held.HasField("g")]:
        body = held.g
        given = [value.name for value in body.input]
        state = [COUNTER, CONDITION, *(known[name] for name in node.input[2:])] if node.op_type == "Loop" else []
        sub = alone(model, body, dict(zip(given, state, strict=True)))
        outer = {tensor.name for tensor in sub.graph.initializer} - set(constants(body))
        work(sub)
        sort(sub.graph)
        remove_dead(sub.graph)
        restore_types(sub, constants(sub.graph))
        set_attribute(node, held.name, inside(sub.graph, given, outer))


def alone(model: ModelProto, body: GraphProto, given: Mapping[str, TypeProto]) -> ModelProto:
    """A body as a model whose inputs are its own, of the types given, and then those tensors that it reads from outside."""
    known, stored = types(model), constants(model.graph)
    graph = GraphProto(name=body.name or "body", node=body.node, initializer=body.initializer, output=body.output, value_info=body.value_info)
    for name, kind in given.items():
        graph.input.add(name=name).type.CopyFrom(kind)
    for name in sorted(captured(body) & set(known)):
        if name in stored and stored[name].ByteSize() <= LARGE_BYTES:
            graph.initializer.append(stored[name])
        else:
            graph.input.add(name=name).type.CopyFrom(known[name])
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def inside(graph: GraphProto, given: list[str], outer: set[str]) -> GraphProto:
    """The graph of such a model as a body again; what is stored outside is read from there."""
    made = GraphProto(name=graph.name, node=graph.node, output=graph.output, value_info=graph.value_info)
    made.input.extend(value for value in graph.input if value.name in given)
    made.initializer.extend(tensor for tensor in graph.initializer if tensor.name not in outer)
    return made


def note_results(model: ModelProto, node: NodeProto) -> bool:
    """Note the shapes of an If's or Loop's results where its bodies say them. Whether any was new."""
    graph = model.graph
    known = types(model)
    bodies = list(subgraphs(node))
    if node.op_type == "Loop":
        (body,) = bodies
        results = [body.output[1 : len(node.input) - 1], body.input[2:]]
    else:
        results = [body.output for body in bodies]
    changed = False
    for name, *values in zip(node.output, *results, strict=False):
        shapes = [static_shape(value) for value in values]
        if not name or name in known or shapes[0] is None or any(shape != shapes[0] for shape in shapes):
            continue
        kind = values[0].type
        noted = next((value for value in [*graph.value_info, *graph.output] if value.name == name), None)
        (graph.value_info.add(name=name) if noted is None else noted).type.CopyFrom(kind)
        changed = True
    return changed


def outside(node: NodeProto) -> set[str]:
    """What a node and its bodies read that the bodies do not give themselves."""
    return {name for name in node.input if name}.union(*(captured(body) for body in subgraphs(node)))


def captured(body: GraphProto) -> set[str]:
    """What a body reads from outside."""
    own = {*makers(body), *constants(body), *(value.name for value in body.input)}
    return set[str]().union(*(outside(node) for node in body.node), (value.name for value in body.output)) - own


def types(model: ModelProto) -> dict[str, TypeProto]:
    """Name → type of every tensor of the main graph whose shape is fixed."""
    graph = model.graph
    found = {value.name: value.type for value in [*graph.input, *graph.output, *graph.value_info] if static_shape(value) is not None}
    return found | {tensor.name: helper.make_tensor_type_proto(tensor.data_type, tensor.dims) for tensor in graph.initializer}


def names_of_their_own(model: ModelProto) -> None:
    """Rename what bodies hold so that no two tensors of the model, wherever they are, share a name."""
    graph = model.graph
    taken = {name for node in graph.node for name in node.output} | set(constants(graph)) | {value.name for value in graph.input}
    for node in graph.node:
        for held in list(node.attribute):
            if held.HasField("g"):
                rename_inside(held.g, f"{title(node)}/{held.name}", taken)


def rename_inside(body: GraphProto, prefix: str, taken: set[str]) -> None:
    own = dict.fromkeys([*(value.name for value in body.input), *constants(body), *(name for node in body.node for name in node.output if name)])
    names = {}
    for name in own:
        new, count = f"{prefix}/{name}", 1
        while new in taken:
            new, count = f"{prefix}/{name}_{count}", count + 1
        taken.add(new)
        names[name] = new
    rename(body, names)
    for node in body.node:
        for held in list(node.attribute):
            if held.HasField("g"):
                rename_inside(held.g, f"{prefix}/{title(node)}/{held.name}", taken)
