"""reduce_*, softmax, cumsum, topk, argsort, non_zero: arguments in, arrays out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arguments import Arguments, Array, Function


def log_sum_exp(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    """log of the sum of exponentials, shifted by the maximum so that it does not overflow."""
    top = np.max(x, axis=axis, keepdims=True)
    y = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else np.asarray(np.squeeze(y, axis=axis))


def reduce(function: Callable[..., Array]) -> Function:
    """The rule of a reduction over `axes` (default all)."""

    def rule(a: Arguments) -> Array:
        x = a["x"]
        axes = tuple(a.ints("axes", range(x.ndim)))
        return np.asarray(function(x, axis=axes, keepdims=a.flag("keep_dims")))

    return rule


def arg(function: Callable[..., Array]) -> Function:
    """The rule of reduce_argmax and reduce_argmin: of equal values, the first."""
    return lambda a: np.asarray(function(a["x"], axis=a.integer("axis", -1), keepdims=a.flag("keep_dims")))


def softmax(a: Arguments) -> Array:
    x, axis = a["x"], a.integer("axis", -1)
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def cumsum(a: Arguments) -> Array:
    x, axis = a["x"], a.integer("axis", 0)
    x = np.flip(x, axis) if a.flag("reverse") else x
    y = np.cumsum(x, axis=axis, dtype=x.dtype)
    y = y - x if a.flag("exclusive") else y
    return np.flip(y, axis) if a.flag("reverse") else y


def order(x: Array, axis: int, ascending: bool) -> Array:
    """Indices that sort x; of equal values, the first comes first."""
    keys = x.astype(np.float64) if x.dtype.kind == "f" else x.astype(np.int64)
    return np.argsort(keys if ascending else -keys, axis=axis, kind="stable")


def topk(a: Arguments) -> list[Array]:
    x, axis = a["x"], a.integer("axis", -1)
    indices = np.take(order(x, axis, a.flag("ascending")), np.arange(a.integer("k", 1)), axis=axis)
    values = np.take_along_axis(x, indices, axis)
    return [values, indices] if a.flag("return_indices", True) else [values]


OPS: dict[str, Function] = {
    "reduce_argmax": arg(np.argmax),
    "reduce_argmin": arg(np.argmin),
    "reduce_l1_norm": reduce(lambda x, **k: np.sum(np.abs(x), **k)),
    "reduce_l2_norm": reduce(lambda x, **k: np.sqrt(np.sum(np.square(x), **k))),
    "reduce_log_sum": reduce(lambda x, **k: np.log(np.sum(x, **k))),
    "reduce_log_sum_exp": reduce(log_sum_exp),
    "reduce_max": reduce(np.max),
    "reduce_mean": reduce(np.mean),
    "reduce_min": reduce(np.min),
    "reduce_prod": reduce(np.prod),
    "reduce_sum": reduce(np.sum),
    "reduce_sum_square": reduce(lambda x, **k: np.sum(np.square(x), **k)),
    "argsort": lambda a: order(a["x"], a.integer("axis", -1), a.flag("ascending")),
    "cumsum": cumsum,
    "non_zero": lambda a: np.argwhere(a["x"]),
    "softmax": softmax,
    "topk": topk,
}
