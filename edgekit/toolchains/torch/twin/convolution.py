"""Conv and ConvTranspose in, torch.nn.functional's convolutions out; padding that differs from side to side is a pad before."""

from __future__ import annotations

from typing import Any

import torch
from onnx import NodeProto
from torch.nn import functional as F

from edgekit.hub.graph import attribute
from edgekit.toolchains.torch.twin.build import Build, Value, refusal

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def conv(build: Build, node: NodeProto) -> Value:
    x, weight, bias = build.all(node)[0], build.of(node.input[1]), build.given(node, 2)
    kernel = weight.shape[2:]
    rank = function_rank(node, kernel)
    strides, dilations = sizes(node, "strides", rank), sizes(node, "dilations", rank)
    begin, end = padding(node, x.shape[2:], kernel, strides, dilations)
    x, symmetric = padded(build, x, begin, end)
    return build.call(CONV[rank], x, weight, bias, stride=strides, padding=symmetric, dilation=dilations, groups=attribute(node, "group", 1))


def conv_transpose(build: Build, node: NodeProto) -> Value:
    """ONNX operators, ConvTranspose: output = stride·(input − 1) + output_padding + reach − pads."""
    x, weight, bias = build.all(node)[0], build.of(node.input[1]), build.given(node, 2)
    kernel = weight.shape[2:]
    rank = function_rank(node, kernel)
    strides, dilations, extra = sizes(node, "strides", rank), sizes(node, "dilations", rank), sizes(node, "output_padding", rank, 0)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    full = [s * (n - 1) + e + r for s, n, e, r in zip(strides, x.shape[2:], extra, reach, strict=True)]
    wanted = attribute(node, "output_shape")
    mode = attribute(node, "auto_pad", b"NOTSET").decode()
    if wanted or mode.startswith("SAME"):
        wanted = wanted[-rank:] if wanted else [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
        total = [f - w for f, w in zip(full, wanted, strict=True)]
        small = [t // 2 for t in total]
        large = [t - s for t, s in zip(total, small, strict=True)]
        begin, end = (small, large) if mode == "SAME_UPPER" else (large, small)
    else:
        pads = attribute(node, "pads") or [0] * 2 * rank
        begin, end = pads[:rank], pads[rank:]
    if mode == "VALID":
        begin, end = [0] * rank, [0] * rank
    groups = attribute(node, "group", 1)
    plain = begin == end and all(b >= 0 for b in begin) and all(e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True))
    if plain:
        return build.call(TRANSPOSED[rank], x, weight, bias, stride=strides, padding=list(begin), output_padding=extra, groups=groups, dilation=dilations)
    whole = build.call(TRANSPOSED[rank], x, weight, None, stride=strides, groups=groups, dilation=dilations)
    # The whole result, then cut at the start and cut or filled with zeros at the end: output_padding is the uncut end.
    cuts = [side for b, e, more in reversed(list(zip(begin, end, extra, strict=True))) for side in (-b, more - e)]
    cut = build.call(F.pad, whole, cuts)
    return cut if bias is None else build.call(torch.add, cut, build.call(torch.reshape, bias, [1, -1, *[1] * rank]))


def function_rank(node: NodeProto, kernel: list[int]) -> int:
    if len(kernel) not in CONV:
        raise refusal(node, f"PyTorch has convolutions of 1 to 3 axes, not of {len(kernel)}")
    return len(kernel)


def sizes(node: NodeProto, name: str, rank: int, default: int = 1) -> list[int]:
    """An attribute with a number for each axis of the image."""
    return list(attribute(node, name) or [default] * rank)


def padding(node: NodeProto, size: list[int], kernel: list[int], strides: list[int], dilations: list[int]) -> tuple[list[int], list[int]]:
    """Pixels before and after each axis (ONNX operators, Conv: SAME_UPPER puts the odd one at the end)."""
    rank = len(kernel)
    mode = attribute(node, "auto_pad", b"NOTSET").decode()
    if mode == "NOTSET":
        pads = list(attribute(node, "pads") or [0] * 2 * rank)
        return pads[:rank], pads[rank:]
    if mode == "VALID":
        return [0] * rank, [0] * rank
    total = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)]
    small = [t // 2 for t in total]
    large = [t - s for t, s in zip(total, small, strict=True)]
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def padded(build: Build, x: Value, begin: list[int], end: list[int], value: float = 0.0) -> tuple[Value, list[int]]:
    """`x` and the padding that is the same on both sides; where it is not, it is in `x` already."""
    if begin == end and all(b >= 0 for b in begin):
        return x, begin
    sides: list[Any] = [side for b, e in reversed(list(zip(begin, end, strict=True))) for side in (b, e)]
    return build.call(F.pad, x, sides, value=value), [0] * len(begin)


OPERATORS = {"Conv": conv, "ConvTranspose": conv_transpose}
