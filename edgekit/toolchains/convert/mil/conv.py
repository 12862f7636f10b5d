"""conv, conv_transpose, linear, matmul, einsum: arguments in, float32 arrays out."""

from __future__ import annotations

import numpy as np

from . import runtime
from .arguments import Arguments, Array, Function, UnknownMode, affordable


def same_padding(sizes: list[int], kernel: list[int], strides: list[int], pad_type: str) -> list[int]:
    """[begin, end] of each spatial axis, such that the output has ceil(size / stride) elements.

    An odd element goes to the end for `same`, to the beginning for `same_lower`.
    """
    pads = []
    for size, extent, stride in zip(sizes, kernel, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        small = total // 2
        pads += [small, total - small] if pad_type == "same" else [total - small, small]
    return pads


def padding(a: Arguments, sizes: list[int], kernel: list[int], strides: list[int]) -> list[int]:
    """MIL's interleaved [begin, end] of each spatial axis, from `pad_type` and `pad`. `kernel` counts dilation."""
    pad_type = a.text("pad_type", "valid")
    if pad_type == "valid":
        return [0] * (2 * len(sizes))
    if pad_type == "custom":
        return a.ints("pad", [0] * (2 * len(sizes)))
    return same_padding(sizes, kernel, strides, pad_type)


def onnx_order(pads: list[int]) -> list[int]:
    """[b0, e0, b1, e1] as [b0, b1, e0, e1]."""
    return pads[0::2] + pads[1::2]


def conv(a: Arguments) -> Array:
    x, weight = a["x"], a["weight"]
    rank = x.ndim - 2
    strides, dilations = a.ints("strides", [1] * rank), a.ints("dilations", [1] * rank)
    kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    interleaved = padding(a, list(x.shape[2:]), kernel, strides)
    pads = onnx_order(interleaved)
    affordable([x.shape[0], weight.shape[0], *(-(-(n + sum(interleaved[2 * i : 2 * i + 2])) // strides[i]) for i, n in enumerate(x.shape[2:]))])
    bias = a.get("bias")
    weights = [weight] if bias is None else [weight, bias]
    return runtime.run_weighted("Conv", x, weights, strides=strides, dilations=dilations, group=a.integer("groups", 1), pads=pads)


def conv_transpose(a: Arguments) -> Array:
    x, weight = a["x"], a["weight"]
    rank = x.ndim - 2
    strides, dilations = a.ints("strides", [1] * rank), a.ints("dilations", [1] * rank)
    kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    full = [s * (n - 1) + k for s, n, k in zip(strides, x.shape[2:], kernel, strict=True)]
    affordable([x.shape[0], weight.shape[1] * a.integer("groups", 1), *full])
    pad_type = a.text("pad_type", "valid")
    if pad_type == "same_lower":
        raise UnknownMode("pad_type = same_lower")
    pads = a.ints("pad", [0] * (2 * rank)) if pad_type == "custom" else [0] * (2 * rank)
    wanted = [n - pads[2 * i] - pads[2 * i + 1] for i, n in enumerate(full)]
    if pad_type == "same":
        wanted = [s * n for s, n in zip(strides, x.shape[2:], strict=True)]
    if a.get("output_shape") is not None:
        wanted = a.ints("output_shape")[2:]
    if pad_type == "same":
        excess = [max(n - w, 0) for n, w in zip(full, wanted, strict=True)]
        pads = [p for e in excess for p in (e // 2, e - e // 2)]
    whole = [(0, max(w + pads[2 * i] - n, 0)) for i, (w, n) in enumerate(zip(wanted, full, strict=True))]
    bias = a.get("bias")
    y = runtime.run("ConvTranspose", [x, weight], strides=strides, dilations=dilations, group=a.integer("groups", 1))
    y = np.pad(y, [(0, 0), (0, 0), *whole])
    y = y[(slice(None), slice(None), *(slice(pads[2 * i], pads[2 * i] + w) for i, w in enumerate(wanted)))]
    return y if bias is None else y + bias.reshape(1, -1, *([1] * rank))


def linear(a: Arguments) -> Array:
    y: Array = a["x"] @ a["weight"].T
    bias = a.get("bias")
    return y if bias is None else y + bias


def matmul(a: Arguments) -> Array:
    x, y = a["x"], a["y"]
    x = x.swapaxes(-1, -2) if a.flag("transpose_x") else x
    y = y.swapaxes(-1, -2) if a.flag("transpose_y") else y
    if x.ndim > 1 and y.ndim > 1:
        affordable([*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1]])
    product: Array = x @ y
    return product


def einsum(a: Arguments) -> Array:
    equation, values = a.text("equation", ""), a.tensors("values")
    terms = equation.replace(" ", "").split("->")
    sizes = {letter: n for term, value in zip(terms[0].split(","), values, strict=True) for letter, n in zip(term, value.shape, strict=True)}
    affordable(sizes[letter] for letter in terms[-1])
    return np.asarray(np.einsum(equation, *values))


OPS: dict[str, Function] = {"conv": conv, "conv_transpose": conv_transpose, "linear": linear, "matmul": matmul, "einsum": einsum}
