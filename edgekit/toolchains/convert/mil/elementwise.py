"""Unary, binary, logical and comparison operations, and activations: arguments in, arrays of the broadcast shape out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import runtime
from .arguments import Arguments, Array, Function, UnknownMode, affordable


def unary(function: Callable[[Array], Array]) -> Function:
    return lambda a: np.asarray(function(a["x"]))


def binary(function: Callable[[Array, Array], Array]) -> Function:
    def rule(a: Arguments) -> Array:
        affordable(np.broadcast_shapes(a["x"].shape, a["y"].shape))
        return np.asarray(function(a["x"], a["y"]))

    return rule


def erf(x: Array) -> Array:
    return runtime.run("Erf", [x])


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def softplus(x: Array) -> Array:
    return np.logaddexp(np.zeros_like(x), x)


def per_channel(parameter: Array, rank: int) -> Array:
    """[C] so that it broadcasts along axis 1."""
    return parameter.reshape(1, -1, *([1] * (rank - 2)))


def prelu(a: Arguments) -> Array:
    x = a["x"]
    return np.where(x > 0, x, x * per_channel(a["alpha"], x.ndim))


def softplus_parametric(a: Arguments) -> Array:
    x = a["x"]
    return per_channel(a["alpha"], x.ndim) * softplus(x * per_channel(a["beta"], x.ndim))


def gelu(a: Arguments) -> Array:
    x, mode = a["x"], a.text("mode", "EXACT")
    if mode == "EXACT":
        return np.asarray(x * 0.5 * (1 + erf(x / np.float32(np.sqrt(2)))))
    if mode == "TANH_APPROXIMATION":
        return np.asarray(x * 0.5 * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + 0.044715 * x**3))))
    if mode == "SIGMOID_APPROXIMATION":
        return np.asarray(x * sigmoid(1.702 * x))
    raise UnknownMode(f"mode = {mode}")


def elu(a: Arguments) -> Array:
    x = a["x"]
    return np.where(x > 0, x, a["alpha"] * np.expm1(np.minimum(x, 0)))


def clamped_relu(a: Arguments) -> Array:
    x = a["x"]
    return np.minimum(np.where(x >= 0, x, a["alpha"] * x), a["beta"])


def clip(a: Arguments) -> Array:
    return np.minimum(np.maximum(a["x"], a["alpha"]), a["beta"])


def select(a: Arguments) -> Array:
    affordable(np.broadcast_shapes(a["cond"].shape, a["a"].shape, a["b"].shape))
    return np.where(a["cond"].astype(bool), a["a"], a["b"])


OPS: dict[str, Function] = {
    "abs": unary(np.abs),
    "acos": unary(np.arccos),
    "asin": unary(np.arcsin),
    "atan": unary(np.arctan),
    "atanh": unary(np.arctanh),
    "cast": unary(np.asarray),  # the walk rounds to the recorded dtype
    "ceil": unary(np.ceil),
    "cos": unary(np.cos),
    "cosh": unary(np.cosh),
    "erf": unary(erf),
    "exp": unary(np.exp),
    "exp2": unary(np.exp2),
    "floor": unary(np.floor),
    "identity": unary(np.asarray),
    "inverse": lambda a: 1 / (a["x"] + np.float32(a.number("epsilon", 1e-4))),
    "log": lambda a: np.log(a["x"] + np.float32(a.number("epsilon", 1e-45))),
    "logical_not": unary(np.logical_not),
    "relu": unary(lambda x: np.maximum(x, 0)),
    "relu6": unary(lambda x: np.clip(x, 0, 6)),
    "round": unary(np.round),  # half to even
    "rsqrt": lambda a: 1 / np.sqrt(a["x"] + np.float32(a.number("epsilon", 1e-12))),
    "sigmoid": unary(sigmoid),
    "sign": unary(np.sign),
    "silu": unary(lambda x: x * sigmoid(x)),
    "sin": unary(np.sin),
    "sinh": unary(np.sinh),
    "softplus": unary(softplus),
    "softsign": unary(lambda x: x / (1 + np.abs(x))),
    "sqrt": unary(np.sqrt),
    "square": unary(np.square),
    "tan": unary(np.tan),
    "tanh": unary(np.tanh),
    "clamped_relu": clamped_relu,
    "clip": clip,
    "elu": elu,
    "gelu": gelu,
    "leaky_relu": lambda a: np.where(a["x"] > 0, a["x"], a["alpha"] * a["x"]),
    "linear_activation": lambda a: a["alpha"] * a["x"] + a["beta"],
    "prelu": prelu,
    "scaled_tanh": lambda a: a["alpha"] * np.tanh(a["beta"] * a["x"]),
    "sigmoid_hard": lambda a: np.clip(a["alpha"] * a["x"] + a["beta"], 0, 1),
    "softplus_parametric": softplus_parametric,
    "threshold": lambda a: np.maximum(a["x"], a["alpha"]),
    "thresholded_relu": lambda a: np.where(a["x"] >= a["alpha"], a["x"], np.float32(0)),
    "add": binary(np.add),
    "equal": binary(np.equal),
    "floor_div": binary(np.floor_divide),
    "greater": binary(np.greater),
    "greater_equal": binary(np.greater_equal),
    "less": binary(np.less),
    "less_equal": binary(np.less_equal),
    "logical_and": binary(np.logical_and),
    "logical_or": binary(np.logical_or),
    "logical_xor": binary(np.logical_xor),
    "maximum": binary(np.maximum),
    "minimum": binary(np.minimum),
    "mod": binary(np.mod),  # the sign of the divisor
    "mul": binary(np.multiply),
    "not_equal": binary(np.not_equal),
    "pow": binary(np.power),
    "real_div": binary(np.true_divide),  # of integers towards zero: the walk truncates to the recorded dtype
    "sub": binary(np.subtract),
    "select": select,
}
