"""batch_norm, layer_norm, instance_norm, l2_norm, local_response_norm: arguments in, float32 arrays of x's shape out."""

from __future__ import annotations

import numpy as np

from .arguments import Arguments, Array, Function
from .elementwise import per_channel


def batch_norm(a: Arguments) -> Array:
    """Normalisation with given moments, channels on axis 1."""
    x = a["x"]
    scale = 1 / np.sqrt(a["variance"] + np.float32(a.number("epsilon", 1e-5)))
    gamma, beta = a.get("gamma"), a.get("beta")
    y = (x - per_channel(a["mean"], x.ndim)) * per_channel(scale if gamma is None else scale * gamma, x.ndim)
    return y if beta is None else y + per_channel(beta, x.ndim)


def standardised(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    """x less its mean over `axes`, divided by its standard deviation there (biased, as in training frameworks)."""
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + np.float32(epsilon)))


def instance_norm(a: Arguments) -> Array:
    """Each channel of each sample over its spatial axes."""
    x = a["x"]
    y = standardised(x, tuple(range(2, x.ndim)), a.number("epsilon", 1e-5))
    gamma, beta = a.get("gamma"), a.get("beta")
    y = y if gamma is None else y * per_channel(gamma, x.ndim)
    return y if beta is None else y + per_channel(beta, x.ndim)


def layer_norm(a: Arguments) -> Array:
    """Over `axes` (default all); gamma and beta have the shape of those axes."""
    x = a["x"]
    axes = tuple(sorted(i % x.ndim for i in a.ints("axes", range(x.ndim))))
    along = [n if i in axes else 1 for i, n in enumerate(x.shape)]
    y = standardised(x, axes, a.number("epsilon", 1e-5))
    gamma, beta = a.get("gamma"), a.get("beta")
    y = y if gamma is None else y * gamma.reshape(along)
    return y if beta is None else y + beta.reshape(along)


def l2_norm(a: Arguments) -> Array:
    """x divided by the Euclidean length of its last three axes."""
    x = a["x"]
    squares = np.square(x).sum(axis=(-3, -2, -1), keepdims=True)
    return np.asarray(x / np.sqrt(squares + np.float32(a.number("epsilon", 1e-6))))


def local_response_norm(a: Arguments) -> Array:
    """Across `size` neighbouring channels, half of them before."""
    x, size = a["x"], a.integer("size")
    before = (size - 1) // 2
    padded = np.pad(np.square(x), [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    around = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1).sum(axis=-1)
    return np.asarray(x / (a.number("k", 1.0) + a.number("alpha", 1e-4) / size * around) ** a.number("beta", 0.75))


OPS: dict[str, Function] = {
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "l2_norm": l2_norm,
    "local_response_norm": local_response_norm,
}
