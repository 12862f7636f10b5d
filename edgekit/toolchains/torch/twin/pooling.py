"""Pools in, torch.nn.functional's pools out; padding that differs from side to side is a pad before."""

from __future__ import annotations

import torch
from onnx import NodeProto
from torch.nn import functional as F

from edgekit.hub.graph import attribute
from edgekit.toolchains.torch.twin.build import Build, Value, refusal
from edgekit.toolchains.torch.twin.convolution import padding, sizes

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def window(node: NodeProto, x: Value) -> tuple[int, list[int], list[int], list[int], list[int], list[int]]:
    """Axes of the image, kernel, strides, dilations, pixels before and after; those that `ceil_mode` asks for at the end are in."""
    kernel = list(attribute(node, "kernel_shape"))
    rank = len(kernel)
    if rank not in MAX:
        raise refusal(node, f"PyTorch has pools of 1 to 3 axes, not of {rank}")
    strides, dilations = sizes(node, "strides", rank), sizes(node, "dilations", rank)
    begin, end = padding(node, x.shape[2:], kernel, strides, dilations)
    return rank, kernel, strides, dilations, begin, end


def lengthened(node: NodeProto, x: Value) -> list[int]:
    """Pixels that `ceil_mode` needs after the end of each axis; a window that would start in the padding is left out."""
    rank, kernel, strides, dilations, begin, end = window(node, x)
    more = [0] * rank
    if attribute(node, "ceil_mode", 0):
        for axis, n in enumerate(x.shape[2:]):
            reach = (kernel[axis] - 1) * dilations[axis] + 1
            count = -(-(n + begin[axis] + end[axis] - reach) // strides[axis]) + 1
            if (count - 1) * strides[axis] >= n + begin[axis]:
                count -= 1
            more[axis] = max((count - 1) * strides[axis] + reach - n - begin[axis] - end[axis], 0)
    return more


def max_pool(build: Build, node: NodeProto) -> Value:
    x = build.of(node.input[0])
    rank, kernel, strides, dilations, begin, end = window(node, x)
    end = [e + more for e, more in zip(end, lengthened(node, x), strict=True)]
    if begin == end and all(2 * b <= k for b, k in zip(begin, kernel, strict=True)):
        return build.call(MAX[rank], x, kernel, stride=strides, padding=begin, dilation=dilations)
    return build.call(MAX[rank], filled(build, x, begin, end, float("-inf")), kernel, stride=strides, dilation=dilations)


def average_pool(build: Build, node: NodeProto) -> Value:
    x = build.of(node.input[0])
    rank, kernel, strides, dilations, begin, end = window(node, x)
    if any(d > 1 for d in dilations):
        raise refusal(node, "PyTorch's average pools have no dilations")
    more, counted = lengthened(node, x), bool(attribute(node, "count_include_pad", 0))
    if begin == end and not any(more) and all(2 * b <= k for b, k in zip(begin, kernel, strict=True)):
        return build.call(AVERAGE[rank], x, kernel, stride=strides, padding=begin, count_include_pad=counted)
    # What is counted is 1: the pixels of the image, with the padding where that counts, never what ceil_mode adds.
    ones = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype)
    ones = F.pad(ones, sides(begin, end), value=float(counted))
    share = AVERAGE[rank](F.pad(ones, sides([0] * rank, more)), kernel, stride=strides)
    end = [e + m for e, m in zip(end, more, strict=True)]
    means = build.call(AVERAGE[rank], filled(build, x, begin, end, 0.0), kernel, stride=strides)
    return build.call(torch.div, means, build.hold(share.numpy()))


def global_average(build: Build, node: NodeProto) -> Value:
    x = build.of(node.input[0])
    return build.call(torch.mean, x, list(range(2, len(x.shape))), True)


def global_max(build: Build, node: NodeProto) -> Value:
    x = build.of(node.input[0])
    return build.call(torch.amax, x, list(range(2, len(x.shape))), True)


def sides(begin: list[int], end: list[int]) -> list[int]:
    """Padding in PyTorch's order: the last axis first."""
    return [side for b, e in reversed(list(zip(begin, end, strict=True))) for side in (b, e)]


def filled(build: Build, x: Value, begin: list[int], end: list[int], value: float) -> Value:
    return build.call(F.pad, x, sides(begin, end), value=value)


OPERATORS = {"MaxPool": max_pool, "AveragePool": average_pool, "GlobalAveragePool": global_average, "GlobalMaxPool": global_max}
