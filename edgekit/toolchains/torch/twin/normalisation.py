"""BatchNormalization, LayerNormalization and their kin in, PyTorch's out; statistics of batches are re-estimated while training."""

from __future__ import annotations

from typing import Any

import torch
from onnx import NodeProto
from torch.nn import functional as F

from edgekit.hub.graph import attribute
from edgekit.toolchains.torch.twin.build import Build, Value, refusal


def batch(build: Build, node: NodeProto) -> Value:
    if attribute(node, "training_mode", 0):
        raise refusal(node, "it was exported in training mode: export the model for inference")
    x, scale, bias, mean, variance = build.all(node)
    settings = {"training": False, "momentum": 1 - attribute(node, "momentum", 0.9), "eps": attribute(node, "epsilon", 1e-5)}
    return build.call(F.batch_norm, x, mean, variance, weight=scale, bias=bias, **settings)


def layer(build: Build, node: NodeProto) -> list[Value]:
    x, scale, bias = build.of(node.input[0]), build.of(node.input[1]), build.given(node, 2)
    axis = attribute(node, "axis", -1) % len(x.shape)
    shape, epsilon = x.shape[axis:], attribute(node, "epsilon", 1e-5)
    more = [build.call(function, x, len(shape), epsilon) for function, _ in zip((mean_of, inverse_deviation), node.output[1:], strict=False)]
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return [build.call(F.layer_norm, x, shape, scale, bias, epsilon), *more]
    scaled = build.call(torch.mul, build.call(F.layer_norm, x, shape, None, None, epsilon), scale)
    return [scaled if bias is None else build.call(torch.add, scaled, bias), *more]


def mean_of(x: Any, axes: int, epsilon: float) -> Any:
    return x.mean(list(range(-axes, 0)), keepdim=True)


def inverse_deviation(x: Any, axes: int, epsilon: float) -> Any:
    return torch.rsqrt(x.var(list(range(-axes, 0)), unbiased=False, keepdim=True) + epsilon)


def instance(build: Build, node: NodeProto) -> Value:
    x, scale, bias = build.all(node)
    return build.call(torch.instance_norm, x, scale, bias, None, None, True, 0.0, attribute(node, "epsilon", 1e-5), False)


def group(build: Build, node: NodeProto) -> Value:
    """Scale and bias are one for each group in opset 18, and one for each channel from opset 21 on."""
    x, scale, bias = build.all(node)
    groups, channels = attribute(node, "num_groups"), x.shape[1]
    if scale.shape != [channels]:
        scale, bias = (build.call(torch.repeat_interleave, one, channels // groups) for one in (scale, bias))
    return build.call(F.group_norm, x, groups, scale, bias, attribute(node, "epsilon", 1e-5))


def local_response(build: Build, node: NodeProto) -> Value:
    size = attribute(node, "size")
    if size % 2 == 0:
        raise refusal(node, "PyTorch places windows of even size otherwise")
    x, settings = build.of(node.input[0]), {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    alpha, beta, k = (attribute(node, name, value) for name, value in settings.items())
    return build.call(F.local_response_norm, x, size, alpha, beta, k)


def mean_variance(build: Build, node: NodeProto) -> Value:
    return build.call(standardised, build.of(node.input[0]), list(attribute(node, "axes") or [0, 2, 3]))


def standardised(x: Any, axes: list[int]) -> Any:
    """ONNX operators, MeanVarianceNormalization: ε is 1e-9, beside the deviation."""
    centred = x - x.mean(axes, keepdim=True)
    return centred / (torch.sqrt(centred.square().mean(axes, keepdim=True)) + 1e-9)


def lp(build: Build, node: NodeProto) -> Value:
    x, p, axis = build.of(node.input[0]), attribute(node, "p", 2), attribute(node, "axis", -1)
    return build.call(by_length, x, p, axis)


def by_length(x: Any, p: int, axis: int) -> Any:
    """A vector of zeros stays one."""
    length = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return x / torch.where(length == 0, torch.ones_like(length), length)


OPERATORS: dict[str, Any] = {
    "BatchNormalization": batch,
    "LayerNormalization": layer,
    "InstanceNormalization": instance,
    "GroupNormalization": group,
    "LRN": local_response,
    "MeanVarianceNormalization": mean_variance,
    "LpNormalization": lp,
}
