"""Reductions, ArgMax, TopK and CumSum in, PyTorch's out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnx import NodeProto

from edgekit.hub.graph import attribute
from edgekit.toolchains.torch.twin.build import Build, Value


def of_axes(function: Callable[[Any, list[int], bool], Any]) -> Callable[[Build, NodeProto], Value]:
    """`function(x, axes, keepdims)`; the axes are stored or, before opset 18, an attribute."""

    def reduce(build: Build, node: NodeProto) -> Value:
        x, given = build.of(node.input[0]), build.fixed(node, 1)
        axes = list(attribute(node, "axes") or []) if given is None else [int(axis) for axis in given.ravel()]
        if not axes and attribute(node, "noop_with_empty_axes", 0):
            return build.call(function, build.call(torch.unsqueeze, x, 0), [0], False)
        axes = axes or list(range(len(x.shape)))
        return (
            build.call(function, x, axes, bool(attribute(node, "keepdims", 1)))
            if x.shape
            else build.call(function, build.call(torch.reshape, x, [1]), [0], False)
        )

    return reduce


def product(x: Any, axes: list[int], keep: bool) -> Any:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keep)
    return x


def total(x: Any, axes: list[int], keep: bool) -> Any:
    return torch.sum(x, axes, keep, dtype=x.dtype)


def mean(x: Any, axes: list[int], keep: bool) -> Any:
    if x.dtype.is_floating_point:
        return torch.mean(x, axes, keep)
    summed = torch.sum(x, axes, keep, dtype=x.dtype)
    return torch.div(summed, x.numel() // max(summed.numel(), 1), rounding_mode="trunc")


def first_norm(x: Any, axes: list[int], keep: bool) -> Any:
    return total(torch.abs(x), axes, keep)


def second_norm(x: Any, axes: list[int], keep: bool) -> Any:
    return torch.sqrt(total(x * x, axes, keep)) if not x.dtype.is_floating_point else torch.linalg.vector_norm(x, 2, axes, keep)


def squares(x: Any, axes: list[int], keep: bool) -> Any:
    return total(x * x, axes, keep)


def log_sum(x: Any, axes: list[int], keep: bool) -> Any:
    return torch.log(total(x, axes, keep))


def extremes(function: Callable[..., Any]) -> Callable[[Build, NodeProto], Value]:
    def of_bool(x: Any, axes: list[int], keep: bool) -> Any:
        return function(x.to(torch.uint8), axes, keep).to(torch.bool) if x.dtype == torch.bool else function(x, axes, keep)

    return of_axes(of_bool)


def arg(largest: bool) -> Callable[[Build, NodeProto], Value]:
    def place(build: Build, node: NodeProto) -> Value:
        found = last if attribute(node, "select_last_index", 0) else first
        return build.call(found, build.of(node.input[0]), largest, attribute(node, "axis", 0), bool(attribute(node, "keepdims", 1)))

    return place


def first(x: Any, largest: bool, axis: int, keep: bool) -> Any:
    """torch.argmax may give any of several that are equal: the first is the largest mark in a falling sequence."""
    best = (torch.amax if largest else torch.amin)(x, axis, keepdim=True)
    marks = torch.arange(x.shape[axis], 0, -1, device=x.device).reshape([-1 if one == axis % x.dim() else 1 for one in range(x.dim())])
    return torch.argmax((x == best).to(torch.int64) * marks, axis, keepdim=keep)


def last(x: Any, largest: bool, axis: int, keep: bool) -> Any:
    return x.shape[axis] - 1 - first(torch.flip(x, [axis]), largest, axis, keep)


def top_k(build: Build, node: NodeProto) -> list[Value]:
    count = int(build.fixed(node, 1).item())  # type: ignore[union-attr]  # an input that is never left out
    axis, largest = attribute(node, "axis", -1), bool(attribute(node, "largest", 1))
    found = build.call(sorted_first, build.of(node.input[0]), count, axis, largest)
    return [build.call(take, found, 0), build.call(take, found, 1)]


def sorted_first(x: Any, count: int, axis: int, largest: bool) -> Any:
    """Of several that are equal the one with the lower index comes first, as ONNX says."""
    values, places = torch.sort(x, dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


def take(results: Any, index: int) -> Any:
    return results[index]


def cumulative(build: Build, node: NodeProto) -> Value:
    axis = int(build.fixed(node, 1).item())  # type: ignore[union-attr]  # an input that is never left out
    return build.call(running_sum, build.of(node.input[0]), axis, bool(attribute(node, "exclusive", 0)), bool(attribute(node, "reverse", 0)))


def running_sum(x: Any, axis: int, exclusive: bool, reverse: bool) -> Any:
    x = torch.flip(x, [axis]) if reverse else x
    found = torch.cumsum(x, axis, dtype=x.dtype)
    found = found - x if exclusive else found
    return torch.flip(found, [axis]) if reverse else found


def hardmax(build: Build, node: NodeProto) -> Value:
    return build.call(one_of, build.of(node.input[0]), attribute(node, "axis", -1))


def one_of(x: Any, axis: int) -> Any:
    return torch.zeros_like(x).scatter(axis, first(x, True, axis, True), 1.0)


OPERATORS: dict[str, Any] = {
    "ReduceSum": of_axes(total),
    "ReduceMean": of_axes(mean),
    "ReduceProd": of_axes(product),
    "ReduceMax": extremes(torch.amax),
    "ReduceMin": extremes(torch.amin),
    "ReduceL1": of_axes(first_norm),
    "ReduceL2": of_axes(second_norm),
    "ReduceSumSquare": of_axes(squares),
    "ReduceLogSum": of_axes(log_sum),
    "ReduceLogSumExp": of_axes(torch.logsumexp),
    "ArgMax": arg(True),
    "ArgMin": arg(False),
    "TopK": top_k,
    "CumSum": cumulative,
    "Hardmax": hardmax,
}
