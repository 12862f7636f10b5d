"""A layer, the ways to factor it and the point chosen for it in; the way out that changes the layer's outputs least for no more cost.

Energies of weights, by which a budget is shared out, compare ranks of one way well, and different ways badly where inputs are never negative: what an
error adds up to over all inputs then counts beside its size. Taken are inputs as a ReLU makes them of standard normal ones (the model of He et al. 2015,
"Delving Deep into Rectifiers", section 2.2): independent, with mean 1/√(2π) and mean square ½.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import NodeProto

from edgekit.compress.budget import Point
from edgekit.compress.factors import Array, factored
from edgekit.compress.layers import Layer

SQUARED_MEAN = 1 / (2 * math.pi)
VARIANCE = 0.5 - SQUARED_MEAN

RECTIFIERS = ("Relu", "Sigmoid", "HardSigmoid", "Softplus")
"""Operators that give nothing negative."""
KEEPING = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity")
"""Operators that give nothing negative if they get nothing negative."""


def least_change(weights: Array, layer: Layer, point: Point, found: Sequence[Point], made: Mapping[str, NodeProto]) -> Point:
    """The point itself, unless another way is as cheap and changes the outputs less.

    Args:
        found: all points of the layer.
        made: tensor → the node that gives it.
    """
    if not point.way or not is_rectified(layer.node.input[0], made):
        return point
    best: dict[str, Point] = {}
    for other in found:
        known = best.get(other.way)
        if other.way and other.cost <= point.cost and (known is None or (other.loss, other.cost) < (known.loss, known.cost)):
            best[other.way] = other
    return point if len(best) == 1 else min(best.values(), key=lambda one: error(weights - multiplied(factored(weights, layer, one), one.way)))


def is_rectified(name: str, made: Mapping[str, NodeProto]) -> bool:
    """Whether a tensor is known to have nothing negative."""
    while name in made and made[name].op_type in KEEPING:
        name = made[name].input[0]
    return name in made and made[name].op_type in RECTIFIERS


def error(change: Array) -> float:
    """Expected square of what a change of a convolution's weights [outputs, inputs, …] adds to its outputs at one place, summed over the outputs."""
    sums = change.reshape(len(change), -1).sum(1, dtype=np.float64)
    return VARIANCE * float(np.vdot(change, change)) + SQUARED_MEAN * float(np.vdot(sums, sums))


def multiplied(parts: Sequence[Array], way: str) -> Array:
    """The weights of the one convolution that smaller ones come to [outputs, inputs, …]."""
    if way == "spatial":
        return np.asarray(np.einsum("rih,orw->oihw", parts[0][..., 0], parts[1][:, :, 0], optimize=True))
    last = parts[-1].reshape(parts[-1].shape[:2])
    if way == "channels":
        return np.tensordot(last, parts[0], 1)
    first = parts[0].reshape(parts[0].shape[:2])
    return np.moveaxis(np.tensordot(np.tensordot(last, parts[1], 1), first, (1, 0)), -1, 1)
