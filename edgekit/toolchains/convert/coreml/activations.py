"""Activations and softmaxes: one tensor in, one of its shape out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.node import Lowering, Node, Var, cast, cast_like, is_float, like, select

SELU_ALPHA, SELU_GAMMA = 1.6732632423543772, 1.0507009873554805  # ONNX's defaults


def unary(operation: Callable[..., Var]) -> Lowering:
    return lambda node: operation(x=node.input(0))


def relu(node: Node) -> Var:
    x = node.input(0)
    return mb.relu(x=x) if is_float(x) else mb.maximum(x=x, y=np.int32(0))


def leaky_relu(node: Node) -> Var:
    x = node.input(0)
    return mb.leaky_relu(x=x, alpha=like(x, node.attribute("alpha", 0.01)))


def prelu(node: Node) -> Var:
    """One slope for each channel in one operation; other slopes as max(x, 0) + slope · min(x, 0)."""
    x = node.input(0)
    slope, rank = node.value(1), len(x.shape)
    if is_float(x) and slope is not None and 3 <= rank <= 5 and slope.size == x.shape[1] and list(slope.shape) == [slope.size] + [1] * (rank - 2):
        return mb.prelu(x=x, alpha=like(x, slope.reshape(-1)))
    zero = like(x, 0)
    return mb.add(x=mb.maximum(x=x, y=zero), y=mb.mul(x=mb.minimum(x=x, y=zero), y=node.input(1)))


def elu(node: Node) -> Var:
    x = node.input(0)
    return mb.elu(x=x, alpha=like(x, node.attribute("alpha", 1.0)))


def celu(node: Node) -> Var:
    """alpha · elu(x / alpha)"""
    x, alpha = node.input(0), node.attribute("alpha", 1.0)
    if alpha == 1:
        return mb.elu(x=x, alpha=like(x, 1))
    return mb.mul(x=mb.elu(x=mb.mul(x=x, y=like(x, 1 / alpha)), alpha=like(x, 1)), y=like(x, alpha))


def selu(node: Node) -> Var:
    x = node.input(0)
    inner = mb.elu(x=x, alpha=like(x, node.attribute("alpha", SELU_ALPHA)))
    return mb.mul(x=inner, y=like(x, node.attribute("gamma", SELU_GAMMA)))


def thresholded_relu(node: Node) -> Var:
    """x where it is above alpha, else 0; MIL's own keeps x = alpha too."""
    x = node.input(0)
    return select(mb.greater(x=x, y=like(x, node.attribute("alpha", 1.0))), a=x, b=like(x, np.zeros([1] * len(x.shape))))


def shrink(node: Node) -> Var:
    """x + bias below -lambd, x - bias above lambd, 0 between."""
    x = node.input(0)
    bias, limit = like(x, node.attribute("bias", 0.0)), like(x, node.attribute("lambd", 0.5))
    zero = like(x, np.zeros([1] * len(x.shape)))
    above = select(mb.greater(x=x, y=limit), a=mb.sub(x=x, y=bias), b=zero)
    return select(mb.less(x=x, y=like(x, -limit)), a=mb.add(x=x, y=bias), b=above)


def gelu(node: Node) -> Var:
    tanh = node.attribute("approximate", "none") == "tanh"
    return mb.gelu(x=node.input(0), mode="TANH_APPROXIMATION" if tanh else "EXACT")


def swish(node: Node) -> Var:
    x, alpha = node.input(0), node.attribute("alpha", 1.0)
    return mb.silu(x=x) if alpha == 1 else mb.mul(x=x, y=mb.sigmoid(x=mb.mul(x=x, y=like(x, alpha))))


def mish(node: Node) -> Var:
    x = node.input(0)
    return mb.mul(x=x, y=mb.tanh(x=mb.softplus(x=x)))


def hard_sigmoid(node: Node) -> Var:
    x = node.input(0)
    return mb.sigmoid_hard(x=x, alpha=like(x, node.attribute("alpha", 0.2)), beta=like(x, node.attribute("beta", 0.5)))


def hard_swish(node: Node) -> Var:
    x = node.input(0)
    return mb.mul(x=x, y=mb.sigmoid_hard(x=x, alpha=like(x, 1 / 6), beta=like(x, 0.5)))


def softmax(node: Node) -> Var:
    return mb.softmax(x=node.input(0), axis=node.attribute("axis", -1))


def log_softmax(node: Node) -> Var:
    """x - logsumexp(x); the logarithm of a softmax loses small probabilities, all of them in float16."""
    x = node.input(0)
    return mb.sub(x=x, y=mb.reduce_log_sum_exp(x=x, axes=[node.attribute("axis", -1)], keep_dims=True))


def hardmax(node: Node) -> Var:
    """1 at the first maximum along the axis, 0 elsewhere."""
    x = node.input(0)
    rank = len(x.shape)
    axis = node.attribute("axis", -1) % rank
    places = np.arange(x.shape[axis], dtype=np.int32).reshape([-1 if i == axis else 1 for i in range(rank)])
    return cast_like(mb.equal(x=mb.reduce_argmax(x=x, axis=axis, keep_dims=True), y=places), x)


def dropout(node: Node) -> list[Var]:
    """At inference x itself, and a mask that keeps everything."""
    x = node.input(0)
    made = [mb.identity(x=x)]
    if node.wanted(1):
        made.append(cast(mb.fill(shape=[int(n) for n in x.shape], value=np.int32(1)), "bool"))
    return made


OPS: dict[str, Lowering] = {
    "Celu": celu,
    "Dropout": dropout,
    "Elu": elu,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Hardmax": hardmax,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": log_softmax,
    "Mish": mish,
    "PRelu": prelu,
    "Relu": relu,
    "Selu": selu,
    "Shrink": shrink,
    "Sigmoid": unary(mb.sigmoid),
    "Softmax": softmax,
    "Softplus": unary(mb.softplus),
    "Softsign": unary(mb.softsign),
    "Swish": swish,
    "Tanh": unary(mb.tanh),
    "ThresholdedRelu": thresholded_relu,
}
