"""DFT, STFT and GridSample: signals and images in, spectra and sampled images out."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.node import Array, Lowering, Node, Var, like, reshaped, transposed


def basis(n: int, out: int, inverse: bool) -> tuple[Array, Array]:
    """Real and imaginary parts [n, out] of the Fourier matrix; n elements of a signal of `out` (or n) points."""
    angle = (1 if inverse else -1) * 2 * np.pi * np.outer(np.arange(n), np.arange(out)) / out
    scale = 1 / out if inverse else 1.0
    return np.cos(angle) * scale, np.sin(angle) * scale


def dft(node: Node) -> Var:
    """By the Fourier matrix, along the axis of a tensor whose last axis holds real and imaginary parts."""
    x = node.input(0)
    rank = len(x.shape)
    axis = (node.ints(2, "axis")[0] if node.given(2) else node.attribute("axis", -2 if node.made_shape() and "axis" not in names(node) else 1)) % rank
    inverse, onesided = bool(node.attribute("inverse", 0)), bool(node.attribute("onesided", 0))
    size = int(x.shape[axis])
    n = int(node.ints(1, "length")[0]) if node.given(1) else size
    if onesided and inverse:
        return real_inverse(x, axis, int(node.ints(1, "length")[0]) if node.given(1) else 2 * (size - 1))
    order = [i for i in range(rank - 1) if i != axis] + [rank - 1, axis]
    turned = transposed(x, order)
    if size != n:
        turned = cut_or_filled(turned, n)
    cosine, sine = basis(n, n, inverse)
    out = node.made_shape()[axis]
    made = complex_product(turned, cosine[:, :out], sine[:, :out])
    return transposed(made, list(np.argsort(order)))


def real_inverse(x: Var, axis: int, n: int) -> Var:
    """n real points from the first half of their spectrum; every bin but the first and the middle one stands for its mirror too."""
    rank, bins = len(x.shape), n // 2 + 1
    order = [i for i in range(rank - 1) if i != axis] + [rank - 1, axis]
    turned = transposed(x, order)
    turned = turned if int(x.shape[axis]) == bins else cut_or_filled(turned, bins)
    angle = 2 * np.pi * np.outer(np.arange(bins), np.arange(n)) / n
    twice = np.array([1 if k == 0 or 2 * k == n else 2 for k in range(bins)])[:, None] / n
    real, imaginary = mb.split(x=turned, num_splits=2, axis=rank - 2)
    made = mb.sub(x=mb.matmul(x=real, y=like(x, np.cos(angle) * twice)), y=mb.matmul(x=imaginary, y=like(x, np.sin(angle) * twice)))
    return transposed(made, list(np.argsort(order)))


def names(node: Node) -> set[str]:
    return {found.name for found in node.proto.attribute}


def cut_or_filled(x: Var, n: int) -> Var:
    """The last axis cut, or filled with zeros, to n."""
    rank, size = len(x.shape), int(x.shape[-1])
    if size > n:
        return mb.slice_by_size(x=x, begin=[0] * rank, size=[*(int(d) for d in x.shape[:-1]), n])
    return mb.pad(x=x, pad=[0] * (2 * rank - 2) + [0, n - size], mode="constant", constant_val=like(x, 0))


def complex_product(x: Var, cosine: Array, sine: Array) -> Var:
    """x [..., 1 or 2, n] (real, imaginary) times a complex matrix [n, m] → [..., 2, m]."""
    rank = len(x.shape)
    if int(x.shape[-2]) == 1:
        return mb.concat(values=[mb.matmul(x=x, y=like(x, cosine)), mb.matmul(x=x, y=like(x, sine))], axis=rank - 2)
    real, imaginary = mb.split(x=x, num_splits=2, axis=rank - 2)
    c, s = like(x, cosine), like(x, sine)
    a = mb.sub(x=mb.matmul(x=real, y=c), y=mb.matmul(x=imaginary, y=s))
    b = mb.add(x=mb.matmul(x=real, y=s), y=mb.matmul(x=imaginary, y=c))
    return mb.concat(values=[a, b], axis=rank - 2)


def stft(node: Node) -> Var:
    """Frames read at stored places, each times the window and the Fourier matrix."""
    x, step = node.input(0), node.ints(1, "frame step")[0]
    batch, n = int(x.shape[0]), int(x.shape[1])
    window = node.needed(2, "window") if node.given(2) else None
    length = node.ints(3, "frame length")[0] if node.given(3) else len(window if window is not None else [])
    frames, bins = (n - length) // step + 1, length // 2 + 1 if node.attribute("onesided", 1) else length
    if int(np.prod(x.shape)) != batch * n:
        node.refuse("its signal is complex, and only real ones are written for Core ML; take the spectra of both parts")
    at = (np.arange(frames)[:, None] * step + np.arange(length)).astype(np.int32)
    cut = mb.gather(x=reshaped(x, [batch, n]), indices=at, axis=1)
    cosine, sine = basis(length, length, inverse=False)
    shape = (window if window is not None else np.ones(length)).astype(np.float64)[:, None]
    parts = [mb.matmul(x=cut, y=like(x, (matrix * shape)[:, :bins])) for matrix in (cosine, sine)]
    return mb.stack(values=parts, axis=3)


def grid_sample(node: Node) -> Var:
    x, grid = node.input(0), node.input(1)
    mode = {"bilinear": "bilinear", "linear": "bilinear", "nearest": "nearest"}.get(node.attribute("mode", "linear"))
    if mode is None or len(x.shape) != 4:
        node.refuse("Core ML samples images, linearly or at the nearest pixel; use one of these modes")
    align = bool(node.attribute("align_corners", 0))
    beyond = {"zeros": "constant", "border": "border", "reflection": "reflection" if align else "symmetric"}[node.attribute("padding_mode", "zeros")]
    return mb.resample(x=x, coordinates=grid, sampling_mode=mode, padding_mode=beyond, padding_value=like(x, 0),
                       coordinates_mode="normalized_minus_one_to_one", align_corners=align)  # fmt: skip


OPS: dict[str, Lowering] = {"DFT": dft, "GridSample": grid_sample, "STFT": stft}
