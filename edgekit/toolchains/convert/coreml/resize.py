"""Resize and Upsample: a tensor and stored scales or sizes in, the resized tensor out, in all of ONNX's modes.

Where MIL's own operations read the same elements they are used. Otherwise an axis is read at stored places (nearest), or
multiplied by the matrix of its interpolation weights, which is exact for every mode, coordinate and filter (ONNX operators, Resize).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.node import Array, Lowering, Node, Var, as_numbers, is_float, like, select


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis is resized."""

    index: int
    size: int
    out: int
    scale: float
    roi: tuple[float, float]


def resize(node: Node) -> Var:
    x, mode = node.input(0), node.attribute("mode", "nearest")
    axes = resized(node)
    if not axes:
        return mb.identity(x=x)
    if mode == "nearest":
        return nearest(node, x, axes)
    if not is_float(x):
        node.refuse("it interpolates integers, and Core ML interpolates floats; cast to float32 before it")
    own = linear(node, x, axes)
    if own is not None:
        return own
    outside: dict[int, Array] = {}
    for axis in axes:
        points = coordinates(node, axis)
        if node.attribute("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
            outside[axis.index] = (points < 0) | (points > axis.size - 1)
        x = multiplied(x, weights(node, axis, points), axis.index)
    return extrapolated(node, x, outside)


def resized(node: Node) -> list[Axis]:
    """The axes whose size, scale or region changes anything."""
    before, after = node.shape(0), node.made_shape()
    rank = len(before)
    chosen = [a % rank for a in node.attribute("axes") or range(rank)]
    upsample = node.proto.op_type == "Upsample"
    given = node.needed(1 if upsample else 2, "scales") if node.given(1 if upsample else 2) else np.zeros(0)
    scales = dict(zip(chosen, given.reshape(-1).tolist(), strict=True)) if given.size else {}
    if not scales:
        scales = sized(node, chosen, before)
    roi = node.value(1) if not upsample else None
    regions = {a: (float(roi[i]), float(roi[i + len(chosen)])) for i, a in enumerate(chosen)} if roi is not None and roi.size else {}
    found = [Axis(a, before[a], after[a], scales[a], regions.get(a, (0.0, 1.0))) for a in sorted(chosen)]
    mode = node.attribute("coordinate_transformation_mode", "half_pixel")
    cropped = mode == "tf_crop_and_resize"
    if mode in ("align_corners", "tf_crop_and_resize") and any(abs(a.scale * a.size - a.out) > 1e-3 for a in found):
        node.refuse("its scales give no whole sizes, where ONNX's definition and ONNX Runtime differ; give sizes, or scales that divide evenly")
    return [a for a in found if a.scale != 1 or a.out != a.size or (cropped and a.roi != (0.0, 1.0))]


def sized(node: Node, chosen: list[int], before: list[int]) -> dict[int, float]:
    """The scales that sizes ask for: one for all axes where the aspect ratio is kept."""
    sizes = dict(zip(chosen, node.ints(3, "sizes"), strict=True))
    ratios = {a: n / before[a] for a, n in sizes.items()}
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return ratios
    one = (min if policy == "not_larger" else max)(ratios.values())
    return dict.fromkeys(ratios, one)


def coordinates(node: Node, axis: Axis) -> Array:
    """Where each point of the result lies in the input."""
    mode, n, scale, (start, end) = node.attribute("coordinate_transformation_mode", "half_pixel"), axis.size, axis.scale, axis.roi
    y, width = np.arange(axis.out, dtype=np.float64), axis.scale * axis.size
    if mode == "align_corners":
        return y * ((n - 1) / (width - 1)) if width != 1 else np.zeros(axis.out)
    if mode == "asymmetric":
        return y / scale
    if mode == "tf_crop_and_resize":
        inside = y * (end - start) * (n - 1) / (width - 1) if width != 1 else np.full(axis.out, (end - start) * (n - 1) / 2)
        return np.asarray(inside + start * (n - 1))
    if mode == "pytorch_half_pixel" and width == 1:
        return np.full(axis.out, -0.5)
    shift = n / 2 * (1 - axis.out / width) if mode == "half_pixel_symmetric" else 0.0
    return np.asarray(shift + (y + 0.5) / scale - 0.5)


def nearest(node: Node, x: Var, axes: list[Axis]) -> Var:
    """Each axis read at the places that the rounding chooses; in one operation where they are those of MIL."""
    chosen = {axis.index: rounded(coordinates(node, axis), node.attribute("nearest_mode", "round_prefer_floor"), axis.size) for axis in axes}
    rank = len(x.shape)
    if rank == 4 and is_float(x) and all(axis.index >= 2 and axis.out % axis.size == 0 for axis in axes):
        factors = {axis.index: axis.out // axis.size for axis in axes}
        if all((chosen[axis.index] == np.arange(axis.out) // factors[axis.index]).all() for axis in axes):
            return mb.upsample_nearest_neighbor(x=x, scale_factor_height=factors.get(2, 1), scale_factor_width=factors.get(3, 1))
    for axis in axes:
        if axis.out == axis.size and (chosen[axis.index] == np.arange(axis.out)).all():
            continue
        x = as_numbers(lambda x, axis=axis: mb.gather(x=x, indices=chosen[axis.index], axis=axis.index))(x)  # type: ignore[misc]
    return x


def rounded(points: Array, mode: str, n: int) -> Array:
    if mode == "round_prefer_floor":
        whole = np.ceil(points - 0.5)
    elif mode == "round_prefer_ceil":
        whole = np.floor(points + 0.5)
    else:
        whole = np.floor(points) if mode == "floor" else np.ceil(points)
    return np.clip(whole, 0, n - 1).astype(np.int32)


def linear(node: Node, x: Var, axes: list[Axis]) -> Var | None:
    """MIL's bilinear operation on the last two of four axes, where it reads at the same places; else None."""
    mode, width = node.attribute("coordinate_transformation_mode", "half_pixel"), {axis.index: axis for axis in axes}
    if node.attribute("mode") != "linear" or len(x.shape) != 4 or min(width) < 2 or node.attribute("exclude_outside", 0):
        return None
    if node.attribute("antialias", 0) and any(axis.scale < 1 for axis in axes):
        return None
    sampling = {"half_pixel": "UNALIGN_CORNERS", "pytorch_half_pixel": "UNALIGN_CORNERS", "align_corners": "STRICT_ALIGN_CORNERS", "asymmetric": "DEFAULT"}
    even = all(axis.out == axis.scale * axis.size for axis in axes) or all(abs(axis.out / axis.size - axis.scale) < 1e-6 for axis in axes)
    if mode not in sampling or not even or any(axis.out == 1 for axis in axes):
        return None
    height, breadth = node.made_shape()[2:]
    if mode.endswith("half_pixel") and all(float(axis.scale).is_integer() for axis in axes):
        factors = [axis.out // axis.size for axis in (width.get(i) for i in (2, 3)) if axis is not None]
        if len(factors) == 2:
            return mb.upsample_bilinear(x=x, scale_factor_height=factors[0], scale_factor_width=factors[1], align_corners=False)
    return mb.resize_bilinear(x=x, target_size_height=height, target_size_width=breadth, sampling_mode=sampling[mode])


def weights(node: Node, axis: Axis, points: Array) -> Array:
    """[out, size]: what each element of the axis adds to each point of the result; the edge element stands for all beyond it."""
    cubic, n = node.attribute("mode") == "cubic", axis.size
    shrink = min(axis.scale, 1.0) if node.attribute("antialias", 0) else 1.0
    reach = int(np.ceil((2 if cubic else 1) / shrink)) + 1
    first = np.floor(points).astype(np.int64)
    at = first[:, None] + np.arange(-reach, reach + 1)
    distance = np.abs(at - points[:, None]) * shrink
    w = keys(distance, node.attribute("cubic_coeff_a", -0.75)) if cubic else np.maximum(1 - distance, 0)
    if node.attribute("exclude_outside", 0):
        w = np.where((at >= 0) & (at < n), w, 0)
    w = w / w.sum(1, keepdims=True)
    made = np.zeros((axis.out, n))
    np.add.at(made, (np.arange(axis.out)[:, None], np.clip(at, 0, n - 1)), w)
    return made


def keys(distance: Array, a: float) -> Array:
    """The cubic convolution kernel (Keys, 1981)."""
    d = distance
    near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def multiplied(x: Var, matrix: Array, axis: int) -> Var:
    """x times the matrix along an axis."""
    rank = len(x.shape)
    if axis == rank - 1:
        return mb.matmul(x=x, y=like(x, matrix.T))
    if axis == rank - 2:
        return mb.matmul(x=like(x, matrix.reshape([1] * (rank - 2) + list(matrix.shape))), y=x)
    order = [i for i in range(rank) if i != axis] + [axis]
    turned = mb.matmul(x=mb.transpose(x=x, perm=order), y=like(x, matrix.T))
    return mb.transpose(x=turned, perm=list(np.argsort(order)))


def extrapolated(node: Node, x: Var, outside: dict[int, Array]) -> Var:
    """The extrapolation value where a point lies outside of the input."""
    rank = len(x.shape)
    mask = np.zeros([1] * rank, bool)
    for axis, beyond in outside.items():
        mask = mask | beyond.reshape([-1 if i == axis else 1 for i in range(rank)])
    if not mask.any():
        return x
    value = like(x, np.full([1] * rank, node.attribute("extrapolation_value", 0.0)))
    return select(mask, a=value, b=x)


OPS: dict[str, Lowering] = {"Resize": resize, "Upsample": resize}
