"""A Loop in, the one GRU, LSTM or RNN node that computes the same out, where it is such a layer (as TensorFlow writes Keras' layers).

The body is read for its matrix products: those of the step's input and those of the state carry the weights. What they are taken for is
then proved by running both, the Loop and the node, on random values: a Loop that gives anything else stays a Loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekit.hub.fold import evaluate
from edgekit.hub.graph import array, attribute, constants, makers, opset, output_names, readers, static_shapes, subgraphs, title
from edgekit.hub.unroll import unrolled

Array = np.ndarray[Any, Any]
Found = tuple[list[NodeProto], list[TensorProto]]

GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
PROOF_TURNS = 6
TOLERANCE = 1e-4
"""Of the largest value: float32 sums in another order, over a few turns, stay far below; a wrong gate is near 1."""


@dataclass(frozen=True, slots=True)
class Product:
    """`data @ weights + bias` in a body."""

    weights: Array
    bias: Array | None


@dataclass(frozen=True, slots=True)
class Body:
    """A Loop's body with what is constant in it."""

    node: NodeProto
    graph: GraphProto
    known: Mapping[str, TensorProto]
    version: int

    def constant(self, name: str) -> Array | None:
        """The content of a tensor that depends on constants only."""
        if name in self.known:
            return array(self.known[name])
        for tensor in self.graph.initializer:
            if tensor.name == name:
                return array(tensor)
        maker = makers(self.graph).get(name)
        if maker is None or next(subgraphs(maker), None) is not None:
            return None
        inputs = {given: self.constant(given) for given in maker.input if given}
        if any(values is None for values in inputs.values()):
            return None
        tensors = {given: numpy_helper.from_array(np.asarray(values), given) for given, values in inputs.items()}
        results = evaluate(maker, tensors, self.version)
        return next((array(tensor) for tensor in results or [] if tensor.name == name), None)

    def source(self, name: str) -> str:
        """Where a tensor comes from, through what keeps its values."""
        made = makers(self.graph)
        while name in made and made[name].op_type in ("Identity", "Squeeze", "Reshape", "Unsqueeze", "Cast"):
            name = made[name].input[0]
        return name

    def products(self, wanted: str) -> list[Product]:
        """The products of a tensor with constant matrices, in the order of the body."""
        read = readers(self.graph)
        found = []
        for node in self.graph.node:
            if node.op_type not in ("MatMul", "Gemm") or self.source(node.input[0]) != wanted:
                continue
            weights = self.constant(node.input[1])
            if weights is None or weights.ndim != 2:
                continue
            weights = weights.T if attribute(node, "transB", 0) else weights
            bias = self.constant(node.input[2]) if len(node.input) > 2 else None
            followers = read.get(node.output[0], [])
            if bias is None and len(followers) == 1 and followers[0].op_type == "Add":
                (other,) = [name for name in followers[0].input if name != node.output[0]] or [""]
                bias = self.constant(other) if other else None
            found.append(Product(weights, None if bias is None or bias.size != weights.shape[1] else bias.reshape(-1)))
        return found


def recurrent_layer(model: ModelProto, node: NodeProto, turns: int) -> Found | None:
    """The node that a Loop is, with what brings its tensors into form, and stored weights; None where it is no such layer."""
    graph = model.graph
    known, shapes = constants(graph), static_shapes(graph)
    body = Body(node, attribute(node, "body"), known, opset(model))
    if any(next(subgraphs(inner), None) is not None for inner in body.graph.node):
        return None
    series = step_input(body, shapes, turns)
    states = [place for place in range(2, len(node.input)) if len(shapes.get(node.input[place], ())) == 2 and is_float(body, place)]
    if series is None or not 1 <= len(states) <= 2:
        return None
    name, step = series
    found = layer(body, step, states)
    if found is None:
        return None
    kind, tensors, attributes, states = found
    outputs = results(body, states)
    read, given = readers(graph), set(output_names(graph))
    if any(out and (out in read or out in given) and out not in outputs for out in node.output):
        return None
    made = written(node, name, kind, tensors, attributes, states, outputs)
    return made if proved(node, body, name, shapes, states, made, outputs, turns) else None


def is_float(body: Body, place: int) -> bool:
    return bool(body.graph.input[place].type.tensor_type.elem_type in (0, TensorProto.FLOAT))


def step_input(body: Body, shapes: Mapping[str, list[int]], turns: int) -> tuple[str, str] | None:
    """The tensor [turns, batch, width] outside, and the name in the body of the row that each turn takes."""
    for node in body.graph.node:
        if node.op_type == "Gather" and attribute(node, "axis", 0) == 0:
            shape = shapes.get(node.input[0], [])
            if len(shape) == 3 and shape[0] == turns:
                return node.input[0], node.output[0]
    return None


def layer(body: Body, step: str, states: list[int]) -> tuple[str, list[Array], dict[str, Any], list[int]] | None:
    """Kind, weights (W, R, B as ONNX stacks them), attributes, and the places of h and c."""
    names = {place: body.graph.input[place].name for place in states}
    given = body.products(step)
    hidden = next((place for place in states if body.products(names[place])), None)
    if len(given) != 1 or hidden is None:
        return None
    own = body.products(names[hidden])
    width = own[0].weights.shape[0]
    gates = given[0].weights.shape[1] / width
    attributes: dict[str, Any] = {"hidden_size": width}
    recurrent = [product.weights for product in own]
    biases = [product.bias for product in own]
    if len(own) == 1 and gates == 3 and len(states) == 1:  # reset after the product, or before it
        kind, attributes["linear_before_reset"] = "GRU", 1
        if own[0].weights.shape[1] == 2 * width:  # the candidate's product is of the state after its reset
            attributes["linear_before_reset"] = 0
            last = other_product(body, {step, names[hidden]}, (width, width))
            if last is None:
                return None
            recurrent.append(last.weights)
            biases.append(last.bias)
    elif len(own) == 1 and gates == 4 and len(states) == 2:
        kind = "LSTM"
        states = [hidden, *(place for place in states if place != hidden)]
    elif len(own) == 1 and gates == 1 and len(states) == 1:
        kind = "RNN"
        activation = next((node.op_type for node in body.graph.node if node.op_type in ("Tanh", "Relu", "Sigmoid")), None)
        if activation is None:
            return None
        attributes["activations"] = [activation]
    else:
        return None
    r = np.concatenate(recurrent, axis=1)
    rows = GATES[kind] * width
    if r.shape != (width, rows) or given[0].weights.shape[1] != rows:
        return None
    first = np.zeros(rows, np.float32) if given[0].bias is None else given[0].bias
    second = np.concatenate([np.zeros(weights.shape[1], np.float32) if bias is None else bias for weights, bias in zip(recurrent, biases, strict=True)])
    order = [0, 3, 1, 2] if kind == "LSTM" else list(range(GATES[kind]))  # Keras: i f c o, ONNX: i o f c; z r h in both
    stacked = [np.concatenate([np.split(values, GATES[kind], axis=-1)[gate] for gate in order], axis=-1) for values in (given[0].weights, r, first, second)]
    return kind, [stacked[0].T[None], stacked[1].T[None], np.concatenate(stacked[2:])[None]], attributes, states


def other_product(body: Body, taken: set[str], shape: tuple[int, int]) -> Product | None:
    """The one product with a matrix of that shape whose data is neither the step's input nor the state."""
    data = {body.source(node.input[0]) for node in body.graph.node if node.op_type in ("MatMul", "Gemm")} - taken
    found = [product for name in data for product in body.products(name) if product.weights.shape == shape]
    return found[0] if len(found) == 1 else None


def results(body: Body, states: list[int]) -> dict[str, str]:
    """Name of a result of the Loop → `steps`, `h` or `c`."""
    carried = len(body.node.input) - 2
    inner = {body.source(body.graph.output[place - 1].name): role for place, role in zip(states, "hc", strict=False)}
    found = {}
    for index, name in enumerate(body.node.output):
        role = inner.get(body.source(body.graph.output[1 + index].name))
        if name and role and (index < carried or role == "h"):
            found[name] = role if index < carried else "steps"
    return found


def written(node: NodeProto, series: str, kind: str, tensors: list[Array], attributes: dict[str, Any], states: list[int], outputs: Mapping[str, str]) -> Found:
    """The recurrent node between what adds and drops ONNX's axis of directions."""
    base = f"{title(node)}/"
    stored = [numpy_helper.from_array(np.ascontiguousarray(values, np.float32), f"{base}{role}") for values, role in zip(tensors, "WRB", strict=True)]
    stored += [numpy_helper.from_array(np.asarray([axis], np.int64), f"{base}axis{axis}") for axis in (0, 1)]
    roles = dict(zip("hc", states, strict=False))
    nodes = [helper.make_node("Unsqueeze", [node.input[place], f"{base}axis0"], [f"{base}{role}0"]) for role, place in roles.items()]
    raw = [f"{base}Y", *(f"{base}Y_{role}" for role in roles)]
    inputs = [series, *(f"{base}{role}" for role in "WRB"), "", *(f"{base}{role}0" for role in roles)]
    nodes.append(helper.make_node(kind, inputs, raw, name=title(node), **attributes))
    for name, role in outputs.items():
        nodes.append(helper.make_node("Squeeze", [raw[0], f"{base}axis1"] if role == "steps" else [f"{base}Y_{role}", f"{base}axis0"], [name]))
    return nodes, stored


def proved(
    node: NodeProto, body: Body, series: str, shapes: Mapping[str, list[int]], states: list[int], made: Found, outputs: Mapping[str, str], turns: int
) -> bool:
    """Whether Loop and layer give the same from random inputs and states, over a few turns."""
    from onnx.reference import ReferenceEvaluator

    draw = np.random.default_rng(0)
    feeds = {series: draw.normal(size=[min(turns, PROOF_TURNS), *shapes[series][1:]]).astype(np.float32)}
    feeds |= {node.input[place]: draw.normal(size=shapes[node.input[place]]).astype(np.float32) for place in states}
    steps, constants_of_steps = unrolled(node, min(turns, PROOF_TURNS))
    known = [tensor for name, tensor in body.known.items() if name not in feeds]
    found = []
    for nodes, stored in ((steps, [*known, *constants_of_steps]), made):
        graph = GraphProto(node=nodes, name="proof", initializer=stored)
        graph.input.extend(helper.make_empty_tensor_value_info(name) for name in feeds)
        graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
        try:
            evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", body.version)]))
            found.append([np.asarray(values, np.float64) for values in evaluator.run(None, feeds)])
        except Exception:  # noqa: BLE001  numpy code for 200 operators: whatever it raises, nothing is proved
            return False
    return bool(outputs) and all(
        left.shape == right.shape and np.abs(left - right).max() <= TOLERANCE * max(np.abs(left).max(), 1e-3) for left, right in zip(*found, strict=True)
    )
