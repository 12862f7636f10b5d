"""Conv and ConvTranspose: [N, C, *D] and weights in, [N, M, *D'] out, in one to three spatial dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.node import Lowering, Node, Var, like


def spatial(node: Node, name: str, rank: int, default: int = 1) -> list[int]:
    found = node.attribute(name)
    return [int(i) for i in found] if found else [default] * rank


def same_padding(size: list[int], kernel: list[int], strides: list[int], dilations: list[int], upper: bool) -> list[int]:
    """ONNX's SAME_UPPER and SAME_LOWER as begins, then ends."""
    begin, end = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        begin.append(total // 2 if upper else total - total // 2)
        end.append(total - begin[-1])
    return begin + end


def pads_of(node: Node, size: list[int], kernel: list[int], strides: list[int], dilations: list[int]) -> list[int]:
    """The pads of a Conv or pool: all begins, then all ends."""
    mode = node.attribute("auto_pad", "NOTSET")
    if mode.startswith("SAME"):
        return same_padding(size, kernel, strides, dilations, mode == "SAME_UPPER")
    return [0] * (2 * len(size)) if mode == "VALID" else spatial(node, "pads", 2 * len(size), 0)


def padding(pads: list[int]) -> dict[str, Any]:
    """ONNX's pads as MIL takes them: begin and end of each axis in turn."""
    if not any(pads):
        return {"pad_type": "valid"}
    rank = len(pads) // 2
    return {"pad_type": "custom", "pad": np.array(pads).reshape(2, rank).T.reshape(-1).tolist()}


def conv(node: Node) -> Var:
    bias = {"bias": node.input(2)} if node.given(2) and node.value(2) is not None else {}
    y = conv_of(node, node.input(0), node.input(1), **bias)
    return y if bias or not node.given(2) else mb.add(x=y, y=mb.reshape(x=node.input(2), shape=[1, -1] + [1] * (len(y.shape) - 2)))


def conv_of(node: Node, x: Var, weight: Var, **bias: Var) -> Var:
    """The convolution of x with weights as the node's attributes describe it."""
    rank = len(x.shape) - 2
    if not 1 <= rank <= 3:
        node.refuse(f"its input has {len(x.shape)} axes, and Core ML convolves 3 to 5; reshape around it")
    kernel = [int(k) for k in weight.shape[2:]]
    strides, dilations = spatial(node, "strides", rank), spatial(node, "dilations", rank)
    pads = pads_of(node, [int(n) for n in x.shape[2:]], kernel, strides, dilations)
    return mb.conv(x=x, weight=weight, strides=strides, dilations=dilations, groups=node.attribute("group", 1), **padding(pads), **bias)


def conv_transpose(node: Node) -> Var:
    """All padding is explicit: `output_padding` and `output_shape` say how much of the full result is cut off at each end."""
    x, weight = node.input(0), node.needed(1, "weight")
    rank = len(x.shape) - 2
    strides, dilations = spatial(node, "strides", rank), spatial(node, "dilations", rank)
    full = [s * (n - 1) + (k - 1) * d + 1 for s, n, k, d in zip(strides, node.shape(0)[2:], weight.shape[2:], dilations, strict=True)]
    cut = cuts(node, full, strides)
    begin, end = cut[:rank], cut[rank:]
    beyond = [max(-e, 0) for e in end]  # what output_padding adds past the full result holds the bias alone
    bias = like(x, node.needed(2, "bias")) if node.given(2) else None
    given = {"bias": bias} if bias is not None and not any(beyond) else {}
    kept = [max(c, 0) for c in cut]
    y = mb.conv_transpose(x=x, weight=like(x, weight), strides=strides, dilations=dilations, groups=node.attribute("group", 1), **padding(kept), **given)
    if any(beyond) or min(begin) < 0:
        pairs = [n for b, more in zip(begin, beyond, strict=True) for n in (max(-b, 0), more)]
        y = mb.pad(x=y, pad=[0, 0, 0, 0, *pairs], mode="constant", constant_val=like(x, 0))
    return mb.add(x=y, y=bias.reshape([1, -1] + [1] * rank)) if bias is not None and not given else y


def cuts(node: Node, full: list[int], strides: list[int]) -> list[int]:
    """How much of the full result is cut off: all begins, then all ends (ONNX operators, ConvTranspose)."""
    rank = len(full)
    more = spatial(node, "output_padding", rank, 0)
    wanted, mode = node.attribute("output_shape"), node.attribute("auto_pad", "NOTSET")
    if mode.startswith("SAME") and not wanted:
        wanted = [n * s for n, s in zip(node.shape(0)[2:], strides, strict=True)]
    if not wanted:
        pads = [0] * (2 * rank) if mode == "VALID" else spatial(node, "pads", 2 * rank, 0)
        return pads[:rank] + [e - m for e, m in zip(pads[rank:], more, strict=True)]
    begin, end = [], []
    for n, m, out in zip(full, more, list(wanted)[-rank:], strict=True):
        total = max(n + m - out, 0)
        begin.append(total - total // 2 if mode == "SAME_LOWER" else total // 2)
        end.append(n - out - begin[-1])
    return begin + end


OPS: dict[str, Lowering] = {"Conv": conv, "ConvTranspose": conv_transpose}
