"""A Loop whose number of turns follows from constants in, one GRU, LSTM or RNN out where it is such a layer, else its body once for each turn."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekit.hub.graph import array, attribute, constants, makers, opset, reads, set_attribute, static_shapes, subgraphs
from edgekit.hub.names import rename
from edgekit.hub.recurrent import recurrent_layer
from edgekit.hub.unroll import unrolled

MOST_TURNS = 256
"""A recurrent step is ten to thirty operators: beyond it a file grows to what no phone loads in time."""
MOST_NODES = 20_000
MOST_COUNTED = 20_000
"""Turns that are counted at all: a recurrent layer of any length is one node."""


def resolve_loops(model: ModelProto) -> bool:
    """Replace each Loop of the main graph that has a fixed number of turns. Whether anything changed.

    Needs inferred shapes and constants as initializers. A Loop that reads from another waits until that one is replaced, and shapes are inferred anew.
    """
    graph, changed = model.graph, False
    shapes, outer = static_shapes(graph), set(makers(graph))
    for node in [node for node in graph.node if node.op_type == "Loop"]:
        if any(name in outer and name not in shapes for name in reads(node)):
            continue
        passed = hoist_invariants(node)
        graph.node.extend(passed)
        changed |= bool(passed)
        turns = count_turns(node, constants(graph), opset(model))
        if not turns:
            continue
        body: GraphProto = attribute(node, "body")
        found = recurrent_layer(model, node, turns)
        if found is None and turns <= MOST_TURNS and turns * len(body.node) <= MOST_NODES:
            found = unrolled(node, turns)
        if found is None:
            continue
        nodes, stored = found
        graph.node.remove(node)
        graph.node.extend(nodes)
        graph.initializer.extend(stored)
        changed = True
    return changed


def hoist_invariants(node: NodeProto) -> list[NodeProto]:
    """Let a Loop's body read from outside what each turn hands on unchanged, as weights are; gives the nodes that stand for those results."""
    body: GraphProto = attribute(node, "body")
    made = makers(body)
    passed = []
    for place in reversed(range(2, len(node.input))):
        name, own = body.output[place - 1].name, body.input[place].name
        while name in made and made[name].op_type == "Identity":
            name = made[name].input[0]
        if name != own:
            continue
        outer, result = node.input[place], node.output[place - 2]
        rename(body, {own: outer})
        if result:
            passed.append(helper.make_node("Identity", [outer], [result]))
        del node.input[place], node.output[place - 2], body.input[place], body.output[place - 1]
    set_attribute(node, "body", body)
    return passed


def count_turns(node: NodeProto, known: dict[str, TensorProto], version: int) -> int | None:
    """How often a Loop runs, whatever the model is given; None where that depends on its inputs, or is beyond counting.

    The body's condition is computed turn by turn, from what is constant and from what it hands on to itself.
    """
    body: GraphProto = attribute(node, "body")
    count, start = node.input[0], node.input[1]
    if (count and count not in known) or (start and start not in known):
        return None
    limit = int(array(known[count]).item()) if count else MOST_COUNTED + 1
    if start and not bool(array(known[start]).item()):
        return 0
    stepped = condition(node, body, known)
    if stepped is None:
        return None
    nodes, tracked = stepped
    if not nodes:  # the condition stays true, or is handed on
        return limit if limit <= MOST_COUNTED else None
    from onnx.reference import ReferenceEvaluator

    inputs = [value.name for value in body.input]
    wanted = [body.output[0].name, *(body.output[place - 1].name for place in tracked)]
    graph = GraphProto(node=nodes, name="condition")
    graph.initializer.extend(body.initializer)
    graph.initializer.extend(tensor for name, tensor in known.items() if any(name in inner.input for inner in nodes))
    graph.input.extend(helper.make_empty_tensor_value_info(name) for name in (inputs[0], *(inputs[place] for place in tracked)))
    graph.output.extend(helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(wanted))
    step = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)]))
    state = {inputs[place]: array(known[node.input[place]]) for place in tracked}
    for turn in range(min(limit, MOST_COUNTED)):
        try:
            found = dict(zip(dict.fromkeys(wanted), step.run(None, {inputs[0]: np.asarray(turn, np.int64), **state}), strict=True))
        except Exception:  # noqa: BLE001  numpy code for 200 operators: whatever it raises, the Loop stays one
            return None
        if not bool(np.asarray(found[wanted[0]]).item()):
            return turn + 1
        state = {inputs[place]: np.asarray(found[body.output[place - 1].name]) for place in tracked}
    return limit if limit <= MOST_COUNTED else None


def condition(node: NodeProto, body: GraphProto, known: dict[str, TensorProto]) -> tuple[list[NodeProto], list[int]] | None:
    """The nodes that a body's condition depends on, in order, and the places of the carried values among them; None where it depends on data."""
    made, stored = makers(body), {tensor.name for tensor in body.initializer}
    places = {value.name: place for place, value in enumerate(body.input)}
    needed, tracked, waiting = set[int](), list[int](), [body.output[0].name]
    seen = set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or not name or name in stored:
            continue
        seen.add(name)
        place = places.get(name)
        if place is not None:
            if place >= 2:
                if node.input[place] not in known:
                    return None
                tracked.append(place)
                waiting.append(body.output[place - 1].name)
            continue
        maker = made.get(name)
        if maker is None:
            if name not in known:
                return None
            continue
        if next(subgraphs(maker), None) is not None:
            return None
        needed.add(id(maker))
        waiting += maker.input
    nodes = [inner for inner in body.node if id(inner) in needed]
    follows_itself = body.output[0].name == body.input[1].name
    stays = all(inner.op_type in ("Identity", "Constant") for inner in nodes) and not tracked and constant_true(nodes, body)
    return ([], []) if follows_itself or stays else (nodes, sorted(tracked))


def constant_true(nodes: list[NodeProto], body: GraphProto) -> bool:
    """Whether identities and constants alone give the condition, and it is true (or the turn's own)."""
    name, made = body.output[0].name, {node.output[0]: node for node in nodes}
    while name in made and made[name].op_type == "Identity":
        name = made[name].input[0]
    if name == body.input[1].name:
        return True
    if name in made:
        return bool(numpy_helper.to_array(made[name].attribute[0].t).item()) if made[name].attribute[0].name == "value" else False
    return any(tensor.name == name and bool(array(tensor).item()) for tensor in body.initializer)
