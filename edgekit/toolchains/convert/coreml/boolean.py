"""Comparisons, logic and operations on bits: two tensors in, bool or integers of the broadcast shape out.

MIL has no operations on bits: they are taken apart along a last axis of powers of two, combined as numbers and put together again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from coremltools.converters.mil import Builder as mb
from onnx import TensorProto

from edgekit.toolchains.convert.coreml.node import NARROW, Lowering, Node, Var, cast, is_bool, like, reshaped, select, wrap


def compare(operation: Callable[..., Var]) -> Lowering:
    def lower(node: Node) -> Var:
        x, y = node.input(0), node.input(1)
        return operation(x=cast(x, "int32"), y=cast(y, "int32")) if is_bool(x) else operation(x=x, y=y)

    return lower


def logic(operation: Callable[..., Var]) -> Lowering:
    return lambda node: operation(x=node.input(0), y=node.input(1))


def is_nan(node: Node) -> Var:
    """NaN alone differs from itself."""
    x = node.input(0)
    return mb.not_equal(x=x, y=x)


def is_inf(node: Node) -> Var:
    x = node.input(0)
    positive, negative = (node.attribute(f"detect_{side}", 1) for side in ("positive", "negative"))
    if positive and negative:
        return mb.equal(x=mb.abs(x=x), y=like(x, np.inf))
    if not positive and not negative:
        return mb.less(x=mb.abs(x=x), y=like(x, 0))
    return mb.equal(x=x, y=like(x, np.inf if positive else -np.inf))


def bits_of(x: Var, n: int) -> Var:
    """The n lowest bits of x (two's complement) as 0 and 1 along a new last axis; bit 31 is the sign."""
    shape = [int(size) for size in x.shape]
    column = reshaped(x, [*shape, 1])
    powers = np.array([1 << k for k in range(min(n, 31))], np.int32).reshape([1] * len(shape) + [-1])
    bits = mb.mod(x=mb.floor_div(x=column, y=powers), y=np.int32(2))
    if n < 32:
        return bits
    return mb.concat(values=[bits, cast(mb.less(x=column, y=np.int32(0)), "int32")], axis=len(shape))


def number_of(bits: Var, elem_type: int) -> Var:
    """What those bits say in an element type."""
    n, signed = NARROW.get(elem_type, (32, True))
    weights = np.array([1 << k for k in range(n)], np.int64)
    if signed:
        weights[-1] = -weights[-1]
    rank = len(bits.shape)
    return mb.reduce_sum(x=mb.mul(x=bits, y=weights.astype(np.int32).reshape([1] * (rank - 1) + [-1])), axes=[rank - 1], keep_dims=False)


def bitwise(combine: Callable[[Var, Var], Var]) -> Lowering:
    def lower(node: Node) -> Var:
        elem_type, shape = node.made_dtype(), node.made_shape()
        n = NARROW.get(elem_type, (32, True))[0]
        rank = len(shape)
        if rank >= 5:
            node.refuse("its tensors have 5 axes, and operations on bits need one more; reshape around it")
        sides = [bits_of(reshaped(x, [1] * (rank - len(x.shape)) + [int(d) for d in x.shape]), n) for x in node.inputs()]
        return number_of(combine(*sides), elem_type)

    return lower


def bitwise_not(node: Node) -> Var:
    """-1 - x in two's complement; the largest value - x where there is no sign."""
    x, elem_type = node.input(0), node.made_dtype()
    if elem_type in (TensorProto.UINT32, TensorProto.UINT64):
        node.refuse("it gives integers above 2^31, which Core ML does not have; use a signed or a narrower dtype")
    bits, signed = NARROW.get(elem_type, (32, True))
    return mb.sub(x=np.int32(-1 if signed else (1 << bits) - 1), y=x)


def bit_shift(node: Node) -> Var:
    """As a product or quotient with a power of two; the places are brought into 0 to 32; a negative number shifts everything out too."""
    x, y, elem_type = node.input(0), node.input(1), node.made_dtype()
    places = mb.minimum(x=select(mb.less(x=y, y=np.int32(0)), a=np.int32(32), b=y), y=np.int32(32))
    if node.attribute("direction") == "RIGHT":
        first = mb.floor_div(x=x, y=power(mb.minimum(x=places, y=np.int32(30))))
        return mb.floor_div(x=first, y=power(mb.maximum(x=mb.sub(x=places, y=np.int32(30)), y=np.int32(0))))
    first = mb.mul(x=x, y=power(mb.minimum(x=places, y=np.int32(16))))
    return wrap(mb.mul(x=first, y=power(mb.maximum(x=mb.sub(x=places, y=np.int32(16)), y=np.int32(0)))), elem_type)


def power(places: Var) -> Var:
    """2 to the power of 0 to 30."""
    return mb.gather(x=np.array([1 << k for k in range(31)], np.int32), indices=places, axis=0)


def both(a: Var, b: Var) -> Var:
    return mb.mul(x=a, y=b)


def either(a: Var, b: Var) -> Var:
    return mb.maximum(x=a, y=b)


def one_of(a: Var, b: Var) -> Var:
    return cast(mb.not_equal(x=a, y=b), "int32")


OPS: dict[str, Lowering] = {
    "And": logic(mb.logical_and),
    "BitShift": bit_shift,
    "BitwiseAnd": bitwise(both),
    "BitwiseNot": bitwise_not,
    "BitwiseOr": bitwise(either),
    "BitwiseXor": bitwise(one_of),
    "Equal": compare(mb.equal),
    "Greater": compare(mb.greater),
    "GreaterOrEqual": compare(mb.greater_equal),
    "IsInf": is_inf,
    "IsNaN": is_nan,
    "Less": compare(mb.less),
    "LessOrEqual": compare(mb.less_equal),
    "Not": lambda node: mb.logical_not(x=node.input(0)),
    "Or": logic(mb.logical_or),
    "Xor": logic(mb.logical_xor),
}
