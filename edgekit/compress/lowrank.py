"""A hub in, the same hub with layers done by two or three smaller ones out: `lowrank50` leaves half of the model's multiply-accumulates.

Which layers, how, and to what rank is decided over the whole model: the largest product of the shares of energy that the layers keep, for the MACs
that are left (Zhang et al. 2016, "Accelerating Very Deep Convolutional Networks", section 3.4); of ways that cost no more, that one is then taken that
changes a layer's outputs least. Depthwise and grouped convolutions, recurrent cells, and layers where no rank costs less than the layer itself are left
as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, numpy_helper

from edgekit.compress.budget import Point, cheapest, spent
from edgekit.compress.change import counted, listed
from edgekit.compress.chosen import chosen, is_named
from edgekit.compress.factor_nodes import PARTS, nodes_of
from edgekit.compress.factors import factored, points
from edgekit.compress.layers import Layer, Weights, layers
from edgekit.compress.least_change import least_change
from edgekit.compress.steps import share
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec
from edgekit.hub.figures import macs
from edgekit.hub.graph import Refusal, makers, static_shapes
from edgekit.hub.shapes import infer

Options = Mapping[str, Sequence[Point]]
"""Weights' name → the layer as it is, and all that is cheaper."""


def apply(model: ModelProto, spec: Spec, strength: str, wish: Wish) -> list[str]:
    """Factor layers of a hub until that percent of its multiply-accumulates are left.

    Args:
        strength: `50`. A layer's own strength is the percent of its own MACs; with `wish.per_layer` the step's is that too.

    Raises:
        Refusal: no ranks are so cheap; the weights of a layer are sparse, shared or quantized already, which new weights would not be.
    """
    shapes, weights, made = static_shapes(model.graph), Weights(model), makers(model.graph)
    total = rest = sum(macs(node, shapes) for node in model.graph.node)
    every = layers(model)
    twice = {layer.weight for place, layer in enumerate(every) if any(layer.weight == other.weight for other in every[:place])}
    plan: list[tuple[Layer, Point]] = []
    for mine, group in sorted(chosen(every, "lowrank", strength, wish).items(), key=lambda item: item[0] == strength):
        options = {}
        for layer in group:
            cheaper = [] if layer.weight in twice else points(weights[layer.weight], layer, places(layer, shapes))
            if cheaper:
                refuse_known(layer, spec)
                options[layer.weight] = [Point(layer.macs, 0.0), *cheaper]
            elif is_named(layer, wish):
                raise Refusal(f"lowrank{mine}: there is no rank at which {layer.name!r} costs less than it does; leave it out.", node=layer.name)
        able = [layer for layer in group if layer.weight in options]
        if mine == strength and not wish.per_layer:
            picked = together(options, rest, mine)
        else:
            picked = [alone(layer, options[layer.weight], mine, wish) for layer in able]
            rest -= sum(layer.macs for layer in able)
        plan += [(layer, least_change(weights[layer.weight], layer, point, options[layer.weight], made)) for layer, point in zip(able, picked, strict=True)]
    plan = [(layer, point) for layer, point in plan if point.way]
    if not plan:
        raise Refusal(f"lowrank{strength} has nothing to do: no layer reaches that share of its multiply-accumulates by a lower rank; ask for a larger one.")
    change = rewritten(model, spec, weights, plan)
    shapes = static_shapes(model.graph)
    after = sum(macs(node, shapes) for node in model.graph.node)
    told = [f"{layer.name} by {point.way} of rank {' and '.join(map(str, point.ranks))}" for layer, point in plan]
    return [
        f"lowrank{strength}: {total:,} multiply-accumulates are {after:,} ({after / total:.1%}), in {counted(len(plan), 'layer')}; "
        f"relative error {change:.3f}: {listed(told)}."
    ]


def together(options: Options, rest: int, strength: str) -> list[Point]:
    """A point for each layer, so that the model's MACs (but for layers with a strength of their own) come to that percent."""
    fixed = rest - sum(found[0].cost for found in options.values())
    chosen_points = spent(list(options.values()), share(strength) * rest - fixed)
    if chosen_points is None:
        reached = math.ceil(100 * (fixed + cheapest(list(options.values()))) / rest)
        raise Refusal(
            f"lowrank{strength} cannot be reached: with every layer at its lowest rank {reached} % of the multiply-accumulates are left; "
            f"{f'ask for lowrank{reached} or more' if reached < 100 else 'this model has no layer that a lower rank makes cheaper'}."
        )
    return chosen_points


def alone(layer: Layer, found: Sequence[Point], strength: str, wish: Wish) -> Point:
    """What loses least of one layer at that percent of its own MACs; the layer as it is where no rank is so cheap and nobody asked by name."""
    allowed = [point for point in found if point.cost <= share(strength) * layer.macs]
    if not allowed and is_named(layer, wish):
        reached = math.ceil(100 * cheapest([found]) / layer.macs)
        raise Refusal(f"lowrank{strength} cannot be reached in {layer.name!r}: ask for {reached} or more there.", node=layer.name)
    return min(allowed or found[:1], key=lambda point: (point.loss, point.cost))


def refuse_known(layer: Layer, spec: Spec) -> None:
    """New weights would not have the zeros, the shared values or the grid that the old ones have."""
    known = spec.tensors.get(layer.weight)
    if known is not None and (known.sparse or known.palette or known.grid):
        was = "pruned" if known.sparse else "shared" if known.palette else "quantized"
        raise Refusal(f"The weights of {layer.name!r} are {was} already, and a lower rank would undo that: put lowrank first.", node=layer.name)


def places(layer: Layer, shapes: Mapping[str, list[int]]) -> tuple[int, int, int]:
    """How many places (samples, positions) a layer reads, gives, and gives after a k×1 convolution."""
    given, made = shapes[layer.node.input[0]], shapes[layer.node.output[0]]
    if layer.kind in ("Conv", "ConvTranspose"):
        between = given[0] * made[2] * given[3] if len(given) == 4 else 0
        return math.prod(given) // given[1], math.prod(made) // made[1], between
    return 0, math.prod(made) // made[-1], 0


def rewritten(model: ModelProto, spec: Spec, weights: Weights, plan: Sequence[tuple[Layer, Point]]) -> float:
    """Put the smaller layers where the large ones were; returns the relative error of all weights that were factored."""
    graph = model.graph
    new, energy, lost = {}, 0.0, 0.0
    for layer, point in plan:
        before = weights[layer.weight]
        square = float(np.vdot(before, before))
        energy, lost = energy + square, lost + square * -math.expm1(-point.loss)
        parts = factored(before, layer, point)
        names = [f"{layer.weight}.{part}" for part in PARTS[len(parts)]]
        new[layer.node.output[0]] = nodes_of(layer, point, names, parts)
        place = next(place for place, tensor in enumerate(graph.initializer) if tensor.name == layer.weight)
        kind = weights.kind(layer.weight)
        del graph.initializer[place]
        graph.initializer.extend(numpy_helper.from_array(part.astype(kind), name) for part, name in zip(parts, names, strict=True))
        spec.forget(layer.weight)
    nodes = [one for node in graph.node for one in new.get(node.output[0], [node])]
    del graph.node[:]
    graph.node.extend(nodes)
    infer(model)
    return math.sqrt(lost / energy) if energy else 0.0
