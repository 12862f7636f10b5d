"""A hub in, the same hub with its least weights zero out: `prune50` any half of them, `prune2:4` two of each four, `prune50block4` whole blocks.

Biases and normalisation are left alone. The share of each layer is found over the whole network (`edgekit.compress.lamp`); by plain magnitudes
the last layer of a small network was left one weight in a thousand at 80 %, and accuracy fell sooner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from onnx import ModelProto

from edgekit.compress.blocks import fits_blocks, fits_n_of_m, magnitudes, n_of_m, spread
from edgekit.compress.change import Change, counted, listed
from edgekit.compress.chosen import chosen, is_named
from edgekit.compress.lamp import counts, smallest_gone
from edgekit.compress.layers import Layer, Weights, distinct, layers, rows
from edgekit.compress.steps import share
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Palette, Sparse, Spec, Tensor
from edgekit.hub.graph import Refusal

Array = np.ndarray[Any, Any]


def apply(model: ModelProto, spec: Spec, strength: str, wish: Wish) -> list[str]:
    """Set weights of a hub to zero, and say so in the spec.

    Args:
        strength: `50`, `2:4` or `50block4`.

    Returns:
        Notes: the zeros reached, the layers with the fewest and the most of them, what was left out, the relative error.

    Raises:
        Refusal: a layer would have no weight left; one that was asked for by name does not have the pattern's shape.
    """
    weights, notes = Weights(model), []
    for mine, group in chosen(layers(model), "prune", strength, wish).items():
        fitting, wants = fitted(group, mine, wish)
        change, kept = Change(), dict[str, float]()
        for layer, mask in masked(weights, fitting, mine, wish.per_layer):
            zeros = change.zeros
            weights.replace(layer.weight, change.counting(partial(zeroed, mask=mask, layer=layer, strength=mine, known=spec.of(layer.weight))))
            kept[layer.weight] = (mask.size - change.zeros + zeros) / mask.size
        notes.append(said(mine, change, fitting, kept))
        if left := [layer.name for layer in group if layer not in fitting]:
            notes.append(f"prune{mine}: left as they are, because the pattern needs {wants}: {listed(left)}.")
    return notes


def zeroed(weights: Array, mask: Array, layer: Layer, strength: str, known: Tensor) -> Array:
    """Weights without those that go, which is then known of them.

    Raises:
        Refusal: none is left.
    """
    after = weights * mask
    if not after.any():
        raise Refusal(f"{layer.name!r} would be cut to nothing by prune{strength}: leave it out, or prune less.", node=layer.name)
    remember(known, strength, after)
    return after


def masks(weights: Mapping[str, Array], found: Sequence[Layer], fraction: float, per_layer: bool = False) -> dict[str, Array]:
    """Which weights stay when `fraction` of all goes: name → mask (bool, the weights' shape).

    Weights that are zero already go first, so what is gone stays gone as the fraction grows.

    Args:
        weights: at least those of the layers, by name, as float arrays.
        fraction: of the weights of all these layers; of each of them with `per_layer`.
    """
    once = distinct(found)
    return {layer.weight: mask for layer, mask in by_magnitude(weights, once, fraction, 1, per_layer)}


def masked(weights: Mapping[str, Array], found: Sequence[Layer], strength: str, per_layer: bool) -> Iterator[tuple[Layer, Array]]:
    """Each layer with its mask, one at a time."""
    if ":" in strength:
        n, m = ratio(strength)
        return ((layer, n_of_m(weights[layer.weight], layer, n, m)) for layer in found)
    return by_magnitude(weights, found, share(strength), block_of(strength), per_layer)


def by_magnitude(weights: Mapping[str, Array], found: Sequence[Layer], fraction: float, block: int, per_layer: bool) -> Iterator[tuple[Layer, Array]]:
    """The least weights or blocks of all layers go, or of each."""
    if per_layer:
        gone = [round(fraction * math.prod(layer.shape) / block) for layer in found]
    else:
        gone = counts((magnitudes(weights[layer.weight], layer, block) for layer in found), fraction)
    for layer, many in zip(found, gone, strict=True):
        yield layer, spread(smallest_gone(magnitudes(weights[layer.weight], layer, block), many), layer, block)


def ratio(strength: str) -> tuple[int, int]:
    """`2:4` as (2, 4)."""
    n, m = (int(number) for number in strength.split(":"))
    return n, m


def block_of(strength: str) -> int:
    """The 4 of `50block4`; 1 for `50`."""
    return int(strength.partition("block")[2] or 1)


def fitted(group: Sequence[Layer], strength: str, wish: Wish) -> tuple[list[Layer], str]:
    """The layers whose shape allows the pattern, and what it needs, in words.

    Raises:
        Refusal: none does, or one that the wish names does not.
    """
    if ":" in strength:
        n, m = ratio(strength)
        wants, plain = f"input channels in runs of {m}", round(100 * (m - n) / m)
        fitting = [layer for layer in group if fits_n_of_m(layer, m)]
    else:
        block, plain = block_of(strength), round(100 * share(strength))
        wants = f"output channels in blocks of {block}, and more than one input to each"
        fitting = [layer for layer in group if block == 1 or fits_blocks(layer, block)]
    if wrong := next((layer for layer in group if layer not in fitting and is_named(layer, wish)), None):
        raise Refusal(f"prune{strength} needs {wants}: the weights of {wrong.name!r} are {shaped(wrong)}. Leave it out, or prune it without a pattern.")
    if not fitting:
        found = listed([f"{layer.name} ({shaped(layer)})" for layer in group])
        raise Refusal(f"prune{strength} needs {wants}; no layer has that: {found}. Take prune{plain}, or another pattern.")
    return fitting, wants


def shaped(layer: Layer) -> str:
    """The shape of its weights, such as `8×3×3×3`."""
    return "×".join(map(str, layer.shape))


def remember(tensor: Tensor, strength: str, after: Array) -> None:
    """The zeros stay zero; a stricter pattern from before still holds, unless it was blocks; a palette without a zero has one more value."""
    pattern = strength if ":" in strength else f"block{block_of(strength)}" if block_of(strength) > 1 else "any"
    before = tensor.sparse.pattern if tensor.sparse else "any"
    tensor.sparse = Sparse(before if pattern == "any" and ":" in before else pattern)
    if tensor.palette is not None:
        tensor.palette = replace(tensor.palette, values=values_in(after, tensor.palette))


def values_in(weights: Array, palette: Palette) -> int:
    """How many different values a slice of the weights has at most; −a, 0 and a where a pattern is scaled."""
    if palette.scaled:
        return 3
    if palette.axis is None:
        return int(np.unique(weights).size)
    slices = rows(weights, palette.axis)
    return max(int(np.unique(slices[start : start + palette.group]).size) for start in range(0, len(slices), palette.group))


def said(strength: str, change: Change, fitting: Sequence[Layer], kept: Mapping[str, float]) -> str:
    """What was done at one strength."""
    macs = sum(layer.macs * kept[layer.weight] for layer in fitting) / max(1, sum(layer.macs for layer in fitting))
    fewest, most = max(fitting, key=lambda layer: kept[layer.weight]), min(fitting, key=lambda layer: kept[layer.weight])
    spread_out = f", from {1 - kept[fewest.weight]:.1%} ({fewest.name}) to {1 - kept[most.weight]:.1%} ({most.name})"
    return (
        f"prune{strength}: {change.zeros / change.weights:.1%} of {counted(change.weights, 'weight')} in {counted(len(fitting), 'layer')} are zero"
        f"{spread_out if kept[fewest.weight] > kept[most.weight] else ''}; {macs:.1%} of their MACs are by a weight that is not; "
        f"relative error of the weights {change.error:.3f}."
    )
