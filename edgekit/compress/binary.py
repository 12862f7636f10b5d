"""A hub in, the same hub whose layers have weights of −a or a out, with an `a` for each output channel.

Binary weights with a scale (Rastegari et al. 2016, "XNOR-Net", section 3.1): signs, and the mean magnitude, are the nearest in the least squares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto

from edgekit.compress.scaled import by_channel, scale_layers
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec

Array = np.ndarray[Any, Any]


def apply(model: ModelProto, spec: Spec, strength: str, wish: Wish) -> list[str]:
    """Make the layers of a hub binary, but for those that `scale_layers` leaves; `strength` is empty. Raises Refusal as it does."""
    return scale_layers(model, spec, "binary", wish, project, 2)


def project(weights: Array, axis: int = 0, sparse: bool = False) -> Array:
    """The nearest −a, a to each slice along the axis (float32, the same shape).

    Args:
        sparse: weights that are 0 stay 0, and do not count in the scale; else 0 has the sign +.
    """

    def binary(flat: Array) -> Array:
        size = np.abs(flat)
        many = np.count_nonzero(size, axis=1) if sparse else flat.shape[1]
        scale = size.sum(axis=1, dtype=np.float64) / np.maximum(many, 1)
        return np.asarray(np.where(flat < 0, -1, (flat > 0) if sparse else 1) * scale[:, None])

    return by_channel(weights, axis, binary)
