"""upsample_*, resize_*, resize, crop, resample: arguments in, float32 arrays with new spatial sizes (the last two axes) out."""

from __future__ import annotations

import math

import numpy as np

from . import runtime
from .arguments import Arguments, Array, Function, UnknownMode, affordable


def grid(n: int, out: int, sampling_mode: str) -> Array:
    """Where each of `out` points lies on [0, n - 1] (the table in the documentation of resize_bilinear)."""
    (out,) = affordable([out])
    i = np.arange(out)
    if sampling_mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if out == 1:
            return np.array([(n - 1) / 2 if sampling_mode == "ALIGN_CORNERS" else 0.0])
        points = i * ((n - 1) / (out - 1))
    elif sampling_mode == "DEFAULT":
        points = i * (n / out)
    elif sampling_mode == "OFFSET_CORNERS":
        points = (i + 0.5) * (max(1, n - 1) / out)
    elif sampling_mode == "UNALIGN_CORNERS":
        points = half_pixel(i, n / out)
    else:
        raise UnknownMode(f"sampling_mode = {sampling_mode}")
    return np.asarray(np.clip(points, 0, n - 1))


def half_pixel(i: Array, spacing: float) -> Array:
    return np.asarray((i + 0.5) * spacing - 0.5)


def interpolated(x: Array, axis: int, points: Array) -> Array:
    """x read along `axis` at fractional `points` in [0, n - 1], linearly."""
    affordable(len(points) if i == axis % x.ndim else n for i, n in enumerate(x.shape))
    low = np.floor(points).astype(np.int64)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    shape = [1] * x.ndim
    shape[axis] = -1
    share = (points - low).astype(np.float32).reshape(shape)
    return np.asarray(np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share)


def nearest(x: Array, axis: int, out: int, scale: float) -> Array:
    """x repeated along `axis`: point i reads floor(i / scale)."""
    affordable(out if i == axis % x.ndim else n for i, n in enumerate(x.shape))
    at = np.minimum((np.arange(out) / scale).astype(np.int64), x.shape[axis] - 1)
    return np.asarray(np.take(x, at, axis))


def scales(a: Arguments) -> list[tuple[int, float]]:
    return [(-2, a.number("scale_factor_height", 1.0)), (-1, a.number("scale_factor_width", 1.0))]


def targets(a: Arguments) -> list[tuple[int, int]]:
    return [(-2, a.integer("target_size_height", 1)), (-1, a.integer("target_size_width", 1))]


def upsample_nearest_neighbor(a: Arguments) -> Array:
    x = a["x"]
    for axis, scale in scales(a):
        x = nearest(x, axis, math.floor(x.shape[axis] * scale), scale)
    return x


def upsample_bilinear(a: Arguments) -> Array:
    """`half_pixel_centers` is the opposite of `align_corners` unless given."""
    x, align = a["x"], a.flag("align_corners", True)
    centres = a.flag("half_pixel_centers", not align)
    for axis, scale in scales(a):
        n = x.shape[axis]
        out = math.floor(n * scale)
        if align:
            points = grid(n, out, "STRICT_ALIGN_CORNERS")
        else:
            i = np.arange(*affordable([out]))
            points = np.clip(half_pixel(i, 1 / scale) if centres else i / scale, 0, n - 1)
        x = interpolated(x, axis, points)
    return x


def resize_bilinear(a: Arguments) -> Array:
    x = a["x"]
    for axis, out in targets(a):
        x = interpolated(x, axis, grid(x.shape[axis], out, a.text("sampling_mode", "DEFAULT")))
    return x


def resize_nearest_neighbor(a: Arguments) -> Array:
    x = a["x"]
    for axis, out in targets(a):
        x = nearest(x, axis, out, out / x.shape[axis])
    return x


def resize(a: Arguments) -> Array:
    """The rightmost `resized_dims` axes take the sizes in `shape`, 0 keeping the input's."""
    x, shape, mode = a["x"], a.ints("shape"), a.text("sampling_mode", "DEFAULT")
    linear = a.text("interpolation_mode", "LINEAR") == "LINEAR"
    if not linear and mode != "DEFAULT":
        raise UnknownMode(f"interpolation_mode = NEAREST_NEIGHBOR and sampling_mode = {mode}")
    for axis in range(-a.integer("resized_dims"), 0):
        n, out = x.shape[axis], shape[axis] or x.shape[axis]
        x = interpolated(x, axis, grid(n, out, mode)) if linear else nearest(x, axis, out, out / n)
    return x


def crop(a: Arguments) -> Array:
    x, (top, bottom), (left, right) = a["x"], a.ints("crop_height"), a.ints("crop_width")
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def resample(a: Arguments) -> Array:
    """Reading x at `coordinates` [n, H, W, 2] (ONNX's GridSample)."""
    align, pad = a.flag("align_corners"), a.text("padding_mode", "constant")
    names = {("constant", align): "zeros", ("border", align): "border", ("symmetric", False): "reflection", ("reflection", True): "reflection"}
    coordinates = a.text("coordinates_mode", "")
    if (pad, align) not in names or coordinates != "normalized_minus_one_to_one" or a.number("padding_value", 0.0) != 0:
        raise UnknownMode(f"padding_mode = {pad}, align_corners = {align}, coordinates_mode = {coordinates}")
    mode = a.text("sampling_mode", "bilinear")
    return runtime.run("GridSample", [a["x"], a["coordinates"]], mode=mode, padding_mode=names[pad, align], align_corners=int(align))


OPS: dict[str, Function] = {
    "crop": crop,
    "resample": resample,
    "resize": resize,
    "resize_bilinear": resize_bilinear,
    "resize_nearest_neighbor": resize_nearest_neighbor,
    "upsample_bilinear": upsample_bilinear,
    "upsample_nearest_neighbor": upsample_nearest_neighbor,
}
