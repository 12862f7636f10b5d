"""avg_pool, max_pool, l2_pool in one to three spatial dimensions: arguments in, float32 arrays out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arguments import Arguments, Array, Function, affordable
from .conv import padding


def geometry(a: Arguments) -> tuple[list[int], list[int], list[int], list[int]]:
    """Kernel sizes, strides, interleaved pads, and how much further each axis reaches where `ceil_mode` asks for it."""
    sizes = list(a["x"].shape[2:])
    kernel = a.ints("kernel_sizes")
    strides = a.ints("strides", [1] * len(sizes))
    pads = padding(a, sizes, kernel, strides)
    beyond = [0] * len(sizes)
    if a.flag("ceil_mode"):
        for i, size in enumerate(sizes):
            begin, end = pads[2 * i], pads[2 * i + 1]
            n = -(-(size + begin + end - kernel[i]) // strides[i]) + 1
            if (n - 1) * strides[i] >= size + begin and (begin > 0 or end > 0):
                n -= 1  # no window starts in the padding after the data
            beyond[i] = max((n - 1) * strides[i] + kernel[i] - (size + begin + end), 0)
    return kernel, strides, pads, beyond


def windows(x: Array, a: Arguments, fill: float, beyond_fill: float) -> Array:
    """[n, C, *out, *kernel]: every window, the padding filled with `fill` and what lies beyond it with `beyond_fill`."""
    kernel, strides, pads, beyond = geometry(a)
    rank = len(kernel)
    affordable([*x.shape[:2], *(n + pads[2 * i] + pads[2 * i + 1] + beyond[i] for i, n in enumerate(x.shape[2:]))])
    x = np.pad(x, [(0, 0), (0, 0), *((pads[2 * i], pads[2 * i + 1]) for i in range(rank))], constant_values=fill)
    x = np.pad(x, [(0, 0), (0, 0), *((0, b) for b in beyond)], constant_values=beyond_fill)
    axes = tuple(range(2, 2 + rank))
    every = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=axes)
    return every[(slice(None), slice(None), *(slice(None, None, s) for s in strides))]


def over_window(reduction: Callable[..., Array], w: Array) -> Array:
    return reduction(w, axis=tuple(range(2 + (w.ndim - 2) // 2, w.ndim)))


def max_pool(a: Arguments) -> Array:
    return over_window(np.max, windows(a["x"], a, -np.inf, -np.inf))


def avg_pool(a: Arguments) -> Array:
    """The mean of each window; `exclude_padding_from_average` says whether padding counts. What `ceil_mode` adds never does."""
    x = a["x"]
    total = over_window(np.sum, windows(x, a, 0.0, 0.0))
    pad_counts = 0.0 if a.flag("exclude_padding_from_average") else 1.0
    count = over_window(np.sum, windows(np.ones((1, 1, *x.shape[2:]), np.float32), a, pad_counts, 0.0))
    return total / count


def l2_pool(a: Arguments) -> Array:
    return np.asarray(np.sqrt(over_window(np.sum, windows(a["x"] ** 2, a, 0.0, 0.0))))


OPS: dict[str, Function] = {"avg_pool": avg_pool, "max_pool": max_pool, "l2_pool": l2_pool}
