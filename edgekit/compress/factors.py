"""A layer's weights in, the ways to do it by two or three smaller layers out: what each rank costs and keeps, and the factors themselves.

| way        | for                      | smaller layers                    | source                                                                          |
|------------|--------------------------|-----------------------------------|---------------------------------------------------------------------------------|
| `product`  | Gemm, MatMul             | x·U, then ·V                      | Denton et al. 2014, "Exploiting Linear Structure Within Convolutional Networks" |
| `channels` | Conv; ConvTranspose      | k×k to r, 1×1; 1×1 to r, k×k      | Zhang et al. 2016, "Accelerating Very Deep Convolutional Networks", section 3   |
| `spatial`  | Conv in two dimensions   | k×1 to r, 1×k                     | Jaderberg et al. 2014, "Speeding up CNNs with Low Rank Expansions", scheme 2    |
| `tucker`   | Conv                     | 1×1 to r, k×k to s, 1×1           | Kim et al. 2016, "Compression of Deep CNNs for Fast and Low Power Mobile", 3.1  |
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgekit.compress.budget import Point
from edgekit.compress.layers import Layer
from edgekit.hub.graph import attribute

Array = np.ndarray[Any, Any]

CHANNELS = 64
"""Of a convolution that are handled at a time, and rows of a matrix: their products are small beside the weights."""
ROWS = 512

STEPS = 64
"""Ranks tried of a layer's channels: of 512 each eighth, which keeps them whole vectors too."""
LARGEST_SPATIAL = 800
"""Rows of the matrix of `spatial`: beyond that its spectrum takes a second a layer, and wide layers lose less by `tucker`."""


def points(weights: Array, layer: Layer, places: tuple[int, int, int]) -> list[Point]:
    """Every way and rank that costs less than the layer does; the loss is −log of the share of the weights' energy that is kept.

    Args:
        places: numbers of output places (batch included) that the layer computes: of its input, of its output, and after a k×1 convolution.
    """
    found = []
    for way in ways(layer):
        ranks, kept = tucker_ranks(weights) if way == "tucker" else matrix_ranks(weights, way, layer)
        cost = costs(layer, way, ranks, places)
        loss = -np.log(np.maximum(kept, np.finfo(np.float64).tiny))
        found += [Point(int(c), float(e), way, tuple(map(int, r))) for c, e, r in zip(cost, loss, ranks, strict=True) if c < layer.macs]
    return found


def ways(layer: Layer) -> list[str]:
    """What a layer can be factored by."""
    if layer.kind in ("Gemm", "MatMul"):
        return ["product"] if layer.position == 1 and len(layer.shape) == 2 else []
    if layer.groups != 1 or layer.kind not in ("Conv", "ConvTranspose"):
        return []
    kernel = layer.shape[2:]
    if layer.kind == "ConvTranspose" or math.prod(kernel) == 1:
        return ["channels"]
    same = attribute(layer.node, "auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER")
    flat = len(kernel) != 2 or min(kernel) == 1 or same
    rows = min(layer.shape[1] * kernel[0], layer.shape[0] * kernel[-1])
    return ["channels", "tucker", *([] if flat or rows > LARGEST_SPATIAL else ["spatial"])]


def matrix(weights: Array, way: str, layer: Layer) -> Array:
    """The weights as the matrix whose two factors are the two layers, first layer's side first."""
    if way == "product":
        return weights if layer.output_axis == 1 else weights.T
    if way == "spatial":
        outputs, inputs, high, wide = weights.shape
        return weights.transpose(1, 2, 0, 3).reshape(inputs * high, outputs * wide)
    if layer.kind == "ConvTranspose":
        return weights.reshape(len(weights), -1)
    return weights.reshape(len(weights), -1).T


def tried(most: int) -> Array:
    """Ranks up to that many."""
    step = max(1, most // STEPS)
    return np.unique(np.r_[np.arange(step, most + 1, step), most])


def matrix_ranks(weights: Array, way: str, layer: Layer) -> tuple[Array, Array]:
    """Ranks [n, 1] and the share of the energy that each keeps [n]."""
    energies = np.cumsum(np.maximum(np.linalg.eigvalsh(gram(matrix(weights, way, layer)).astype(np.float64))[::-1], 0))
    ranks = tried(len(energies))
    return ranks[:, None], energies[ranks - 1] / max(energies[-1], np.finfo(np.float64).tiny)


def tucker_ranks(weights: Array) -> tuple[Array, Array]:
    """Pairs of ranks (of input and of output channels) [n, 2] and the share of the energy that each keeps, which the core tells exactly [n]."""
    inputs, outputs = bases(weights)
    energies = np.concatenate([np.square(core).reshape(*core.shape[:2], -1).sum(-1) for core in parts_within(weights, inputs, outputs)])
    energies = energies.cumsum(0).cumsum(1)
    first, second = (one.reshape(-1) for one in np.meshgrid(tried(energies.shape[1]), tried(energies.shape[0])))
    return np.stack([first, second], 1), energies[second - 1, first - 1] / max(energies[-1, -1], np.finfo(np.float64).tiny)


def bases(weights: Array) -> tuple[Array, Array]:
    """Of input and output channels, the directions that hold most first [channels, channels] (higher-order SVD, De Lathauwer et al. 2000)."""
    inputs = np.moveaxis(weights, 1, 0).reshape(weights.shape[1], -1)
    return tuple(spectrum(side @ side.T)[1].astype(np.float32) for side in (inputs, weights.reshape(len(weights), -1)))  # type: ignore[return-value]


def within(weights: Array, inputs: Array, outputs: Array) -> Array:
    """A convolution's weights between channels of these bases."""
    return np.concatenate(list(parts_within(weights, inputs, outputs)))


def parts_within(weights: Array, inputs: Array, outputs: Array) -> Iterator[Array]:
    """The same, some of the output channels at a time, as each step on the way is as large as the weights."""
    for start in range(0, outputs.shape[1], CHANNELS):
        some = np.tensordot(outputs[:, start : start + CHANNELS].T, weights, 1)
        yield np.moveaxis(np.tensordot(some, inputs, (1, 0)), -1, 1)


def gram(values: Array) -> Array:
    """Products of the shorter side's vectors: their eigenvalues are the squares of the singular values."""
    return values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values


def spectrum(products: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of a Gram matrix, largest first (float64)."""
    energies, vectors = np.linalg.eigh(products.astype(np.float64))
    return np.maximum(energies[::-1], 0), vectors[:, ::-1]


def costs(layer: Layer, way: str, ranks: Array, places: tuple[int, int, int]) -> Array:
    """Multiply-accumulates of a layer done that way, for each of the ranks [n, 1 or 2]."""
    of_input, of_output, between = places
    first, last = ranks[:, 0].astype(np.int64), ranks[:, -1].astype(np.int64)
    inputs, outputs = layer.shape[layer.input_axis], layer.shape[layer.output_axis]
    kernel = math.prod(layer.shape[2:]) if layer.kind in ("Conv", "ConvTranspose") else 1
    if way == "product":
        return first * (inputs + outputs) * of_output
    if way == "tucker":
        return first * inputs * of_input + first * last * kernel * of_output + last * outputs * of_output
    if way == "spatial":
        return first * (inputs * layer.shape[2] * between + outputs * layer.shape[3] * of_output)
    if layer.kind == "ConvTranspose":
        return first * inputs * of_input + first * outputs * kernel * of_input
    return first * inputs * kernel * of_output + first * outputs * of_output


def factored(weights: Array, layer: Layer, point: Point) -> list[Array]:
    """The weights of the smaller layers, in the order in which they run, each as its operator stores them (float32)."""
    if point.way == "tucker":
        first, last = point.ranks
        inputs, outputs = bases(weights)
        inputs, outputs = inputs[:, :first], outputs[:, :last]
        core = within(weights, inputs, outputs)
        ones = (1,) * (weights.ndim - 2)
        return [np.ascontiguousarray(one, np.float32) for one in (inputs.T.reshape(first, -1, *ones), core, outputs.reshape(-1, last, *ones))]
    left, right = halves(matrix(weights, point.way, layer), point.ranks[0])
    return [np.ascontiguousarray(one, np.float32) for one in stored(left, right, layer, point)]


def halves(values: Array, rank: int) -> tuple[Array, Array]:
    """The nearest matrices [m, rank] and [rank, n] (Eckart & Young 1936), both with the same norm, so that they quantize and train alike."""
    wide = values.shape[0] <= values.shape[1]
    energies, vectors = spectrum(gram(values))
    vectors, root = vectors[:, :rank], np.maximum(energies[:rank], np.finfo(np.float32).tiny) ** 0.25
    if wide:
        return vectors * root, projected(values.T, vectors, root).T
    return projected(values, vectors, root), vectors.T * root[:, None]


def projected(values: Array, vectors: Array, root: Array) -> Array:
    """(values · vectors) / root (float32), multiplied in float64, some rows at a time."""
    found = np.empty((len(values), len(root)), np.float32)
    for start in range(0, len(values), ROWS):
        found[start : start + ROWS] = (values[start : start + ROWS] @ vectors) / root
    return found


def stored(left: Array, right: Array, layer: Layer, point: Point) -> tuple[Array, Array]:
    """Two factors as the weights of two operators."""
    rank = point.ranks[0]
    if point.way == "product":
        return (left, right) if layer.output_axis == 1 else (left.T, right.T)
    ones = (1,) * (len(layer.shape) - 2)
    if point.way == "spatial":
        outputs, inputs, high, wide = layer.shape
        return left.reshape(inputs, high, 1, rank).transpose(3, 0, 1, 2), right.reshape(rank, outputs, 1, wide).transpose(1, 0, 2, 3)
    if layer.kind == "ConvTranspose":
        return left.T.reshape(rank, -1, *ones), right.reshape(rank, *layer.shape[1:])
    return left.T.reshape(rank, *layer.shape[1:]), right.T.reshape(-1, rank, *ones)
