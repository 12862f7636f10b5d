"""Activations in, their PyTorch forms out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from onnx import NodeProto
from torch.nn import functional as F

from edgekit.hub.graph import attribute
from edgekit.toolchains.torch.twin.build import Build, Value


def of_one(function: Callable[..., Any], **defaults: float) -> Callable[[Build, NodeProto], Value]:
    """An operator of one tensor; its attributes are the function's arguments after it, in this order."""
    return lambda build, node: build.call(function, build.of(node.input[0]), *(attribute(node, name, value) for name, value in defaults.items()))


def hard_sigmoid(x: Any, alpha: float, beta: float) -> Any:
    return torch.clamp(x * alpha + beta, 0.0, 1.0)


def elu(x: Any, alpha: float) -> Any:
    return torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(x, max=0.0)))


def selu(x: Any, alpha: float, gamma: float) -> Any:
    return gamma * elu(x, alpha)


def celu(x: Any, alpha: float) -> Any:
    return torch.clamp(x, min=0.0) + torch.clamp(alpha * torch.expm1(x / alpha), max=0.0)


def thresholded_relu(x: Any, alpha: float) -> Any:
    return torch.where(x > alpha, x, torch.zeros((), dtype=x.dtype, device=x.device))


def shrink(x: Any, bias: float, lambd: float) -> Any:
    zero = torch.zeros((), dtype=x.dtype, device=x.device)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, zero))


def swish(x: Any, alpha: float) -> Any:
    return x * torch.sigmoid(alpha * x)


def clip(build: Build, node: NodeProto) -> Value:
    x, bounds = build.of(node.input[0]), [build.fixed(node, index) for index in (1, 2)]
    low, high = (None if bound is None else bound.item() for bound in bounds)
    if low is None and high is None:
        return x
    if low is not None and high is not None and low > high:
        return build.call(torch.full_like, x, high)  # as ONNX's definition: min(max(x, low), high)
    if (low, high) == (0.0, 6.0):
        return build.call(F.relu6, x)
    return build.call(torch.clamp, x, low, high)


def prelu(build: Build, node: NodeProto) -> Value:
    x, slope = build.all(node)
    if len(slope.shape) == 1 < len(x.shape) and slope.shape[0] == x.shape[1] != x.shape[-1]:  # a slope for each channel, as before opset 7
        slope = build.call(torch.reshape, slope, [-1, *[1] * (len(x.shape) - 2)])
    return build.call(sloped, x, slope)


def sloped(x: Any, slope: Any) -> Any:
    return torch.clamp(x, min=0) + slope * torch.clamp(x, max=0)


def gelu(build: Build, node: NodeProto) -> Value:
    return build.call(F.gelu, build.of(node.input[0]), approximate=attribute(node, "approximate", b"none").decode())


def softmax(build: Build, node: NodeProto) -> Value:
    return build.call(F.softmax, build.of(node.input[0]), attribute(node, "axis", -1))


def log_softmax(build: Build, node: NodeProto) -> Value:
    return build.call(F.log_softmax, build.of(node.input[0]), attribute(node, "axis", -1))


OPERATORS: dict[str, Any] = {
    "Relu": of_one(F.relu),
    "Sigmoid": of_one(torch.sigmoid),
    "Tanh": of_one(torch.tanh),
    "LeakyRelu": of_one(F.leaky_relu, alpha=0.01),
    "Elu": of_one(elu, alpha=1.0),
    "Selu": of_one(selu, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "Celu": of_one(celu, alpha=1.0),
    "HardSigmoid": of_one(hard_sigmoid, alpha=0.2, beta=0.5),
    "HardSwish": of_one(F.hardswish),
    "Mish": of_one(F.mish),
    "Softplus": of_one(F.softplus, beta=1, threshold=math.inf),
    "Softsign": of_one(F.softsign),
    "ThresholdedRelu": of_one(thresholded_relu, alpha=1.0),
    "Shrink": of_one(shrink, bias=0.0, lambd=0.5),
    "Clip": clip,
    "PRelu": prelu,
    "Swish": of_one(swish, alpha=1.0),
    "Gelu": gelu,
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
}
