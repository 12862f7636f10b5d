"""What each layer loses and saves by each way to compress it in, the ways to choose for every budget out; no I/O.

Errors of layers that are compressed alone are taken to add up, which holds while they are small (Zhou et al. 2018, "Adaptive Quantization for
Deep Neural Network", section 3). What is left is a multiple-choice knapsack; going along the lower convex hull of each layer by the steepest
saving first solves it to within one layer's step of the best there is (Sinha & Zoltners 1979, "The Multiple-Choice Knapsack Problem").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Option:
    """One way to compress a layer."""

    steps: str
    """Such as `prune50+bits8`; nothing for leaving it as it is."""
    saved_bytes: int
    noise: float
    """Power of the error of the outputs over theirs."""


UNTOUCHED = Option("", 0, 0.0)


@dataclass(frozen=True, slots=True)
class Way:
    """A choice for every layer that is touched."""

    steps: Mapping[str, str]
    """Layer → steps."""
    saved_bytes: int
    noise: float


def ways(layers: Mapping[str, Sequence[Option]]) -> list[Way]:
    """From nothing touched to the smallest there is: each saves more than the one before, by the change of one layer that costs least for it."""
    moves = []
    for layer, options in layers.items():
        kept = hull(options)
        for before, after in pairwise(kept):
            price = (after.noise - before.noise) / (after.saved_bytes - before.saved_bytes)
            moves.append((price, layer, before, after))
    chosen: dict[str, str] = {}
    found = [Way({}, 0, 0.0)]
    for _, layer, before, after in sorted(moves, key=lambda move: (move[0], move[2].saved_bytes)):
        chosen[layer] = after.steps
        last = found[-1]
        found.append(Way(dict(chosen), last.saved_bytes + after.saved_bytes - before.saved_bytes, last.noise + after.noise - before.noise))
    return found


def filled(way: Way, layers: Mapping[str, Sequence[Option]], least_saved: int) -> Way:
    """The way with what it saves beyond `least_saved` given back to layers, each time where that takes away most noise."""
    now = {layer: next((one for one in options if one.steps == way.steps.get(layer)), UNTOUCHED) for layer, options in layers.items()}
    slack = way.saved_bytes - least_saved
    while True:
        milder = [
            (one.noise - now[layer].noise, layer, one)
            for layer, options in layers.items()
            for one in (UNTOUCHED, *options)
            if one.noise < now[layer].noise and now[layer].saved_bytes - one.saved_bytes <= slack
        ]
        if not milder:
            break
        _, layer, one = min(milder, key=lambda move: move[:2])
        slack -= now[layer].saved_bytes - one.saved_bytes
        now[layer] = one
    steps = {layer: one.steps for layer, one in now.items() if one.steps}
    return Way(steps, sum(one.saved_bytes for one in now.values()), sum(one.noise for one in now.values()))


def hull(options: Sequence[Option]) -> list[Option]:
    """The options that no mixture of two others beats, from the mildest on: noise grows ever faster with what is saved."""
    kept: list[Option] = []
    for option in sorted((UNTOUCHED, *options), key=lambda one: (one.saved_bytes, one.noise)):
        if option.noise == float("inf") or (kept and option.saved_bytes <= kept[-1].saved_bytes):
            continue
        while kept and kept[-1].noise >= option.noise:
            kept.pop()
        while len(kept) > 1 and slope(kept[-2], kept[-1]) >= slope(kept[-1], option):
            kept.pop()
        kept.append(option)
    return kept if kept and kept[0] == UNTOUCHED else [UNTOUCHED, *kept]


def slope(a: Option, b: Option) -> float:
    return (b.noise - a.noise) / (b.saved_bytes - a.saved_bytes)
