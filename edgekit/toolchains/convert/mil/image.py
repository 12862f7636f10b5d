"""affine, crop_resize: images and places to look at in, float32 arrays of the target's size out."""

from __future__ import annotations

import numpy as np

from . import runtime
from .arguments import Arguments, Array, Function, UnknownMode, WrongArgument, affordable
from .resize import interpolated


def affine(a: Arguments) -> Array:
    """x read at a linear map of each output pixel, both in -1..1 from the first pixel's centre to the last one's; 0 outside."""
    if not a.flag("align_corners") or a.text("coordinates_mode", "").lower() != "normalized_minus_one_to_one":
        raise UnknownMode("align_corners = False or other coordinates")
    x, height, width = a["x"], a.integer("output_height"), a.integer("output_width")
    affordable([*x.shape[:2], height, width])
    matrix = np.broadcast_to(a["transform_matrix"], (x.shape[0], 6)).reshape(-1, 2, 3)
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    points = np.stack([across, down, np.ones_like(across)], -1).astype(np.float32)  # [H, W, (x, y, 1)]
    coordinates = np.einsum("hwk,bjk->bhwj", points, matrix)
    return runtime.run("GridSample", [x, coordinates], mode="bilinear", padding_mode="zeros", align_corners=1)


CORNERS = {
    "CORNERS_HEIGHT_FIRST": lambda b: (b[0], b[2], b[1], b[3]),
    "CORNERS_WIDTH_FIRST": lambda b: (b[1], b[3], b[0], b[2]),
    "CENTER_SIZE_HEIGHT_FIRST": lambda b: (b[0] - b[2] / 2, b[0] + b[2] / 2, b[1] - b[3] / 2, b[1] + b[3] / 2),
    "CENTER_SIZE_WIDTH_FIRST": lambda b: (b[1] - b[3] / 2, b[1] + b[3] / 2, b[0] - b[2] / 2, b[0] + b[2] / 2),
}
"""Box [4] as top, bottom, left, right."""


def crop_resize(a: Arguments) -> Array:
    """Patches of x [B, C, H, W], bilinearly: iOS 17's `boxes` [N, 4] with `box_indices`, or iOS 15's `roi` [N, 1, 4 or 5, 1, 1].

    Sampled from edge to edge, which is what TensorFlow's crop_and_resize is written as.
    """
    x, mode = a["x"], a.text("sampling_mode", "DEFAULT")
    if mode not in ("ALIGN_CORNERS", "STRICT_ALIGN_CORNERS"):
        raise UnknownMode(f"sampling_mode = {mode}")
    sizes = a.integer("target_height", 1), a.integer("target_width", 1)
    old = "roi" in a.values
    boxes = a["roi"].reshape(a["roi"].shape[0], -1) if old else a["boxes"]
    affordable([len(boxes), x.shape[0] if old else 1, x.shape[1], *sizes])
    which: list[slice] = [slice(None)] * len(boxes)
    if boxes.shape[1] == 5:
        which, boxes = [slice(int(i), int(i) + 1) for i in boxes[:, 0]], boxes[:, 1:]
    elif not old:
        which = [slice(i, i + 1) for i in a.ints("box_indices", range(len(boxes)))]
    patches = [patch(a, x[one], box, sizes) for one, box in zip(which, boxes, strict=True)]
    return np.stack(patches) if old else np.concatenate(patches)


def patch(a: Arguments, x: Array, box: Array, sizes: tuple[int, int]) -> Array:
    top, bottom, left, right = CORNERS[a.text("box_coordinate_mode", "CORNERS_HEIGHT_FIRST")](box)
    for axis, begin, end, out in ((-2, top, bottom, sizes[0]), (-1, left, right, sizes[1])):
        last = x.shape[axis] - 1
        scale = a.number("spatial_scale", 1.0) * (last if a.flag("normalized_coordinates") else 1)
        points = np.linspace(begin * scale, end * scale, out) if out > 1 else edge(a, begin * scale, end * scale)
        if not (points.min() >= 0 and points.max() <= last):
            raise WrongArgument("a box reaches out of the image")
        x = interpolated(x, axis, points)
    return x


def edge(a: Arguments, begin: float, end: float) -> Array:
    """Where a single point lies."""
    return np.array([begin if a.text("sampling_mode", "DEFAULT") == "STRICT_ALIGN_CORNERS" else (begin + end) / 2])


OPS: dict[str, Function] = {"affine": affine, "crop_resize": crop_resize}
