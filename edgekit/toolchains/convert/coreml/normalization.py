"""Batch, instance, layer, group, RMS, local response and Lp normalization: a tensor and its parameters in, one of its shape out."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.node import Lowering, Node, Var, like, reshaped, select


def per_channel(parameter: Var, rank: int) -> Var:
    """[C] so that it broadcasts along axis 1."""
    return reshaped(parameter, [1, -1] + [1] * (rank - 2))


def batch_norm(node: Node) -> Var:
    x = node.input(0)
    if node.attribute("training_mode", 0):
        node.refuse("it computes its moments from the batch (training_mode); export the model for inference")
    epsilon, shape = like(x, node.attribute("epsilon", 1e-5)), [int(n) for n in x.shape]
    parameters = [node.value(i) for i in (1, 2, 3, 4)]
    if any(p is None for p in parameters):
        rank = len(shape)
        gamma, beta, mean, variance = (per_channel(node.input(i), rank) for i in (1, 2, 3, 4))
        scale = mb.mul(x=gamma, y=mb.rsqrt(x=variance, epsilon=epsilon))
        return mb.add(x=mb.mul(x=mb.sub(x=x, y=mean), y=scale), y=beta)
    gamma, beta, mean, variance = (like(x, p) for p in parameters)
    deep = x if len(shape) in (3, 4, 5) else mb.reshape(x=x, shape=[*shape[:2], -1])
    if len(shape) < 2:
        deep = mb.reshape(x=x, shape=[-1, 1, 1])
    y = mb.batch_norm(x=deep, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=epsilon)
    return reshaped(y, shape)


def instance_norm(node: Node) -> Var:
    x = node.input(0)
    gamma, beta = node.value(1), node.value(2)
    epsilon = like(x, node.attribute("epsilon", 1e-5))
    rank = len(x.shape)
    if gamma is not None and beta is not None and rank in (3, 4):
        return mb.instance_norm(x=x, gamma=like(x, gamma), beta=like(x, beta), epsilon=epsilon)
    y = mb.layer_norm(x=x, axes=list(range(2, rank)), epsilon=epsilon)
    return mb.add(x=mb.mul(x=y, y=per_channel(node.input(1), rank)), y=per_channel(node.input(2), rank))


def layer_norm(node: Node) -> list[Var]:
    x = node.input(0)
    rank = len(x.shape)
    axes = list(range(node.attribute("axis", -1) % rank, rank))
    epsilon, whole = like(x, node.attribute("epsilon", 1e-5)), [int(x.shape[i]) for i in axes]
    scale, bias = node.value(1), node.value(2)
    if scale is not None and (bias is not None or not node.given(2)):
        beta = {} if bias is None else {"beta": like(x, np.broadcast_to(bias, whole))}
        y = mb.layer_norm(x=x, axes=axes, gamma=like(x, np.broadcast_to(scale, whole)), epsilon=epsilon, **beta)
    else:
        y = mb.mul(x=mb.layer_norm(x=x, axes=axes, epsilon=epsilon), y=node.input(1))
        y = mb.add(x=y, y=node.input(2)) if node.given(2) else y
    if not node.wanted(1) and not node.wanted(2):
        return [y]
    mean = mb.reduce_mean(x=x, axes=axes, keep_dims=True)
    variance = mb.reduce_mean(x=mb.square(x=mb.sub(x=x, y=mean)), axes=axes, keep_dims=True)
    return [y, mean, mb.rsqrt(x=variance, epsilon=epsilon)]


def rms_norm(node: Node) -> Var:
    x = node.input(0)
    rank = len(x.shape)
    axes = list(range(node.attribute("axis", -1) % rank, rank))
    power = mb.reduce_mean(x=mb.square(x=x), axes=axes, keep_dims=True)
    return mb.mul(x=mb.mul(x=x, y=mb.rsqrt(x=power, epsilon=like(x, node.attribute("epsilon", 1e-5)))), y=node.input(1))


def group_norm(node: Node) -> Var:
    """Each group of channels as the one axis that a layer normalization runs over."""
    x, groups = node.input(0), node.attribute("num_groups")
    shape = [int(n) for n in x.shape]
    y = mb.layer_norm(x=mb.reshape(x=x, shape=[shape[0], groups, -1]), axes=[2], epsilon=like(x, node.attribute("epsilon", 1e-5)))
    y = mb.reshape(x=y, shape=shape)
    gamma, beta = (each_channel(node, i, shape) for i in (1, 2))
    return mb.add(x=mb.mul(x=y, y=gamma), y=beta)


def each_channel(node: Node, index: int, shape: list[int]) -> Var:
    """A parameter for each channel, or (opset 18) for each group, so that it broadcasts along axis 1."""
    parameter, rank = node.input(index), len(shape)
    n = int(parameter.shape[0])
    if n != shape[1]:
        parameter = mb.tile(x=mb.reshape(x=parameter, shape=[n, 1]), reps=[1, shape[1] // n])
    return mb.reshape(x=parameter, shape=[1, shape[1]] + [1] * (rank - 2))


def lp_norm(node: Node) -> Var:
    """x divided by its 1- or 2-norm along the axis, 0 where that is 0."""
    x, axis, p = node.input(0), node.attribute("axis", -1), node.attribute("p", 2)
    reduce = mb.reduce_l1_norm if p == 1 else mb.reduce_l2_norm
    length = reduce(x=x, axes=[axis], keep_dims=True)
    one = like(x, np.ones([1] * len(x.shape)))
    return mb.real_div(x=x, y=select(mb.equal(x=length, y=like(x, 0)), a=one, b=length))


def mean_variance(node: Node) -> Var:
    x = node.input(0)
    axes = [int(a) for a in node.attribute("axes", [0, 2, 3])]
    return standardised(x, axes)


def standardised(x: Var, axes: list[int]) -> Var:
    """(x - mean) / (deviation + 1e-9), as ONNX's own definition has it."""
    centred = mb.sub(x=x, y=mb.reduce_mean(x=x, axes=axes, keep_dims=True))
    deviation = mb.sqrt(x=mb.reduce_mean(x=mb.square(x=centred), axes=axes, keep_dims=True))
    return mb.real_div(x=centred, y=mb.add(x=deviation, y=like(x, 1e-9)))


def local_response(node: Node) -> Var:
    x, size = node.input(0), node.attribute("size")
    if size % 2 == 0 or not 3 <= len(x.shape) <= 5:
        node.refuse(f"its window of {size} channels has no middle, and Core ML's has; use an odd size")
    alpha, beta, k = (like(x, node.attribute(name, default)) for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    return mb.local_response_norm(x=x, size=size, alpha=alpha, beta=beta, k=k)


OPS: dict[str, Lowering] = {
    "BatchNormalization": batch_norm,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LRN": local_response,
    "LayerNormalization": layer_norm,
    "LpNormalization": lp_norm,
    "MeanVarianceNormalization": mean_variance,
    "RMSNormalization": rms_norm,
}
