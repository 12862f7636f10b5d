"""Arithmetic, comparisons and logic in, PyTorch's out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from onnx import NodeProto

from edgekit.hub.graph import attribute
from edgekit.toolchains.torch.twin.activations import of_one
from edgekit.toolchains.torch.twin.build import Build, Value, refusal, torch_dtype


def of_two(function: Callable[..., Any]) -> Callable[[Build, NodeProto], Value]:
    return lambda build, node: build.call(function, *build.all(node))


def of_several(function: Callable[..., Any]) -> Callable[[Build, NodeProto], Value]:
    return lambda build, node: functools.reduce(lambda a, b: build.call(function, a, b), build.all(node))


def divide(build: Build, node: NodeProto) -> Value:
    a, b = build.all(node)
    return build.call(torch.div, a, b, rounding_mode=None if a.dtype.is_floating_point else "trunc")


def mean(build: Build, node: NodeProto) -> Value:
    return build.call(torch.div, of_several(torch.add)(build, node), len(node.input))


def power(build: Build, node: NodeProto) -> Value:
    x, exponent = build.all(node)
    if not x.dtype.is_floating_point:
        raise refusal(node, "powers of integers are no floats")
    if build.is_fixed(node, 1) and build.stored[node.input[1]].dims in ([], [1]) and len(x.shape) >= len(exponent.shape):
        return build.call(torch.pow, x, build.fixed(node, 1).item())  # type: ignore[union-attr]  # it is fixed
    return build.call(torch.pow, x, exponent if exponent.dtype == x.dtype else build.call(torch.Tensor.to, exponent, x.dtype))


def modulo(build: Build, node: NodeProto) -> Value:
    return build.call(torch.fmod if attribute(node, "fmod", 0) else torch.remainder, *build.all(node))


def cast(build: Build, node: NodeProto) -> Value:
    return build.call(torch.Tensor.to, build.of(node.input[0]), torch_dtype(attribute(node, "to")))


def is_infinite(build: Build, node: NodeProto) -> Value:
    x = build.of(node.input[0])
    positive, negative = attribute(node, "detect_positive", 1), attribute(node, "detect_negative", 1)
    if positive and negative:
        return build.call(torch.isinf, x)
    return build.call(torch.eq, x, float("inf") if positive else float("-inf")) if positive or negative else build.call(torch.zeros_like, x, dtype=torch.bool)


OPERATORS: dict[str, Any] = {
    "Add": of_two(torch.add),
    "Sub": of_two(torch.sub),
    "Mul": of_two(torch.mul),
    "Div": divide,
    "Pow": power,
    "Mod": modulo,
    "Sum": of_several(torch.add),
    "Mean": mean,
    "Max": of_several(torch.maximum),
    "Min": of_several(torch.minimum),
    "Cast": cast,
    "IsInf": is_infinite,
    "Equal": of_two(torch.eq),
    "Greater": of_two(torch.gt),
    "GreaterOrEqual": of_two(torch.ge),
    "Less": of_two(torch.lt),
    "LessOrEqual": of_two(torch.le),
    "And": of_two(torch.logical_and),
    "Or": of_two(torch.logical_or),
    "Xor": of_two(torch.logical_xor),
    "Not": of_one(torch.logical_not),
    **{
        name: of_one(function)
        for name, function in {
            "Abs": torch.abs, "Neg": torch.neg, "Sign": torch.sign, "Exp": torch.exp, "Log": torch.log, "Sqrt": torch.sqrt, "Reciprocal": torch.reciprocal,
            "Floor": torch.floor, "Ceil": torch.ceil, "Round": torch.round, "Erf": torch.erf, "IsNaN": torch.isnan,
            "Sin": torch.sin, "Cos": torch.cos, "Tan": torch.tan, "Asin": torch.asin, "Acos": torch.acos, "Atan": torch.atan,
            "Sinh": torch.sinh, "Cosh": torch.cosh, "Asinh": torch.asinh, "Acosh": torch.acosh, "Atanh": torch.atanh,
        }.items()
    },
}  # fmt: skip
