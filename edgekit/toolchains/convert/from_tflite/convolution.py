"""Convolutions, pools and matrix products of TFLite in, ONNX's out.

Kernels and strides as in TFLite's schema and reference kernels: images [n, h, w, c]; weights [out, h, w, in]; depthwise weights
[1, h, w, channels · multiplier]; padding SAME puts the odd pixel at the end.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.toolchains.convert.from_tflite.graph import FIRST, Graph, Op, Rule


def paddings(size: int, kernel: int, stride: int, dilation: int, same: bool) -> tuple[int, int]:
    """Before and after, along one axis (TFLite padding.h, ComputePadding)."""
    if not same:
        return 0, 0
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def window(op: Op, height: int, width: int, kernel: tuple[int, int]) -> dict[str, list[int]]:
    """`strides`, `dilations` and `pads` of a convolution or pool over an image of that size."""
    strides = (op.option("strideH", 1), op.option("strideW", 1))
    dilations = (op.option("dilationHFactor", 1), op.option("dilationWFactor", 1))
    if min(*strides, *dilations, *kernel) < 1:
        raise op.refusal("has a stride, dilation or kernel below 1")
    same = op.option("padding") == 0
    top, bottom = paddings(height, kernel[0], strides[0], dilations[0], same)
    left, right = paddings(width, kernel[1], strides[1], dilations[1], same)
    return {"strides": list(strides), "dilations": list(dilations), "pads": [top, left, bottom, right]}


def conv(graph: Graph, op: Op) -> str:
    """CONV_2D; fewer input channels in the weights than in the image mean groups."""
    _, height, width, channels = op.shapes[0]
    _, kernel_h, kernel_w, inner = op.shapes[1]
    weights = graph.transpose(op.inputs[1], FIRST)
    inputs = [graph.channels_first(op.inputs[0]), weights, *(name for name in op.inputs[2:3] if name)]
    found = graph.node("Conv", inputs, group=channels // max(inner, 1), kernel_shape=[kernel_h, kernel_w], **window(op, height, width, (kernel_h, kernel_w)))
    return graph.channels_last(graph.fused(found, op))


def depthwise(graph: Graph, op: Op) -> str:
    """DEPTHWISE_CONV_2D: result channel = input channel · multiplier + index, as in ONNX's groups."""
    _, height, width, channels = op.shapes[0]
    _, kernel_h, kernel_w, _ = op.shapes[1]
    weights = graph.transpose(op.inputs[1], (3, 0, 1, 2))
    inputs = [graph.channels_first(op.inputs[0]), weights, *(name for name in op.inputs[2:3] if name)]
    found = graph.node("Conv", inputs, group=channels, kernel_shape=[kernel_h, kernel_w], **window(op, height, width, (kernel_h, kernel_w)))
    return graph.channels_last(graph.fused(found, op))


def transpose_conv(graph: Graph, op: Op) -> str:
    """TRANSPOSE_CONV: shape of the result, weights [out, h, w, in], image, bias."""
    _, kernel_h, kernel_w, _ = op.shapes[1]
    strides = [op.option("strideH", 1), op.option("strideW", 1)]
    if min(*strides, kernel_h, kernel_w) < 1:
        raise op.refusal("has a stride or kernel below 1")
    pads, after = [], []
    for axis, kernel in enumerate((kernel_h, kernel_w)):
        given, made = op.shapes[2][1 + axis], op.shape[1 + axis]
        before, _ = paddings(made, kernel, strides[axis], 1, op.option("padding") == 0)
        pads.append(before)
        after.append((given - 1) * strides[axis] + kernel - made - before)
    inputs = [graph.channels_first(op.inputs[2]), graph.transpose(op.inputs[1], (3, 0, 1, 2)), *(name for name in op.inputs[3:4] if name)]
    attributes = {"strides": strides, "kernel_shape": [kernel_h, kernel_w], "pads": [*pads, *(max(size, 0) for size in after)]}
    if min(after) < 0:
        attributes["output_padding"] = [max(-size, 0) for size in after]
    return graph.channels_last(graph.fused(graph.node("ConvTranspose", inputs, **attributes), op))


def pool(graph: Graph, op: Op) -> str:
    """AVERAGE_POOL_2D (over the pixels that are there) and MAX_POOL_2D."""
    _, height, width, _ = op.shapes[0]
    kernel = (op.option("filterHeight", 1), op.option("filterWidth", 1))
    attributes = window(op, height, width, kernel)
    del attributes["dilations"]
    found = graph.node(
        "AveragePool" if op.kind.startswith("AVERAGE") else "MaxPool", [graph.channels_first(op.inputs[0])], kernel_shape=list(kernel), **attributes
    )
    return graph.channels_last(graph.fused(found, op))


def fully_connected(graph: Graph, op: Op) -> str:
    """FULLY_CONNECTED: rows of the weights' width, times weights [out, in]."""
    if op.option("weightsFormat"):
        raise op.refusal("has shuffled weights, which are quantized")
    out, width = op.shapes[1]
    rows, bias = op.inputs[0], [name for name in op.inputs[2:3] if name]
    if len(op.shapes[0]) == 2 or op.shapes[0][-1:] != (width,):
        if op.shapes[0] != (count := int(np.prod(op.shapes[0])) // max(width, 1), width):
            rows = graph.reshape(rows, [count, width])
        found = graph.node("Gemm", [rows, op.inputs[1], *bias], transB=1)
        made: tuple[int, ...] = (int(np.prod(op.shapes[0])) // max(width, 1), out)
    else:
        found = graph.node("MatMul", [rows, graph.transpose(op.inputs[1], (1, 0))])
        found = graph.node("Add", [found, *bias]) if bias else found
        made = (*op.shapes[0][:-1], out)
    found = graph.fused(found, op)
    return found if made == op.shape else graph.reshape(found, op.shape)


def batch_matmul(graph: Graph, op: Op) -> str:
    """BATCH_MATMUL, either side transposed on request."""
    names = list(op.inputs[:2])
    for position, option in enumerate(("adjX", "adjY")):
        if op.option(option):
            rank = len(op.shapes[position])
            names[position] = graph.transpose(names[position], (*range(rank - 2), rank - 1, rank - 2))
    return graph.node("MatMul", names)


RULES: Mapping[str, Rule] = {
    "CONV_2D": conv,
    "DEPTHWISE_CONV_2D": depthwise,
    "TRANSPOSE_CONV": transpose_conv,
    "AVERAGE_POOL_2D": pool,
    "MAX_POOL_2D": pool,
    "FULLY_CONNECTED": fully_connected,
    "BATCH_MATMUL": batch_matmul,
}
