"""ONNX operators in, MIL out: lowerings registered with onnx2coreml, for what it lacks or writes wrongly.

Each takes (context, node) as onnx2coreml's own do, and names its last operation after the node's output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.frontend._utils import build_einsum_mil
from coremltools.converters.mil.mil import types

SELU_ALPHA, SELU_GAMMA = 1.6732632423543772, 1.0507009873554805  # ONNX's defaults


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The attribute's value (strings as str), or the default."""
    for found in node.attribute:
        if found.name == name:
            value = onnx.helper.get_attribute_value(found)
            return value.decode() if isinstance(value, bytes) else value
    return default


def inputs(context: Any, node: onnx.NodeProto) -> list[Any]:
    """The MIL variables of the node's inputs, None for those left out."""
    return [context.values_map[name] if name else None for name in node.input]


def like(x: Any, value: float) -> Any:
    """A scalar of x's dtype."""
    return np.dtype(types.nptype_from_builtin(x.dtype)).type(value)


def reciprocal(context: Any, node: onnx.NodeProto) -> Any:
    """1 / x; MIL's own `inverse` adds an epsilon of 1e-4 to x."""
    (x,) = inputs(context, node)
    return mb.real_div(x=like(x, 1), y=x, name=node.output[0])


def log_softmax(context: Any, node: onnx.NodeProto) -> Any:
    """x - logsumexp(x); the logarithm of a softmax loses small probabilities, all of them in float16."""
    (x,) = inputs(context, node)
    total = mb.reduce_log_sum_exp(x=x, axes=[attribute(node, "axis", -1)], keep_dims=True)
    return mb.sub(x=x, y=total, name=node.output[0])


def mod(context: Any, node: onnx.NodeProto) -> Any:
    """`fmod=1` has the sign of the dividend, MIL's mod that of the divisor."""
    x, y = inputs(context, node)
    if not attribute(node, "fmod", 0):
        return mb.mod(x=x, y=y, name=node.output[0])
    rest = mb.mod(x=mb.abs(x=x), y=mb.abs(x=y))
    return mb.mul(x=rest, y=mb.sign(x=x), name=node.output[0])


def arg(mb_op: Callable[..., Any]) -> Callable[..., Any]:
    """ArgMax and ArgMin; `select_last_index=1` looks from the end."""

    def lower(context: Any, node: onnx.NodeProto) -> Any:
        (x,) = inputs(context, node)
        axis, keep_dims = attribute(node, "axis", 0), bool(attribute(node, "keepdims", 1))
        if not attribute(node, "select_last_index", 0):
            return mb_op(x=x, axis=axis, keep_dims=keep_dims, name=node.output[0])
        from_end = mb_op(x=mb.reverse(x=x, axes=[axis]), axis=axis, keep_dims=keep_dims)
        return mb.sub(x=np.int32(x.shape[axis] - 1), y=from_end, name=node.output[0])

    return lower


def total(context: Any, node: onnx.NodeProto) -> Any:
    """Sum of any number of tensors."""
    *head, last = inputs(context, node)
    if not head:
        return mb.identity(x=last, name=node.output[0])
    accumulated = head[0]
    for term in head[1:]:
        accumulated = mb.add(x=accumulated, y=term)
    return mb.add(x=accumulated, y=last, name=node.output[0])


def selu(context: Any, node: onnx.NodeProto) -> Any:
    (x,) = inputs(context, node)
    inner = mb.elu(x=x, alpha=like(x, attribute(node, "alpha", SELU_ALPHA)))
    return mb.mul(x=inner, y=like(x, attribute(node, "gamma", SELU_GAMMA)), name=node.output[0])


def thresholded_relu(context: Any, node: onnx.NodeProto) -> Any:
    """x where it is above alpha, else 0; MIL's own keeps x = alpha too."""
    (x,) = inputs(context, node)
    alpha = like(x, attribute(node, "alpha", 1.0))
    return mb.select(cond=mb.greater(x=x, y=alpha), a=x, b=mb.mul(x=x, y=like(x, 0)), name=node.output[0])


def softsign(context: Any, node: onnx.NodeProto) -> Any:
    (x,) = inputs(context, node)
    return mb.softsign(x=x, name=node.output[0])


def mish(context: Any, node: onnx.NodeProto) -> Any:
    (x,) = inputs(context, node)
    return mb.mul(x=x, y=mb.tanh(x=mb.softplus(x=x)), name=node.output[0])


def cumsum(context: Any, node: onnx.NodeProto) -> Any:
    x, axis = inputs(context, node)
    if axis.val is None:
        raise ValueError("its axis is not constant")
    flags = {"exclusive": bool(attribute(node, "exclusive", 0)), "reverse": bool(attribute(node, "reverse", 0))}
    return mb.cumsum(x=x, axis=int(np.ravel(axis.val)[0]), name=node.output[0], **flags)


def einsum(context: Any, node: onnx.NodeProto) -> Any:
    """By coremltools' own decomposition; MIL's einsum knows two equations."""
    return build_einsum_mil(inputs(context, node), attribute(node, "equation", ""), node.output[0])


def trilu(context: Any, node: onnx.NodeProto) -> Any:
    """The upper or lower triangle; only the main diagonal's, where MIL's band_part and ONNX's k agree."""
    x, *rest = inputs(context, node)
    k = int(np.ravel(rest[0].val)[0]) if rest and rest[0] is not None else 0
    if k:
        raise ValueError(f"its diagonal is {k}, and only 0 is supported")
    upper = bool(attribute(node, "upper", 1))
    return mb.band_part(x=x, lower=0 if upper else -1, upper=-1 if upper else 0, name=node.output[0])


LOWERINGS: dict[str, Callable[[Any, onnx.NodeProto], Any]] = {
    "ArgMax": arg(mb.reduce_argmax),
    "ArgMin": arg(mb.reduce_argmin),
    "CumSum": cumsum,
    "Einsum": einsum,
    "LogSoftmax": log_softmax,
    "Mish": mish,
    "Mod": mod,
    "Reciprocal": reciprocal,
    "Selu": selu,
    "Softsign": softsign,
    "Sum": total,
    "ThresholdedRelu": thresholded_relu,
    "Trilu": trilu,
}
