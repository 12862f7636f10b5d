"""Reductions, cumulative sums and products: a tensor and stored axes in, a tensor out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.node import Lowering, Node, Var, cast, is_bool, is_float, like, wrap


def axes_of(node: Node) -> list[int]:
    """The axes of a reduction, from its second input or its attribute; all where neither is given, and none where that means none."""
    found = node.ints(1, "axes") if node.given(1) else [int(a) for a in node.attribute("axes") or []]
    rank = len(node.shape(0))
    if not found:
        return [] if node.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return sorted(a % rank for a in found)


def reduction(operation: Callable[..., Var], alone: Callable[[Var], Var] = lambda x: mb.identity(x=x)) -> Lowering:
    """`alone` is what the reduction makes of each element where no axis is reduced."""

    def lower(node: Node) -> Var:
        x, axes = node.input(0), axes_of(node)
        if not axes:
            return alone(x)
        number = cast(x, "int32") if is_bool(x) else x
        made = operation(x=number, axes=axes, keep_dims=bool(node.attribute("keepdims", 1)))
        return cast(made, "bool") if is_bool(x) else wrap(made, node.made_dtype())

    return lower


def in_float(operation: Callable[..., Var]) -> Callable[..., Var]:
    """An operation that MIL has for floats, for integers too (as far as float32 counts)."""

    def lower(x: Var, axes: list[int], keep_dims: bool) -> Var:
        return operation(x=x, axes=axes, keep_dims=keep_dims) if is_float(x) else cast(operation(x=cast(x, "fp32"), axes=axes, keep_dims=keep_dims), "int32")

    return lower


def cumulative_sum(node: Node) -> Var:
    x = node.input(0)
    axis = node.ints(1, "axis")[0] % len(x.shape)
    exclusive, reverse = bool(node.attribute("exclusive", 0)), bool(node.attribute("reverse", 0))
    return wrap(mb.cumsum(x=x, axis=axis, exclusive=exclusive, reverse=reverse), node.made_dtype())


def cumulative_product(node: Node) -> Var:
    """By doubling: after step d each element holds the product of 2d elements (Hillis and Steele, 1986)."""
    x = node.input(0)
    axis = node.ints(1, "axis")[0] % len(x.shape)
    backwards = bool(node.attribute("reverse", 0))
    n, shape = int(x.shape[axis]), [int(d) for d in x.shape]

    def shifted(y: Var, by: int) -> Var:
        """y moved on by some places, ones moved in."""
        ones = like(y, np.ones([by if i == axis else d for i, d in enumerate(shape)]))
        if by >= n:
            return ones
        size = [n - by if i == axis else d for i, d in enumerate(shape)]
        return mb.concat(values=[ones, mb.slice_by_size(x=y, begin=[0] * len(shape), size=size)], axis=axis)

    y = mb.reverse(x=x, axes=[axis]) if backwards else x
    y = shifted(y, 1) if node.attribute("exclusive", 0) else y
    by = 1
    while by < n:
        y = mb.mul(x=y, y=shifted(y, by))
        by *= 2
    return wrap(mb.reverse(x=y, axes=[axis]) if backwards else y, node.made_dtype())


def global_pool(operation: Callable[..., Var]) -> Lowering:
    """Over all axes but the first two, which stay."""
    return lambda node: operation(x=node.input(0), axes=list(range(2, len(node.shape(0)))), keep_dims=True)


def global_lp_pool(node: Node) -> Var:
    x, p = node.input(0), node.attribute("p", 2)
    axes = list(range(2, len(x.shape)))
    if p in (1, 2):
        return (mb.reduce_l1_norm if p == 1 else mb.reduce_l2_norm)(x=x, axes=axes, keep_dims=True)
    total = mb.reduce_sum(x=mb.pow(x=mb.abs(x=x), y=like(x, p)), axes=axes, keep_dims=True)
    return mb.pow(x=total, y=like(x, 1 / p))


OPS: dict[str, Lowering] = {
    "CumProd": cumulative_product,
    "CumSum": cumulative_sum,
    "GlobalAveragePool": global_pool(mb.reduce_mean),
    "GlobalLpPool": global_lp_pool,
    "GlobalMaxPool": global_pool(mb.reduce_max),
    "ReduceL1": reduction(mb.reduce_l1_norm, lambda x: mb.abs(x=x)),
    "ReduceL2": reduction(in_float(mb.reduce_l2_norm), lambda x: mb.abs(x=x)),
    "ReduceLogSum": reduction(in_float(mb.reduce_log_sum), lambda x: mb.log(x=x)),
    "ReduceLogSumExp": reduction(in_float(mb.reduce_log_sum_exp)),
    "ReduceMax": reduction(mb.reduce_max),
    "ReduceMean": reduction(in_float(mb.reduce_mean)),
    "ReduceMin": reduction(mb.reduce_min),
    "ReduceProd": reduction(mb.reduce_prod),
    "ReduceSum": reduction(mb.reduce_sum),
    "ReduceSumSquare": reduction(mb.reduce_sum_square, lambda x: mb.mul(x=x, y=x)),
}
