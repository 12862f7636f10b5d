"""Weights in, which of them stay out, where zeros are to lie in a pattern: n of each m along the input channels, or whole blocks of channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.compress.layers import Layer, rows, unrows

Array = np.ndarray[Any, Any]


def n_of_m(weights: Array, layer: Layer, n: int, m: int) -> Array:
    """Mask (bool, the weights' shape) that keeps the n largest of each m neighbours along the input channels; of equals the first.

    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks", section 3, for 2:4.
    """
    moved = np.moveaxis(weights, layer.input_axis, -1)
    size = np.abs(moved.reshape(*moved.shape[:-1], -1, m))
    kept = np.empty(size.shape, bool)
    for place in range(m):
        mine = size[..., place]
        larger = np.zeros(mine.shape, np.uint8)
        for other in range(m):
            if other != place:
                larger += size[..., other] >= mine if other < place else size[..., other] > mine
        kept[..., place] = larger < n
    return np.ascontiguousarray(np.moveaxis(kept.reshape(moved.shape), -1, layer.input_axis))


def fits_n_of_m(layer: Layer, m: int) -> bool:
    """The input channels (of a group) come in whole runs of m."""
    return layer.shape[layer.input_axis] % m == 0


def fits_blocks(layer: Layer, block: int) -> bool:
    """The output channels come in whole blocks; a depthwise layer's do not share an input, so a block of them saves nothing."""
    return layer.shape[layer.output_axis] % block == 0 and not layer.is_depthwise


def magnitudes(weights: Array, layer: Layer, block: int) -> Array:
    """Each weight's magnitude; with blocks the L1 norm of each block: [output channels / block, everything else] (float32).

    XNNPACK's sparse kernels read blocks of output channels at one input channel (Elsen et al. 2020, "Fast Sparse ConvNets", section 3.2).
    """
    if block == 1:
        return np.abs(weights)
    flat = np.abs(rows(weights, layer.output_axis))
    return np.asarray(flat.reshape(-1, block, flat.shape[1]).sum(1))


def spread(kept: Array, layer: Layer, block: int) -> Array:
    """A mask over what `magnitudes` gave, as a mask over the weights."""
    return kept if block == 1 else np.ascontiguousarray(unrows(np.repeat(kept, block, axis=0), layer.output_axis, layer.shape))
