"""quantize and dequantize of activations: arguments in, integers or floats out, per tensor or along `axis`."""

from __future__ import annotations

import numpy as np

from .arguments import Arguments, Array, Function

LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def along(parameter: Array, a: Arguments, x: Array) -> Array:
    """A scale or zero point of shape [C] so that it broadcasts along `axis`."""
    if parameter.ndim == 0:
        return parameter
    shape = [1] * x.ndim
    shape[a.integer("axis")] = -1
    return parameter.reshape(shape)


def zero_point(a: Arguments, x: Array) -> Array | float:
    given = a.get("zero_point")
    return 0.0 if given is None else along(given, a, x).astype(np.float32)


def quantize(a: Arguments) -> Array:
    x = a["input"]
    low, high = LIMITS[a.text("output_dtype", "int8")]
    return np.clip(np.round(x / along(a["scale"], a, x)) + zero_point(a, x), low, high)


def dequantize(a: Arguments) -> Array:
    x = a["input"]
    return np.asarray((x.astype(np.float32) - zero_point(a, x)) * along(a["scale"], a, x))


OPS: dict[str, Function] = {"quantize": quantize, "dequantize": dequantize}
