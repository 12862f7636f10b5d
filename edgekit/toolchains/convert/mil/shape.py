"""Operations that move or make values without arithmetic (reshape, concat, slice, pad, fill …): arguments in, arrays out."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from .arguments import Arguments, Array, Function, UnknownMode, affordable


def reshape(a: Arguments) -> Array:
    """-1 is inferred; 0 copies the input's dimension, counted from the last."""
    x, shape = a["x"], a.ints("shape")
    return x.reshape([x.shape[i - len(shape)] if d == 0 and x.size else d for i, d in enumerate(shape)])


def flatten2d(a: Arguments) -> Array:
    x = a["x"]
    return x.reshape(math.prod(x.shape[: a.integer("axis", 1)]), -1)


def expand_dims(a: Arguments) -> Array:
    return np.expand_dims(a["x"], tuple(a.ints("axes")))


def squeeze(a: Arguments) -> Array:
    return np.squeeze(a["x"], tuple(a.ints("axes")) if a.get("axes") is not None else None)


def concat(a: Arguments) -> Array:
    """`interleave` takes one slice of each in turn."""
    values, axis = a.tensors("values"), a.integer("axis", 0)
    if not a.flag("interleave"):
        return np.concatenate(values, axis)
    axis %= values[0].ndim
    together = np.stack(values, axis + 1)
    return together.reshape(*values[0].shape[:axis], -1, *values[0].shape[axis + 1 :])


def split(a: Arguments) -> list[Array]:
    x, axis = a["x"], a.integer("axis", 0)
    if a.get("split_sizes") is not None:
        return np.split(x, np.cumsum(a.ints("split_sizes"))[:-1], axis)
    return np.split(x, a.integer("num_splits"), axis)


def slice_by_index(a: Arguments) -> Array:
    """numpy's own slicing: a masked begin or end is left open, a squeezed axis is indexed."""
    x = a["x"]
    begin, end, stride = a.ints("begin"), a.ints("end"), a.ints("stride", [1] * x.ndim)
    open_begin, open_end, index = (a.flags(f"{name}_mask", x.ndim) for name in ("begin", "end", "squeeze"))
    where = (begin[i] if index[i] else slice(None if open_begin[i] else begin[i], None if open_end[i] else end[i], stride[i]) for i in range(x.ndim))
    return np.asarray(x[tuple(where)])


def slice_by_size(a: Arguments) -> Array:
    """A size of -1 reaches to the end."""
    bounds = zip(a.ints("begin"), a.ints("size"), strict=True)
    return a["x"][tuple(slice(b, None if n == -1 else b + n) for b, n in bounds)]


def slice_update(a: Arguments) -> Array:
    """x with the slice replaced by `update`."""
    places = np.arange(a["x"].size).reshape(a["x"].shape)
    chosen = slice_by_index(Arguments({**a.values, "x": places}))
    y = a["x"].copy().reshape(-1)
    y[chosen.reshape(-1)] = np.broadcast_to(a["update"], chosen.shape).reshape(-1)
    return y.reshape(a["x"].shape)


def pad(a: Arguments) -> Array:
    """The last axes of x, [before, after] each. `reflect` leaves the edge out, `replicate` repeats it."""
    x, pads, mode = a["x"], a.ints("pad"), a.text("mode", "constant")
    widths = [(0, 0)] * (x.ndim - len(pads) // 2) + list(zip(pads[0::2], pads[1::2], strict=True))
    affordable(n + before + after for n, (before, after) in zip(x.shape, widths, strict=True))
    if mode == "constant":
        return np.pad(x, widths, constant_values=a.number("constant_val", 0.0))
    if mode == "reflect":
        return np.pad(x, widths, "reflect")
    if mode == "replicate":
        return np.pad(x, widths, "edge")
    raise UnknownMode(f"mode = {mode}")


def band_part(a: Arguments) -> Array:
    """The band of each innermost matrix; negative keeps a whole triangle."""
    x = a["x"]
    below = np.arange(x.shape[-2])[:, None] - np.arange(x.shape[-1])
    lower, upper = a.integer("lower", -1), a.integer("upper", -1)
    inside = ((lower < 0) | (below <= lower)) & ((upper < 0) | (-below <= upper))
    return np.where(inside, x, np.zeros((), x.dtype))


def depth_to_space(a: Arguments) -> Array:
    """The channel axis holds [block row, block column, depth] (ONNX's DCR)."""
    x, s = a["x"], a.integer("block_size")
    n, c, h, w = x.shape
    return x.reshape(n, s, s, c // s**2, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, c // s**2, h * s, w * s)


def space_to_depth(a: Arguments) -> Array:
    x, s = a["x"], a.integer("block_size")
    n, c, h, w = x.shape
    return x.reshape(n, c, h // s, s, w // s, s).transpose(0, 3, 5, 1, 2, 4).reshape(n, c * s**2, h // s, w // s)


def pixel_shuffle(a: Arguments) -> Array:
    """The channel axis holds [depth, block row, block column] (ONNX's CRD)."""
    x, s = a["x"], a.integer("upscale_factor")
    n, c, h, w = x.shape
    return x.reshape(n, c // s**2, s, s, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // s**2, h * s, w * s)


def pixel_unshuffle(a: Arguments) -> Array:
    x, s = a["x"], a.integer("downscale_factor")
    n, c, h, w = x.shape
    return x.reshape(n, c, h // s, s, w // s, s).transpose(0, 1, 3, 5, 2, 4).reshape(n, c * s**2, h // s, w // s)


def space_to_batch(a: Arguments) -> Array:
    """Each place of a block of the padded image becomes a batch, those of one place together."""
    (down, across), pads = a.ints("block_shape"), a["paddings"].tolist()
    affordable([*a["x"].shape[:2], *(n + sum(p) for n, p in zip(a["x"].shape[2:], pads, strict=True))])
    x = np.pad(a["x"], [(0, 0), (0, 0), *pads])
    n, c, h, w = x.shape
    return x.reshape(n, c, h // down, down, w // across, across).transpose(3, 5, 0, 1, 2, 4).reshape(-1, c, h // down, w // across)


def batch_to_space(a: Arguments) -> Array:
    """What space_to_batch did, undone, then cropped."""
    x, (down, across), ((top, bottom), (left, right)) = a["x"], a.ints("block_shape"), a["crops"].tolist()
    n, c, h, w = x.shape
    x = x.reshape(down, across, n // (down * across), c, h, w).transpose(2, 3, 4, 0, 5, 1).reshape(-1, c, h * down, w * across)
    return x[:, :, top : h * down - bottom, left : w * across - right]


def sliding_windows(a: Arguments) -> Array:
    """Every window of `size` along `axis`, as a new axis behind it."""
    x, size = a["x"], a.integer("size")
    axis = a.integer("axis") % x.ndim
    every = np.lib.stride_tricks.sliding_window_view(x, size, axis=axis)
    chosen = every[(slice(None),) * axis + (slice(None, None, a.integer("stride", 1)),)]
    affordable(chosen.shape)
    return np.moveaxis(chosen, -1, axis + 1)


def reverse_sequence(a: Arguments) -> Array:
    """The first `lengths[i]` elements of sample i in reverse, the rest in order."""
    x, along, batch = a["x"], a.integer("seq_axis", 0), a.integer("batch_axis", 0)
    y = np.moveaxis(x, (batch, along), (0, 1)).copy()
    for sample, length in zip(y, a.ints("lengths"), strict=True):
        sample[:length] = sample[:length][::-1].copy()
    return np.moveaxis(y, (0, 1), (batch, along))


def reshape_like(a: Arguments) -> Array:
    """x in a shape put together from parts of the shapes of others."""
    parts = zip(a.tensors("ref_tensors"), a.tensors("begins"), a.tensors("ends"), a.tensors("end_masks"), strict=True)
    return a["x"].reshape([n for other, begin, end, open_end in parts for n in other.shape[int(begin) : None if open_end else int(end)]])


def made(a: Arguments, shape: Iterable[int]) -> Array:
    """`value` everywhere."""
    return np.full(affordable(shape), a["value"] if "value" in a.values else np.float32(0))


def tile(a: Arguments) -> Array:
    x, reps = a["x"], a.ints("reps")
    affordable(n * r for n, r in zip(x.shape, reps, strict=True))
    return np.tile(x, reps)


def range_1d(a: Arguments) -> Array:
    start, end, step = (a[name].item() for name in ("start", "end", "step"))
    affordable([max(0, math.ceil((end - start) / step))])
    return np.arange(start, end, step)


def one_hot(a: Arguments) -> Array:
    """An index out of range gives a row of `off_value`."""
    indices, size = a["indices"], a.integer("one_hot_vector_size")
    affordable([*indices.shape, size])
    hot = indices[..., None] == np.arange(size)
    axis = a.integer("axis", -1)
    on, off = (a[name] if name in a.values else np.asarray(default, np.int32) for name, default in (("on_value", 1), ("off_value", 0)))
    return np.moveaxis(np.where(hot, on, off), -1, axis)


OPS: dict[str, Function] = {
    "band_part": band_part,
    "batch_to_space": batch_to_space,
    "concat": concat,
    "depth_to_space": depth_to_space,
    "expand_dims": expand_dims,
    "fill": lambda a: made(a, a.ints("shape")),
    "fill_like": lambda a: made(a, a["ref_tensor"].shape),
    "flatten2d": flatten2d,
    "one_hot": one_hot,
    "pad": pad,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "range_1d": range_1d,
    "reshape": reshape,
    "reshape_like": reshape_like,
    "reverse": lambda a: np.flip(a["x"], tuple(a.ints("axes", range(a["x"].ndim)))),
    "shape": lambda a: np.array(a["x"].shape, np.int32),
    "reverse_sequence": reverse_sequence,
    "slice_by_index": slice_by_index,
    "slice_by_size": slice_by_size,
    "slice_update": slice_update,
    "sliding_windows": sliding_windows,
    "space_to_batch": space_to_batch,
    "space_to_depth": space_to_depth,
    "split": split,
    "squeeze": squeeze,
    "stack": lambda a: np.stack(a.tensors("values"), a.integer("axis", 0)),
    "tile": tile,
    "transpose": lambda a: a["x"].transpose(a.ints("perm")),
}
