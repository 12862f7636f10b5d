"""Operators of TFLite that work element by element in, ONNX's out. Images that are at hand with channels first stay so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from edgekit.toolchains.convert.from_tflite.graph import Graph, Op, Rule, activation

Write = Callable[[Graph, Op, list[str]], str]


def apart(write: Write) -> Rule:
    """A rule that writes an operator on channels-first images where all of its inputs are at hand so, or are constants."""

    def rule(graph: Graph, op: Op) -> str:
        if len(op.shape) == 4 and any(name in graph.first for name in op.inputs):
            turned = [first(graph, name, shape) for name, shape in zip(op.inputs, op.shapes, strict=True)]
            if None not in turned:
                return graph.channels_last(write(graph, op, [name for name in turned if name is not None]))
        return write(graph, op, list(op.inputs))

    return rule


def first(graph: Graph, name: str, shape: tuple[int, ...]) -> str | None:
    """The tensor with channels first, as it broadcasts against an image; None where that would take a transpose."""
    if name in graph.first:
        return graph.first[name]
    if name not in graph.values:
        return None
    values = graph.values[name]
    if values.size == 1:
        return name if values.ndim == 0 else graph.constant(values.reshape(()), hint=name)
    return graph.constant(values.reshape((1,) * (4 - len(shape)) + shape).transpose(0, 3, 1, 2), hint=name)


def plain(op_type: str, **attributes: object) -> Rule:
    """One node of ONNX, with TFLite's fused activation behind it."""
    return apart(lambda graph, op, names: graph.fused(graph.node(op_type, names, **attributes), op))


def number(graph: Graph, value: float, op: Op) -> str:
    return graph.constant(value, op.output_dtypes[0])


def squared_difference(graph: Graph, op: Op, names: list[str]) -> str:
    difference = graph.node("Sub", names)
    return graph.node("Mul", [difference, difference])


def floor_div(graph: Graph, op: Op, names: list[str]) -> str:
    """Rounded towards minus infinity; ONNX divides integers towards zero, but its Mod takes the sign of the divisor."""
    if op.output_dtypes[0].kind == "f":
        return graph.node("Floor", [graph.node("Div", names)])
    return graph.node("Div", [graph.node("Sub", [names[0], graph.node("Mod", names)]), names[1]])


def floor_mod(graph: Graph, op: Op, names: list[str]) -> str:
    """The sign is the divisor's."""
    if op.output_dtypes[0].kind != "f":
        return graph.node("Mod", names)
    return graph.node("Sub", [names[0], graph.node("Mul", [graph.node("Floor", [graph.node("Div", names)]), names[1]])])


def gelu(graph: Graph, op: Op, names: list[str]) -> str:
    """x Φ(x), by erf or by tanh (Hendrycks and Gimpel 2016)."""
    (x,) = names
    if op.option("approximate", False):
        cube = graph.node("Mul", [graph.node("Mul", [x, x]), x])
        inner = graph.node("Add", [x, graph.node("Mul", [cube, number(graph, 0.044715, op)])])
        shape = graph.node("Tanh", [graph.node("Mul", [inner, number(graph, math.sqrt(2 / math.pi), op)])])
    else:
        shape = graph.node("Erf", [graph.node("Mul", [x, number(graph, math.sqrt(0.5), op)])])
    half = graph.node("Mul", [x, number(graph, 0.5, op)])
    return graph.node("Mul", [half, graph.node("Add", [shape, number(graph, 1, op)])])


def select(graph: Graph, op: Op) -> str | list[str]:
    """SELECT and SELECT_V2; the first takes a row of conditions along axis 0 of what it selects from."""
    condition = op.inputs[0]
    rank = len(op.shape)
    if op.kind == "SELECT" and len(op.shapes[0]) == 1 and rank > 1:
        condition = graph.reshape(condition, [op.shapes[0][0], *[1] * (rank - 1)])
        return graph.node("Where", [condition, *op.inputs[1:]])
    return apart(lambda graph, _, names: graph.node("Where", names))(graph, op)


def cast(graph: Graph, op: Op, names: list[str]) -> str:
    return graph.cast(names[0], op.output_dtypes[0])


def add_n(graph: Graph, op: Op, names: list[str]) -> str:
    total = names[0]
    for name in names[1:]:
        total = graph.node("Add", [total, name])
    return total


def clipped(graph: Graph, op: Op, names: list[str]) -> str:
    return activation(graph, names[0], op.kind)


def square(graph: Graph, op: Op, names: list[str]) -> str:
    return graph.node("Mul", [names[0], names[0]])


NAMED = {
    "ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div", "MAXIMUM": "Max", "MINIMUM": "Min", "POW": "Pow", "PRELU": "PRelu",
    "ABS": "Abs", "NEG": "Neg", "EXP": "Exp", "LOG": "Log", "SQRT": "Sqrt", "SIN": "Sin", "COS": "Cos", "FLOOR": "Floor", "CEIL": "Ceil",
    "ROUND": "Round", "SIGN": "Sign", "LOGISTIC": "Sigmoid", "ELU": "Elu", "HARD_SWISH": "HardSwish",
    "EQUAL": "Equal", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual", "LESS": "Less", "LESS_EQUAL": "LessOrEqual",
    "LOGICAL_AND": "And", "LOGICAL_OR": "Or", "LOGICAL_NOT": "Not",
}  # fmt: skip
"""Operators that mean the same in both; Round takes halves to even in both."""

RULES: Mapping[str, Rule] = {
    **{kind: plain(op_type) for kind, op_type in NAMED.items()},
    **{kind: apart(clipped) for kind in ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "TANH")},
    "LEAKY_RELU": apart(lambda graph, op, names: graph.node("LeakyRelu", names, alpha=float(op.option("alpha")))),
    "RSQRT": apart(lambda graph, op, names: graph.node("Div", [number(graph, 1, op), graph.node("Sqrt", names)])),
    "SQUARE": apart(square),
    "SQUARED_DIFFERENCE": apart(squared_difference),
    "FLOOR_DIV": apart(floor_div),
    "FLOOR_MOD": apart(floor_mod),
    "NOT_EQUAL": apart(lambda graph, op, names: graph.node("Not", [graph.node("Equal", names)])),
    "GELU": apart(gelu),
    "SELECT": select,
    "SELECT_V2": select,
    "CAST": apart(cast),
    "ADD_N": apart(add_n),
}
