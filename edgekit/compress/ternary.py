"""A hub in, the same hub whose layers have weights of −a, 0 or a out, with an `a` for each output channel.

Ternary weight networks (Li & Liu 2016, section 2): of all −a, 0, a the nearest to the weights in the least squares. The paper's threshold of 0.7
times the mean magnitude is its estimate for bell-shaped weights; here the best one is searched, which a channel of nine weights or a pruned one needs.
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
    """Make the layers of a hub ternary, but for those that `scale_layers` leaves; `strength` is empty. Raises Refusal as it does."""
    return scale_layers(model, spec, "ternary", wish, project, 3)


def project(weights: Array, axis: int = 0, sparse: bool = False) -> Array:
    """The nearest −a, 0, a to each slice along the axis (float32, the same shape); weights that are 0 stay 0, `sparse` or not.

    With the n largest magnitudes kept, the best `a` is their mean, and the error is least where (their sum)² / n is largest (section 2.1).
    """

    def ternary(flat: Array) -> Array:
        size = np.abs(flat)
        ordered = np.sort(size, axis=1)[:, ::-1]
        total = np.cumsum(ordered, axis=1, dtype=np.float64)
        best = np.argmax(total**2 / np.arange(1, flat.shape[1] + 1), axis=1)[:, None]
        kept = (size >= np.take_along_axis(ordered, best, 1)) & (size > 0)
        scale = np.sum(size, axis=1, where=kept, dtype=np.float64) / np.maximum(kept.sum(1), 1)
        return np.where(kept, np.sign(flat) * scale[:, None], 0)

    return by_channel(weights, axis, ternary)
