"""A step and a wish in, the layers that it changes out, by the strength that each is to have."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from edgekit.compress.layers import Layer, distinct, names
from edgekit.compress.steps import read_step
from edgekit.compress.wish import Wish
from edgekit.hub.graph import Refusal


def chosen(found: Iterable[Layer], technique: str, strength: str, wish: Wish) -> dict[str, list[Layer]]:
    """Strength → layers, one a weight. Tables that are looked up are there only if the wish names them.

    Raises:
        Refusal: the wish names a layer that is not there, or a strength that the technique does not have; there is no layer at all.
    """
    every = distinct(found)
    known = {name for layer in every for name in names(layer)}
    for name in (*wish.overrides, *wish.skip):
        if name not in known:
            close = difflib.get_close_matches(name, [layer.name for layer in every], 3) or difflib.get_close_matches(name, known, 3)
            raise Refusal(f"There is no layer {name!r}: a layer goes by its name, its node's or its weights'{', such as ' if close else ''}{', '.join(close)}.")
    groups: dict[str, list[Layer]] = {}
    for layer in every:
        mine = wish.strength_of(names(layer), strength)
        if mine is not None and not (layer.is_table and wish.overrides.keys().isdisjoint(names(layer))):
            groups.setdefault(mine, []).append(layer)
    for mine in groups:
        step = read_step(technique + mine)
        if step is None or step.technique.name != technique:
            raise Refusal(f"{technique} has no strength {mine!r}: the wish for {groups[mine][0].name!r} should be written as in a step.")
    if not groups:
        raise Refusal(f"{technique} has nothing to change: the model has no layer with constant weights that the wish does not leave out.")
    return groups


def is_named(layer: Layer, wish: Wish) -> bool:
    """The wish asks for this layer by name, so that leaving it out would be no answer."""
    return not wish.overrides.keys().isdisjoint(names(layer))
