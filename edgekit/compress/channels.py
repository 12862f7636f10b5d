"""A hub in, the same hub with fewer channels out: whole filters, neurons, units and heads removed, with all that is tied to them.

`channels<percent>` removes that share of all filters, neurons, units and heads that can go, the least important of the network first, but from every
group at least half of what an even cut would take and at most so many that three quarters of what it would leave stay; with `wish.per_layer` from every
group that share. Counts are rounded to what kernels compute at once. A weight has input and output channels, so of parameters and multiply-accumulates
about the square of what stays is left: a quarter to a half at `channels50`. The new network computes what the old one would if nothing read the removed
channels, except where they are normalised together with others (LayerNormalization).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from onnx import ModelProto

from edgekit.compress.dead import fold_constant_channels
from edgekit.compress.groups import Group, Trace, classes, cut, groups, trace
from edgekit.compress.layers import layers, names
from edgekit.compress.rank import choose, importance
from edgekit.compress.steps import share
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec
from edgekit.hub.figures import figures
from edgekit.hub.graph import Refusal

SHORT = 0.01
"""How much less than was asked for is worth a note."""

LISTED = 40
"""Groups named in a note; more are counted."""


def apply(model: ModelProto, spec: Spec, strength: str, wish: Wish) -> list[str]:
    """Remove `strength` percent of the channels, in place, and slice the Spec with them.

    Returns:
        Notes: parameters and MACs before and after, channels of each group, what stays whole and why.

    Raises:
        Refusal: no channel can go (the message says why), or percent is not between 1 and 99.
    """
    return remove(model, spec, fraction(strength), wish)


def remove(model: ModelProto, spec: Spec, part: float, wish: Wish, only: str | None = None) -> list[str]:
    """Remove a part (0 to 1) of the channels; `only` those that this weight makes, with all that is tied to them. See `apply`."""
    before = figures(model)
    moved = fold_constant_channels(model, spec)
    traced = trace(model)
    label = classes(traced.count, traced.ties)
    found = groups(traced, label)
    known = called(model)
    free = [group for group in found if group.frozen is None and wish.skip.isdisjoint(all_names((name for name, _ in group.slots), known))]
    free = [group for group in free if only is None or only in group.makers]
    if not free:
        raise Refusal(f"no channel of the model can be removed: {stuck(found)}", kind="convert")
    own = {place: fraction(text) for place, group in enumerate(free) if (text := wish.strength_of(all_names(group.makers, known), ""))}
    score, weighed = importance(traced, label, free, wish)
    gone = choose(free, score, part, wish.per_layer, own)
    gone = spare(traced, label, gone)
    removed = np.zeros(traced.count, bool)
    for members in gone.values():
        removed[members] = True
    if not removed.any():
        raise Refusal(f"{part:.0%} of groups of {sizes(free)} channels is too few to remove, rounded to whole tiles: give a larger percentage", kind="convert")
    lost = cut(model, spec, traced, ~removed[label])
    after = figures(model)
    return [
        f"{sum(map(len, gone.values())):,} of {sum(len(group.members) for group in free):,} channels removed: "
        f"{before['parameters']:,} parameters became {after['parameters']:,}, {before['macs']:,} multiply-accumulates {after['macs']:,}",
        listed(free, gone, known),
        *short(free, gone, part, own),
        *apart(free, gone, own, known, wish),
        *left_with(found, known, wish),
        *kept_whole(found, traced, known),
        *weighed,
        *moved,
        *lost,
    ]


def fraction(strength: str) -> float:
    """
    Raises:
        Refusal: nothing, or everything, would be cut.
    """
    part = share(strength)
    if not 0 < part < 1:
        raise Refusal(f"channels{strength} would cut {'nothing' if part == 0 else 'every layer to nothing'}: give a percentage from 1 to 99")
    return part


def called(model: ModelProto) -> dict[str, list[str]]:
    """Weights → all that their layers go by, what people call them first."""
    known: dict[str, list[str]] = {}
    for layer in layers(model):
        known.setdefault(layer.weight, []).extend(names(layer))
    return known


def all_names(weights: Iterable[str], known: Mapping[str, list[str]]) -> list[str]:
    """All names by which a wish may call layers with these weights."""
    return [name for weight in weights for name in known.get(weight, [weight])]


def spare(traced: Trace, label: np.ndarray, gone: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """The same, without channels that would leave an axis of a tensor empty: one of a part that is sliced off stays."""
    removed = np.zeros(traced.count, bool)
    for members in gone.values():
        removed[members] = True
    slots = [slot.channels for slot in traced.slots.values()]
    for channels in [*slots, *(one for axes in traced.axes.values() for one in axes if one is not None)]:
        own = label[channels]
        if removed[own].all():
            removed[own[-1]] = False
    return {place: members[removed[members]] for place, members in gone.items()}


def short(free: Sequence[Group], gone: Mapping[int, np.ndarray], part: float, own: Mapping[int, float]) -> list[str]:
    """What to say where fewer channels went than were asked for, because some of each group stay."""
    places = [place for place in range(len(free)) if place not in own]
    every, lost = sum(len(free[place].members) for place in places), sum(len(gone[place]) for place in places)
    if not every or part - lost / every < SHORT:
        return []
    least = min(len(free[place].members) - len(gone[place]) for place in places)
    stay = f"at least {least} {'channel' if least == 1 else 'channels'} of each layer stay, in runs that kernels compute at once"
    return [f"{part:.0%} were asked for and {lost / every:.1%} went: {stay}"]


def apart(free: Sequence[Group], gone: Mapping[int, np.ndarray], own: Iterable[int], known: Mapping[str, list[str]], wish: Wish) -> list[str]:
    """What to say where strengths of layers' own came to other counts, or where one holds for several layers."""
    rounded, tied = [], []
    for place in own:
        group = free[place]
        every = [known[weight] for weight in group.makers if weight in known]
        asked = [(names[0], text) for names in every if (text := wish.strength_of(names, ""))]
        (name, text), first = asked[0], every[0][0]
        size = len(group.members)
        stay, wanted = size - len(gone[place]), size * (1 - fraction(text))
        if abs(stay - wanted) > 0.5:
            rounded.append(f"{name} keeps {stay} of {size}, where channels{text} would leave {round(wanted)}")
        if name != first or len({text for _, text in asked}) > 1:
            tied.append(f"{few([names[0] for names in every])} have the same channels, so that channels{text} of {name} holds for all of them")
    runs = [f"{few(rounded)}: channels stay in runs that kernels compute at once"] if rounded else []
    return runs + tied


def left_with(found: Sequence[Group], known: Mapping[str, list[str]], wish: Wish) -> list[str]:
    """Layers that keep their channels because others, which are to be left alone, read or make the same."""
    notes = []
    for group in found:
        every = dict.fromkeys(weight for weight, _ in group.slots if weight in known)
        alone = [weight for weight in every if not wish.skip.isdisjoint(known[weight])]
        others = [known[weight][0] for weight in group.makers if weight in every and weight not in alone]
        if group.frozen is None and alone and others:
            shares = "shares them and is" if len(alone) == 1 else "share them and are"
            notes.append(f"{few(others)}: channels stay, as {few([known[weight][0] for weight in alone])} {shares} to be left alone")
    return notes


def few(told: Sequence[str]) -> str:
    return ", ".join(told[:5]) + (" …" if len(told) > 5 else "")


def listed(free: Sequence[Group], gone: dict[int, np.ndarray], known: Mapping[str, list[str]]) -> str:
    """Channels of each group before and after."""
    told = [f"{all_names([group.name], known)[0]} {len(group.members)} → {len(group.members) - len(gone[place])}" for place, group in enumerate(free)]
    return ", ".join(told[:LISTED]) + (f", and {len(told) - LISTED} more" if len(told) > LISTED else "")


def kept_whole(found: Sequence[Group], traced: Trace, known: Mapping[str, list[str]]) -> list[str]:
    """What was not cut and why, and what a cut means for normalisation."""
    reasons: dict[str, list[str]] = {}
    for group in found:
        if group.frozen is not None and group.makers:
            reasons.setdefault(group.frozen, []).append(all_names([group.name], known)[0])
    notes = [f"{few(those)}: channels stay, as {why}" for why, those in reasons.items()]
    if traced.renormalised:
        nodes = ", ".join(repr(name) for name in traced.renormalised[:3])
        notes.append(f"{nodes}{' …' if len(traced.renormalised) > 3 else ''} normalise over fewer channels than before: tune afterwards")
    return notes


def stuck(found: Sequence[Group]) -> str:
    """Why nothing can go, in words."""
    if any(group.frozen is None for group in found):
        return "the layers that could lose some are to be left alone"
    reasons = list(dict.fromkeys(group.frozen for group in found if group.frozen is not None and group.makers))
    return "; ".join(reasons[:3]) or "it has no layers with weights between its inputs and outputs"


def sizes(free: Sequence[Group]) -> str:
    return ", ".join(str(size) for size in sorted({len(group.members) for group in free})[:5])
