"""Operators that move or make values without arithmetic (Reshape, Slice, Pad, Concat …): tensors and stored shapes in, tensors out."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from onnx import helper, numpy_helper

from edgekit.toolchains.convert.coreml.node import (
    Array,
    Lowering,
    Node,
    Var,
    as_numbers,
    carried,
    cast,
    expanded,
    is_bool,
    is_float,
    like,
    select,
    transposed,
)


def to_made_shape(node: Node) -> Var:
    """Reshape, Flatten, Squeeze, Unsqueeze: the shape that ONNX infers."""
    x, shape = node.input(0), node.made_shape()
    if len(shape) > 5:
        node.refuse(f"it gives {len(shape)} axes, and Core ML has at most 5; keep fewer axes")
    if not len(x.shape):
        x = mb.expand_dims(x=x, axes=[0])
    if not shape:
        return mb.squeeze(x=x, axes=list(range(len(x.shape)))) if len(x.shape) else mb.identity(x=x)
    return mb.reshape(x=x, shape=np.array(shape, np.int32))


def transpose(node: Node) -> Var:
    x = node.input(0)
    order = node.attribute("perm") or list(range(len(x.shape)))[::-1]
    return mb.transpose(x=x, perm=[int(i) for i in order]) if len(order) > 1 else mb.identity(x=x)


def concat(node: Node) -> Var:
    values = node.inputs()
    return mb.concat(values=values, axis=node.attribute("axis")) if len(values) > 1 else mb.identity(x=values[0])


def split(node: Node) -> list[Var]:
    """At the sizes that ONNX infers."""
    x, axis = node.input(0), node.attribute("axis", 0)
    sizes = [node.made_shape(i)[axis] for i in range(len(node.proto.output))]
    made = mb.split(x=x, split_sizes=sizes, axis=axis) if len(sizes) > 1 else mb.identity(x=x)
    return list(made) if isinstance(made, list | tuple) else [made]


def slice_(node: Node) -> Var:
    """Each axis by Python's own reading of start, end and step; where nothing lies before a negative step's end, it is open."""
    x = node.input(0)
    shape = [int(n) for n in x.shape]
    rank = len(shape)
    starts, ends = node.ints(1, "starts"), node.ints(2, "ends")
    axes = node.ints(3, "axes") if node.given(3) else list(range(len(starts)))
    steps = node.ints(4, "steps") if node.given(4) else [1] * len(starts)
    begin, end, stride, open_ = [0] * rank, list(shape), [1] * rank, [False] * rank
    for start, stop, step, axis in zip(starts, ends, steps, axes, strict=True):
        i = axis % rank
        begin[i], end[i], stride[i] = slice(start, stop, step).indices(shape[i])
        open_[i] = end[i] < 0
        end[i] = max(end[i], 0)
    masks = {"begin_mask": [b == 0 and s > 0 for b, s in zip(begin, stride, strict=True)],
             "end_mask": [o or (e == n and s > 0) for o, e, n, s in zip(open_, end, shape, stride, strict=True)]}  # fmt: skip
    return as_numbers(lambda x: mb.slice_by_index(x=x, begin=begin, end=end, stride=stride, **masks))(x)


def pad(node: Node) -> Var:
    """MIL pads the last axes with values, and two of them by reflection or repetition: other cases read the padded places one axis after the other."""
    x, mode = node.input(0), node.attribute("mode", "constant")
    rank = len(x.shape)
    given = node.ints(1, "pads")
    axes = [a % rank for a in node.ints(3, "axes")] if node.given(3) else list(range(rank))
    begins, ends = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        begins[axis], ends[axis] = given[i], given[len(axes) + i]
    x = cropped(x, begins, ends)
    begins, ends = [max(b, 0) for b in begins], [max(e, 0) for e in ends]
    if mode == "constant":
        return filled(node, x, begins, ends)
    own = reflected(x, mode, begins, ends)
    if own is not None:
        return own
    for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if begin or end:
            n = int(x.shape[axis])
            modes = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}
            at = np.pad(np.arange(n), (begin, end), modes[mode]).astype(np.int32)  # type: ignore[call-overload]
            x = as_numbers(lambda x, at=at, axis=axis: mb.gather(x=x, indices=at, axis=axis))(x)  # type: ignore[misc]
    return x


def reflected(x: Var, mode: str, begins: list[int], ends: list[int]) -> Var | None:
    """MIL's own reflection and repetition, which it has for the last two axes of floats and less than their size; else None."""
    rank, own = len(x.shape), {"reflect": "reflect", "edge": "replicate"}.get(mode)
    short = all(max(b, e) < int(n) for n, b, e in zip(x.shape, begins, ends, strict=True))
    if own is None or not is_float(x) or rank < 2 or any([*begins[:-2], *ends[:-2]]) or not short:
        return None
    return mb.pad(x=x, pad=[begins[-2], ends[-2], begins[-1], ends[-1]], mode=own, constant_val=like(x, 0))


def cropped(x: Var, begins: list[int], ends: list[int]) -> Var:
    """x without what negative pads take away."""
    if min([*begins, *ends], default=0) >= 0:
        return x
    first = [max(-b, 0) for b in begins]
    size = [int(n) - b - max(-e, 0) for n, b, e in zip(x.shape, first, ends, strict=True)]
    return as_numbers(lambda x: mb.slice_by_size(x=x, begin=first, size=size))(x)


def filled(node: Node, x: Var, begins: list[int], ends: list[int]) -> Var:
    pairs = [n for pair in zip(begins, ends, strict=True) for n in pair]
    if not any(pairs):
        return mb.identity(x=x)
    fill = node.value(2) if node.given(2) else np.zeros(1)
    if fill is None:  # a value that is computed takes the places of the zeros
        inside = np.pad(np.ones([int(n) for n in x.shape], bool), list(zip(begins, ends, strict=True)))
        return select(inside, a=padded(x, begins, ends, 0), b=node.input(2))
    return as_numbers(lambda x: padded(x, begins, ends, fill.reshape(-1)[0]))(x)


def padded(x: Var, begins: list[int], ends: list[int], fill: Any) -> Var:
    """x between constant values; integers by concatenation, because MIL pads floats."""
    if is_float(x):
        pairs = [n for pair in zip(begins, ends, strict=True) for n in pair]
        return mb.pad(x=x, pad=pairs, mode="constant", constant_val=like(x, fill))
    for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):

        def side(n: int, x: Var = x, axis: int = axis) -> list[Var]:
            return [like(x, np.full([n if i == axis else int(d) for i, d in enumerate(x.shape)], fill))] if n else []

        parts = [*side(begin), x, *side(end)]
        x = mb.concat(values=parts, axis=axis) if len(parts) > 1 else x
    return x


def expand(node: Node) -> Var:
    """Each axis of size 1 repeated."""
    x, shape = node.input(0), node.made_shape()
    if not len(x.shape):
        x = mb.expand_dims(x=x, axes=[0]) if shape else x
    return expanded(x, shape)


def tile(node: Node) -> Var:
    reps = node.ints(1, "repeats")
    return as_numbers(lambda x: mb.tile(x=x, reps=reps))(node.input(0))


def constant(values: Array) -> Var:
    return mb.const(val=carried(values))


def shape_of(node: Node) -> Var:
    shape = node.shape(0)
    return constant(np.array(shape[slice(node.attribute("start", 0), node.attribute("end"))], np.int32))


def size_of(node: Node) -> Var:
    return constant(np.array(np.prod(node.shape(0), dtype=np.int64)))


def constant_of_shape(node: Node) -> Var:
    held = node.attribute("value")
    value = carried(numpy_helper.to_array(held)).reshape(-1)[0] if held is not None else np.float32(0)
    shape = node.made_shape()
    if value.dtype == bool:
        return cast(mb.fill(shape=shape, value=np.int32(value)), "bool")
    return mb.fill(shape=shape, value=value)


def eye_like(node: Node) -> Var:
    n, m = node.made_shape()
    dtype = helper.tensor_dtype_to_np_dtype(node.made_dtype())
    return constant(np.eye(n, m, node.attribute("k", 0)).astype(dtype))


def triangle(node: Node) -> Var:
    """What lies on and above (or below) the k-th diagonal of each innermost matrix, zeros elsewhere."""
    x = node.input(0)
    k = node.ints(1, "diagonal")[0] if node.given(1) else 0
    upper = bool(node.attribute("upper", 1))
    rows, columns = int(x.shape[-2]), int(x.shape[-1])
    if k == 0 and is_float(x):
        return mb.band_part(x=x, lower=0 if upper else -1, upper=-1 if upper else 0)
    inside = np.triu(np.ones((rows, columns), bool), k) if upper else np.tril(np.ones((rows, columns), bool), k)
    inside = inside.reshape([1] * (len(x.shape) - 2) + [rows, columns])
    if is_bool(x):
        return mb.logical_and(x=x, y=inside)
    return select(inside, a=x, b=like(x, np.zeros([1] * len(x.shape))))


def depth_to_space(node: Node) -> Var:
    x, s = node.input(0), node.attribute("blocksize")
    if node.attribute("mode", "DCR") == "DCR":
        return mb.depth_to_space(x=x, block_size=s) if is_float(x) else rearranged(x, s, [0, 3, 4, 1, 5, 2], depth_first=False)
    return mb.pixel_shuffle(x=x, upscale_factor=s) if is_float(x) else rearranged(x, s, [0, 1, 4, 2, 5, 3], depth_first=True)


def rearranged(x: Var, s: int, order: list[int], depth_first: bool) -> Var:
    """DepthToSpace of integers, batch by batch, because six axes are too many."""
    n, c, h, w = (int(d) for d in x.shape)
    depth = c // s**2
    made = []
    for i in range(n):
        one = mb.reshape(x=mb.slice_by_size(x=x, begin=[i, 0, 0, 0], size=[1, c, h, w]), shape=[depth, s, s, h, w] if depth_first else [s, s, depth, h, w])
        made.append(mb.reshape(x=transposed(one, [o - 1 for o in order[1:]]), shape=[1, depth, h * s, w * s]))
    return mb.concat(values=made, axis=0) if n > 1 else made[0]


def space_to_depth(node: Node) -> Var:
    """The channel axis becomes [block row, block column, depth], with mode CRD [depth, block row, block column]."""
    x, s = node.input(0), node.attribute("blocksize")
    if not is_float(x):
        node.refuse("it moves integers, and Core ML has it for floats; cast to float32 before it")
    return mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(s)) if node.attribute("mode", "DCR") == "CRD" else mb.space_to_depth(x=x, block_size=s)


def center_crop_pad(node: Node) -> Var:
    """Each axis cut or padded with zeros around its middle (ONNX operators, CenterCropPad)."""
    x, shape = node.input(0), node.made_shape()
    before = [int(n) for n in x.shape]
    begins = [-((n - m) // 2) if m < n else (m - n) // 2 for n, m in zip(before, shape, strict=True)]
    ends = [m - n - b for n, m, b in zip(before, shape, begins, strict=True)]
    x = cropped(x, begins, ends)
    pairs = [max(n, 0) for pair in zip(begins, ends, strict=True) for n in pair]
    if not any(pairs):
        return x
    if not is_float(x):
        node.refuse("it pads integers, and Core ML pads floats; cast to float32 before it")
    return mb.pad(x=x, pad=pairs, mode="constant", constant_val=like(x, 0))


OPS: dict[str, Lowering] = {
    "CenterCropPad": center_crop_pad,
    "Concat": concat,
    "ConstantOfShape": constant_of_shape,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "EyeLike": eye_like,
    "Flatten": to_made_shape,
    "Pad": pad,
    "Reshape": to_made_shape,
    "Shape": shape_of,
    "Size": size_of,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": to_made_shape,
    "Tile": tile,
    "Transpose": transpose,
    "Trilu": triangle,
    "Unsqueeze": to_made_shape,
}
