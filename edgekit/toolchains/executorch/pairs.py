"""QuantizeLinear and DequantizeLinear in, PyTorch's operators of the same arithmetic out, which are those that XNNPACK's partitioner knows."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
import torchao.quantization.pt2e  # noqa: F401  registers torch.ops.quantized_decomposed
from onnx import NodeProto
from torch.nn import functional as F

from edgekit.hub.graph import attribute
from edgekit.toolchains.executorch.integers import RUN_TIME
from edgekit.toolchains.torch.twin.activations import clip as plain_clip
from edgekit.toolchains.torch.twin.build import Build, Value, refusal

quantized = torch.ops.quantized_decomposed
INT8 = (-128, 127, torch.int8)


def quantize(build: Build, node: NodeProto) -> Value:
    scale, zero = one_step(build, node)
    return build.call(quantized.quantize_per_tensor.default, build.of(node.input[0]), scale, zero, *INT8)


def dequantize(build: Build, node: NodeProto) -> Value:
    whole, scale = build.of(node.input[0]), build.fixed(node, 1)
    if whole.dtype != torch.int8:
        raise refusal(node, f"XNNPACK's integers are int8, not {whole.dtype}")
    if scale is None or scale.ndim == 0:
        return build.call(quantized.dequantize_per_tensor.default, whole, *one_step(build, node), *INT8)
    if scale.ndim > 1 or attribute(node, "block_size", 0):
        raise refusal(node, "XNNPACK's integers have one scale, or one for each channel, not one for each block")
    zero = build.fixed(node, 2)
    zeros = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    axis = attribute(node, "axis", 1) % len(whole.shape)
    return build.call(quantized.dequantize_per_channel.default, whole, build.hold(scale), build.hold(zeros), axis, *INT8)


def one_step(build: Build, node: NodeProto) -> tuple[float, int]:
    """Scale and zero point of a whole tensor."""
    scale, zero = build.fixed(node, 1), build.fixed(node, 2)
    if scale is None or scale.size != 1 or (zero is not None and zero.dtype != np.int8):
        raise refusal(node, "XNNPACK's activations are int8 with one scale")
    return float(scale.item()), 0 if zero is None else int(zero.item())


def at_run_time(build: Build, node: NodeProto) -> Value:
    """Each row of what a linear layer takes, with its own scale and zero point (the form that XNNPACK's qd8 kernels are found by)."""
    x = build.of(node.input[0])
    found = build.call(quantized.choose_qparams_per_token_asymmetric.default, x, torch.int8)
    steps = [build.call(operator.getitem, found, place) for place in (0, 1)]
    whole = build.call(quantized.quantize_per_token.default, x, *steps, *INT8)
    return build.call(quantized.dequantize_per_token.default, whole, *steps, *INT8, torch.float32)


def clip(build: Build, node: NodeProto) -> Value:
    """With both bounds the form that is part of the layer before it."""
    low, high = build.fixed(node, 1), build.fixed(node, 2)
    if low is None or high is None or not low.item() < high.item() or build.of(node.input[0]).dtype != torch.float32:
        return plain_clip(build, node)
    return build.call(F.hardtanh, build.of(node.input[0]), low.item(), high.item())


OPERATORS: dict[str, Any] = {"QuantizeLinear": quantize, "DequantizeLinear": dequantize, RUN_TIME: at_run_time, "Clip": clip}
