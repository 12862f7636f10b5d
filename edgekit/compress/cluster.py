"""A hub in, the same hub whose weights share few values out: `cluster16` gives each tensor 16 of its own, `cluster16group8` each 8 output channels.

Weight sharing by k-means (Han et al. 2016, "Deep Compression", section 3). Where weights were pruned, 0 is one of the values and the pruned stay 0.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from onnx import ModelProto

from edgekit.compress.change import Change, counted, listed
from edgekit.compress.chosen import chosen, is_named
from edgekit.compress.kmeans import centres, even, nearest
from edgekit.compress.layers import Weights, layers, rows, unrows
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Palette, Spec, Tensor
from edgekit.hub.graph import Refusal

Array = np.ndarray[Any, Any]


def apply(model: ModelProto, spec: Spec, strength: str, wish: Wish) -> list[str]:
    """Replace the weights of a hub by the nearest of few values, and say so in the spec.

    Args:
        strength: `16`, from 2 to 256; `16group8` for a palette of each 8 neighbouring output channels.

    Raises:
        Refusal: a layer asked for by name, or every layer, has no more weights than values; weights lie on a grid of integers already.
    """
    weights, notes = Weights(model), []
    for mine, group in chosen(layers(model), "cluster", strength, wish).items():
        values, channels = read(mine)
        change, left = Change(), []
        for layer in group:
            slices = layer.shape[layer.output_axis]
            size = int(np.prod(layer.shape))
            together = size if channels is None else size // slices * min(channels, slices)
            if together <= values:
                if is_named(layer, wish):
                    raise Refusal(f"cluster{mine} leaves {layer.name!r} as it is: {counted(together, 'weight')} cannot share {values} values; ask for fewer.")
                left.append(layer.name)
                continue
            known = spec.of(layer.weight)
            if known.grid is not None:
                raise Refusal(f"The weights of {layer.name!r} are integers of {known.grid.bits} bits already: cluster before quantizing, or not at all.")
            palette = Palette(values, None if channels is None else layer.output_axis, channels or 1)
            weights.replace(layer.weight, change.counting(partial(share, palette=palette, known=known)))
        if not change.layers:
            raise Refusal(f"cluster{mine} has nothing to do: no layer has more than {values} weights that could share {values} values; ask for fewer.")
        each = "tensor" if channels is None else counted(channels, "output channel")
        notes.append(
            f"cluster{mine}: {counted(change.weights, 'weight')} in {counted(change.layers, 'layer')} share {values} values for each {each}; "
            f"relative error of the weights {change.error:.3f}."
        )
        if left:
            notes.append(f"cluster{mine}: left as they are, because they have no more weights than values: {listed(left)}.")
    return notes


def read(strength: str) -> tuple[int, int | None]:
    """`16` as (16, None), `16group8` as (16, 8)."""
    values, _, channels = strength.partition("group")
    return int(values), int(channels) if channels else None


def share(weights: Array, palette: Palette, known: Tensor) -> Array:
    """Weights with the palette, which is then known of them, unless they were scaled patterns that are the same still."""
    shared_out = project(weights, palette.values, palette.axis, palette.group, known.sparse is not None)
    if known.palette is None or not known.palette.scaled or not np.array_equal(weights, shared_out):
        known.palette = palette
    return shared_out


def project(weights: Array, values: int, axis: int | None = None, group: int = 1, sparse: bool = False) -> Array:
    """Each weight's nearest value (float32, the same shape): `values` for the whole tensor, or for each `group` of slices along `axis`.

    Args:
        sparse: 0 is one of the values, the weights that are 0 stay 0, and no other becomes it.
    """
    if axis is None:
        return shared(weights, values, sparse)
    flat = rows(weights, axis)
    found = np.empty(flat.shape, np.float32)
    for start in range(0, len(flat), group):
        found[start : start + group] = shared(flat[start : start + group], values, sparse)
    return np.ascontiguousarray(unrows(found, axis, weights.shape))


def shared(weights: Array, values: int, sparse: bool) -> Array:
    """Weights with one palette."""
    if not sparse:
        return nearest(weights, even(centres(weights, values)))
    alive = weights != 0
    after = np.zeros(weights.shape, np.float32)
    if alive.any():
        living = weights[alive]
        after[alive] = nearest(living, even(centres(living, values - 1)))
    return after
