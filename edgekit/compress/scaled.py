"""A hub in, the same hub with weights of −a, 0, a or of −a, a out, with an `a` for each output channel: what `ternary` and `binary` share.

The first and the last layer stay as they are, as is usual (Rastegari et al. 2016, "XNOR-Net", section 4.1), and so do depthwise ones: nine weights of one
or two bits with a scale of their own are hardly smaller than nine of eight bits, and cost a small network one (ternary) to three points (binary) after
tuning. An override that names them changes them too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from onnx import ModelProto

from edgekit.compress.change import CHUNK, Change, counted, listed
from edgekit.compress.chosen import chosen, is_named
from edgekit.compress.layers import Layer, Weights, layers, rows, unrows
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Palette, Spec
from edgekit.hub.graph import Refusal

Array = np.ndarray[Any, Any]


class Project(Protocol):
    """Weights, the axis of their output channels, and whether their zeros are to stay, in; the nearest weights of the kind out."""

    def __call__(self, weights: Array, axis: int, sparse: bool) -> Array: ...


def scale_layers(model: ModelProto, spec: Spec, technique: str, wish: Wish, project: Project, values: int) -> list[str]:
    """Replace the weights of a hub's layers, and say so in the spec; returns notes.

    Raises:
        Refusal: weights lie on a grid of integers already; no layer is left to change.
    """
    weights, notes, change = Weights(model), [], Change()
    (group,) = chosen(layers(model), technique, "", wish).values()
    inner = inside(layers(model), group, wish)
    if not inner:
        raise Refusal(f"{technique} has nothing to change: the first, the last and depthwise layers are left as they are unless an override names them.")
    for layer in inner:
        known = spec.of(layer.weight)
        if known.grid is not None:
            raise Refusal(f"The weights of {layer.name!r} are integers of {known.grid.bits} bits already: {technique} goes before quantizing, or not at all.")
        weights.replace(layer.weight, change.counting(partial(project, axis=layer.output_axis, sparse=known.sparse is not None)))
        known.palette = Palette(3 if known.sparse else values, layer.output_axis, scaled=True)
    notes.append(
        f"{technique}: {counted(change.weights, 'weight')} in {counted(change.layers, 'layer')} have a sign and a scale for each output channel, "
        f"{change.zeros / change.weights:.1%} are zero; relative error of the weights {change.error:.3f}."
    )
    if left := [layer.name for layer in group if layer not in inner]:
        notes.append(f"{technique}: the first, the last and depthwise layers are left as they are, because a network loses most there: {listed(left)}.")
    return notes


def inside(every: list[Layer], group: list[Layer], wish: Wish) -> list[Layer]:
    """The layers that are neither the model's first nor its last nor depthwise, and those of them that the wish names."""
    multiplied = [layer.weight for layer in every if not layer.is_table]
    ends = {multiplied[0], multiplied[-1]} if multiplied else set()
    return [layer for layer in group if is_named(layer, wish) or not (layer.weight in ends or layer.is_depthwise)]


def by_channel(weights: Array, axis: int, change: Callable[[Array], Array]) -> Array:
    """What `change` makes of [channels, everything else], in the weights' own shape (float32)."""
    flat = rows(weights, axis)
    step = max(1, CHUNK // flat.shape[1])
    found = np.empty(flat.shape, np.float32)
    for start in range(0, len(flat), step):
        found[start : start + step] = change(flat[start : start + step])
    return np.ascontiguousarray(unrows(found, axis, weights.shape))
