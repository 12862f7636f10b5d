"""What the steps that make a file flexible share: two values of a number at two sizes of the model in, a rule that gives both out.

A flexible file is made from two fixed ones, of the same model at two sizes: where they are the same, so is the flexible file; where a
number follows a flexible axis, the rule takes its place. Whether a rule holds at other sizes is for the verification to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Axes = list[dict[str, Any]]
"""Flexible axes as jobs carry them (`records.FlexibleAxis`)."""


class FixedError(Exception):
    """Something in the file holds it at one size; the message is a clause that names it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """size · `times` // `over` + `plus`, of the flexible axes of one symbol."""

    symbol: str
    times: int
    over: int
    plus: int


@dataclass(frozen=True, slots=True)
class Symbol:
    """A flexible size: what it is in the two files, and the input axis to read it from."""

    name: str
    first: int
    second: int
    input: str
    axis: int
    high: int | None
    """Its largest, where it has one."""


def symbols(axes: Axes, first: dict[str, list[int]], second: dict[str, list[int]]) -> list[Symbol]:
    """The flexible sizes of two files whose inputs have these shapes.

    Raises:
        FixedError: the inputs differ elsewhere, or do not differ in a flexible axis.
    """
    found: dict[str, Symbol] = {}
    open_axes = {(axis["input"], axis["axis"]) for axis in axes}
    for axis in axes:
        name, place = axis["input"], axis["axis"]
        one = Symbol(axis["symbol"], first[name][place], second[name][place], name, place, axis["high"])
        if one.first == one.second:
            raise FixedError(f"axis {place} of input {name!r} has one size in both files")
        found.setdefault(one.name, one)
    for name, shape in first.items():
        for place, size in enumerate(shape):
            if (name, place) not in open_axes and size != second[name][place]:
                raise FixedError(f"axis {place} of input {name!r} follows another input")
    return list(found.values())


def rule(known: list[Symbol], first: int, second: int) -> Rule | None:
    """A rule that gives `first` and `second`: a multiple or a whole part of one symbol, else that symbol and a difference."""
    for symbol in known:
        if first * symbol.second == second * symbol.first:
            part = int(np.gcd(first, symbol.first))
            return Rule(symbol.name, first // part, symbol.first // part, 0)
    for symbol in known:
        if second - first == symbol.second - symbol.first:
            return Rule(symbol.name, 1, 1, first - symbol.first)
    return None


def repeated(first: Array, second: Array) -> bool:
    """Whether `first` has one element along every axis in which the two differ, and `second` is it, repeated: they broadcast alike."""
    if first.ndim != second.ndim or any(a != b and a != 1 for a, b in zip(first.shape, second.shape, strict=True)):
        return False
    return bool(np.array_equal(np.broadcast_to(first, second.shape), second))


def pairs(mine: list[tuple[str, str]], theirs: list[tuple[str, str]]) -> list[int]:
    """For each operator of one file, (kind, name of what it gives), the place of the same one in the other.

    Exporters do not keep an order between branches, so they are paired by name where both files have the same names, else by place.

    Raises:
        FixedError: the files have other operators.
    """
    places = {name: place for place, (_, name) in enumerate(theirs)}
    named = len(places) == len(mine) == len(theirs) and places.keys() == {name for _, name in mine}
    found = [places[name] for _, name in mine] if named else list(range(min(len(mine), len(theirs))))
    for (kind, name), place in zip(mine, found, strict=False):
        if kind != theirs[place][0]:
            raise FixedError(f"the graph is another one at another size ({kind} {name!r} here, {theirs[place][0]} there)")
    if len(mine) != len(theirs):
        raise FixedError(f"the graph is another one at another size ({len(mine)} operators here, {len(theirs)} there)")
    return found
