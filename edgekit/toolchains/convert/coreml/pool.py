"""AveragePool, MaxPool, LpPool: [N, C, *D] in, [N, C, *D'] out, in one to three spatial dimensions.

MIL's own pools where they compute the same; windows with dilations are taken apart into strided slices, one axis after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.convolution import padding, pads_of, spatial
from edgekit.toolchains.convert.coreml.node import NARROW, Array, Lowering, Node, Var, cast, is_float, like, mil_dtype


@dataclass(frozen=True, slots=True)
class Windows:
    """Where windows lie. `ends` reaches exactly to the end of the last one, which makes rounding up or down explicit."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begins: list[int]
    ends: list[int]
    stated: list[int]
    """The ends that the model states: padding up to there counts in a mean that includes padding."""

    @property
    def rank(self) -> int:
        return len(self.kernel)


def windows(node: Node) -> Windows:
    size, out = node.shape(0)[2:], node.made_shape()[2:]
    rank = len(size)
    if not 1 <= rank <= 3:
        node.refuse(f"its input has {rank + 2} axes, and Core ML pools 3 to 5; reshape around it")
    kernel, strides, dilations = [int(k) for k in node.attribute("kernel_shape")], spatial(node, "strides", rank), spatial(node, "dilations", rank)
    pads = pads_of(node, size, kernel, strides, dilations)
    if any((o - 1) * s >= n + b for o, s, n, b in zip(out, strides, size, pads[:rank], strict=True)):
        node.refuse("its last window lies in the padding alone, where ONNX's versions differ; use ceil_mode 0, or pad the input")
    ends = [(o - 1) * s + (k - 1) * d + 1 - n - b for o, s, k, d, n, b in zip(out, strides, kernel, dilations, size, pads[:rank], strict=True)]
    return Windows(kernel, strides, dilations, pads[:rank], ends, pads[rank:])


def slices(x: Var, w: Windows, fill: float) -> Callable[[int, Var], list[Var]]:
    """For an axis, the k strided slices whose combination pools along it."""

    def along(axis: int, y: Var) -> list[Var]:
        i, rank = axis, len(y.shape)
        pad = [0] * (2 * rank)
        pad[2 * (2 + i)], pad[2 * (2 + i) + 1] = w.begins[i], max(w.ends[i], 0)
        y = mb.pad(x=y, pad=pad, mode="constant", constant_val=like(x, fill)) if any(pad) else y
        out = (int(x.shape[2 + i]) + w.begins[i] + w.ends[i] - (w.kernel[i] - 1) * w.dilations[i] - 1) // w.strides[i] + 1
        made = []
        for k in range(w.kernel[i]):
            begin, end, stride = [0] * rank, [int(d) for d in y.shape], [1] * rank
            begin[2 + i] = k * w.dilations[i]
            end[2 + i] = begin[2 + i] + (out - 1) * w.strides[i] + 1
            stride[2 + i] = w.strides[i]
            made.append(mb.slice_by_index(x=y, begin=begin, end=end, stride=stride))
        return made

    return along


def combined(x: Var, w: Windows, fill: float, operation: Callable[..., Var]) -> Var:
    """Every window combined, axis by axis."""
    along, y = slices(x, w, fill), x
    for axis in range(w.rank):
        first, *rest = along(axis, y)
        for term in rest:
            first = operation(x=first, y=term)
        y = first
    return y


def plain(w: Windows) -> bool:
    """Whether MIL's own pools have these windows."""
    return all(d == 1 for d in w.dilations) and all(b < k and e < k for b, e, k in zip(w.begins, w.ends, w.kernel, strict=True))


def pads(w: Windows) -> list[int]:
    return w.begins + [max(e, 0) for e in w.ends]


def max_pool(node: Node) -> Var | list[Var]:
    x, w = node.input(0), windows(node)
    if not is_float(x):
        if node.dtype(0) not in NARROW:
            node.refuse("it pools integers that float32 does not hold, and Core ML pools floats; cast to float32 before it")
        x = cast(x, "fp32")
    y = cast(pooled_max(x, w), mil_dtype(node.made_dtype()))
    return [y, indices(node, x, w)] if node.wanted(1) else y


def pooled_max(x: Var, w: Windows) -> Var:
    if plain(w):
        return mb.max_pool(x=x, kernel_sizes=w.kernel, strides=w.strides, **padding(pads(w)))
    return combined(x, w, -np.inf, mb.maximum)


def indices(node: Node, x: Var, w: Windows) -> Var:
    """The flat place of each maximum in x: all elements of a window side by side, the first largest of them, and its place."""
    shape, out = node.shape(0), node.made_shape()
    if len(shape) > 4:
        node.refuse("it gives the indices of the maxima in three dimensions, which needs six axes; remove that output")
    every = x
    flat = np.arange(int(np.prod(shape))).reshape(shape)
    if node.attribute("storage_order", 0):
        flat = np.arange(int(np.prod(shape))).reshape(*shape[:2], *shape[:1:-1]).transpose(0, 1, *range(len(shape) - 1, 1, -1))
    before = [n for b, e in zip(w.begins, w.ends, strict=True) for n in (b, max(e, 0))]
    widths = [(0, 0), (0, 0), *((before[2 * i], before[2 * i + 1]) for i in range(w.rank))]
    every = mb.pad(x=every, pad=[0, 0, 0, 0, *before], mode="constant", constant_val=like(x, -np.inf))
    table = np.pad(flat, widths)
    values, places = [], []
    for offset in np.ndindex(*w.kernel):
        begin = [0, 0, *(o * d for o, d in zip(offset, w.dilations, strict=True))]
        end = [*shape[:2], *(b + (n - 1) * s + 1 for b, n, s in zip(begin[2:], out[2:], w.strides, strict=True))]
        values.append(mb.slice_by_index(x=every, begin=begin, end=end, stride=[1, 1, *w.strides]))
        places.append(table[tuple(slice(b, e, s) for b, e, s in zip(begin, end, [1, 1, *w.strides], strict=True))])
    chosen = mb.reduce_argmax(x=mb.stack(values=values, axis=len(out)), axis=len(out), keep_dims=True)
    found = mb.gather_along_axis(x=np.stack(places, -1).astype(np.int32), indices=chosen, axis=len(out))
    return mb.squeeze(x=found, axes=[len(out)])


def average_pool(node: Node) -> Var:
    """The mean of each window; padding counts with `count_include_pad`, what rounding up adds never does."""
    x, w = node.input(0), windows(node)
    include = bool(node.attribute("count_include_pad", 0))
    if plain(w) and (not include or all(e <= s for e, s in zip(w.ends, w.stated, strict=True))):
        return mb.avg_pool(x=x, kernel_sizes=w.kernel, strides=w.strides, exclude_padding_from_average=not include, **padding(pads(w)))
    counts = counted(node, w, include)
    return mb.mul(x=combined(x, w, 0.0, mb.add), y=like(x, 1 / counts))


def counted(node: Node, w: Windows, include: bool) -> Array:
    """How many elements of each window count, [1, 1, *D']."""
    made = np.ones(())
    for i, (n, out) in enumerate(zip(node.shape(0)[2:], node.made_shape()[2:], strict=True)):
        low, high = (-w.begins[i], n + w.stated[i]) if include else (0, n)
        at = np.arange(out)[:, None] * w.strides[i] - w.begins[i] + np.arange(w.kernel[i]) * w.dilations[i]
        made = np.multiply.outer(made, ((at >= low) & (at < high)).sum(1))
    return made[None, None]


def lp_pool(node: Node) -> Var:
    """The p-th root of the sum of p-th powers."""
    x, w, p = node.input(0), windows(node), node.attribute("p", 2)
    powers = mb.square(x=x) if p == 2 else mb.abs(x=x) if p == 1 else mb.pow(x=mb.abs(x=x), y=like(x, p))
    total = combined(powers, w, 0.0, mb.add)
    return total if p == 1 else mb.sqrt(x=total) if p == 2 else mb.pow(x=total, y=like(x, 1 / p))


OPS: dict[str, Lowering] = {"AveragePool": average_pool, "LpPool": lp_pool, "MaxPool": max_pool}
