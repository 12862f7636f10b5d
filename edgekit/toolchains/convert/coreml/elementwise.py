"""Arithmetic, mathematical functions, Min, Max, Clip and Where: two tensors (or more) in, one of the broadcast shape out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from coremltools.converters.mil import Builder as mb
from onnx import TensorProto

from edgekit.toolchains.convert.coreml.node import Lowering, Node, Var, cast, cast_like, is_bool, is_float, like, numpy_dtype, select, wrap


def unary(operation: Callable[..., Var]) -> Lowering:
    return lambda node: operation(x=node.input(0))


def arithmetic(operation: Callable[..., Var]) -> Lowering:
    """Two tensors of one dtype; narrow integers wrap around."""
    return lambda node: wrap(operation(x=node.input(0), y=node.input(1)), node.made_dtype())


def folded(operation: Callable[..., Var]) -> Lowering:
    """Any number of tensors, one after the other."""

    def lower(node: Node) -> Var:
        first, *rest = node.inputs()
        for term in rest:
            first = operation(x=first, y=term)
        return wrap(first, node.made_dtype())

    return lower


def mean(node: Node) -> Var:
    terms = node.inputs()
    together = terms[0]
    for term in terms[1:]:
        together = mb.add(x=together, y=term)
    return mb.mul(x=together, y=like(together, 1 / len(terms)))


def negative(node: Node) -> Var:
    x = node.input(0)
    return wrap(mb.mul(x=x, y=like(x, -1)), node.made_dtype())


def absolute(node: Node) -> Var:
    return wrap(mb.abs(x=node.input(0)), node.made_dtype())


def divide(node: Node) -> Var:
    """Division; of integers, towards zero."""
    x, y = node.input(0), node.input(1)
    if is_float(x):
        return mb.real_div(x=x, y=y)
    if node.dtype(0) in (TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64):
        return mb.floor_div(x=x, y=y)
    whole = mb.floor_div(x=mb.abs(x=x), y=mb.abs(x=y))
    return wrap(mb.mul(x=whole, y=mb.mul(x=mb.sign(x=x), y=mb.sign(x=y))), node.made_dtype())


def reciprocal(node: Node) -> Var:
    """1 / x; MIL's own `inverse` adds an epsilon of 1e-4 to x."""
    x = node.input(0)
    return mb.real_div(x=like(x, 1), y=x)


def mod(node: Node) -> Var:
    """`fmod=1` has the sign of the dividend, MIL's mod that of the divisor."""
    x, y = node.input(0), node.input(1)
    if not node.attribute("fmod", 0):
        return mb.mod(x=x, y=y)
    return mb.mul(x=mb.mod(x=mb.abs(x=x), y=mb.abs(x=y)), y=mb.sign(x=x))


def power(node: Node) -> Var:
    """Base and exponent may differ in dtype; the result has the base's."""
    x, y = node.input(0), node.input(1)
    exponent = node.value(1)
    if exponent is not None and exponent.size == 1 and (is_float(x) or exponent.dtype.kind in "iu"):
        if exponent.item() == 2:
            return wrap(mb.square(x=x) if is_float(x) else mb.mul(x=x, y=x), node.made_dtype())
        if exponent.ndim <= len(x.shape):
            return wrap(mb.pow(x=x, y=like(x, exponent.item())), node.made_dtype())
    if is_float(x):
        return mb.pow(x=x, y=cast_like(y, x))
    if is_float(y):
        return wrap(cast(mb.pow(x=cast(x, "fp32"), y=cast(y, "fp32")), "int32"), node.made_dtype())
    return wrap(mb.pow(x=x, y=y), node.made_dtype())


def clip(node: Node) -> Var:
    """min(max(x, low), high); stored limits of floats in one operation."""
    x = node.input(0)
    low, high = node.value(1), node.value(2)
    stored = all(value is not None for index, value in ((1, low), (2, high)) if node.given(index))
    if is_float(x) and stored:
        limits = np.finfo(numpy_dtype(x))
        alpha = limits.min if low is None else max(float(low.item()), float(limits.min))
        beta = limits.max if high is None else min(float(high.item()), float(limits.max))
        if low is None and high is None:
            return mb.identity(x=x)
        if alpha < beta:
            if low is None:
                return mb.minimum(x=x, y=like(x, beta))
            return mb.maximum(x=x, y=like(x, alpha)) if high is None else mb.clip(x=x, alpha=like(x, alpha), beta=like(x, beta))
    if node.given(1):
        x = mb.maximum(x=x, y=node.input(1))
    return mb.minimum(x=x, y=node.input(2)) if node.given(2) else x


def where(node: Node) -> Var:
    condition, a, b = node.inputs()
    if is_bool(a):
        return cast(select(condition, a=cast(a, "int32"), b=cast(b, "int32")), "bool")
    return select(condition, a=a, b=b)


def inverse_hyperbolic_cosine(node: Node) -> Var:
    x = node.input(0)
    root = mb.mul(x=mb.sqrt(x=mb.sub(x=x, y=like(x, 1))), y=mb.sqrt(x=mb.add(x=x, y=like(x, 1))))
    return mb.log(x=mb.add(x=x, y=root))


def inverse_hyperbolic_sine(node: Node) -> Var:
    """sign(x) · log(|x| + √(x² + 1))"""
    x = node.input(0)
    size = mb.abs(x=x)
    root = mb.sqrt(x=mb.add(x=mb.square(x=x), y=like(x, 1)))
    return mb.mul(x=mb.log(x=mb.add(x=size, y=root)), y=mb.sign(x=x))


OPS: dict[str, Lowering] = {
    "Abs": absolute,
    "Acos": unary(mb.acos),
    "Acosh": inverse_hyperbolic_cosine,
    "Add": arithmetic(mb.add),
    "Asin": unary(mb.asin),
    "Asinh": inverse_hyperbolic_sine,
    "Atan": unary(mb.atan),
    "Atanh": unary(mb.atanh),
    "Ceil": unary(mb.ceil),
    "Clip": clip,
    "Cos": unary(mb.cos),
    "Cosh": unary(mb.cosh),
    "Div": divide,
    "Erf": unary(mb.erf),
    "Exp": unary(mb.exp),
    "Floor": unary(mb.floor),
    "Identity": lambda node: mb.identity(x=node.input(0)),
    "Log": unary(mb.log),
    "Max": folded(mb.maximum),
    "Mean": mean,
    "Min": folded(mb.minimum),
    "Mod": mod,
    "Mul": arithmetic(mb.mul),
    "Neg": negative,
    "Pow": power,
    "Reciprocal": reciprocal,
    "Round": unary(mb.round),  # half to even, as ONNX rounds
    "Sign": unary(mb.sign),
    "Sin": unary(mb.sin),
    "Sinh": unary(mb.sinh),
    "Sqrt": unary(mb.sqrt),
    "Sub": arithmetic(mb.sub),
    "Sum": folded(mb.add),
    "Tan": unary(mb.tan),
    "Where": where,
}
