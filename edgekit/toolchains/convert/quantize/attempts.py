"""Ways to quantize one model in, the one that errs least on samples kept aside out, with what each way gave.

The ways are tried one after another, each on top of the best so far: the calibration's method, equalisation, the rounding of weights,
bias correction, and last, which operators keep a higher precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekit.hub.parity import NO_ERROR_DB as EXACT_DB
from edgekit.hub.ranges import METHODS
from edgekit.toolchains.convert.quantize.sensitive import Loss

AUTO_FLOOR_DB = 20.0
"""What `keep_float: auto` asks for: a tenth of the output's amplitude; five networks of five kept their top-1 there."""

GROUPS = 32
"""Operators are judged in at most as many stretches: each costs one quantized file."""

LARGE_BYTES = 100_000_000
"""Of a larger float file only a few ways are tried: each candidate is written, loaded and run."""

FEWER = ("minmax", "percentile99.99", "mse")

NAMED = 12
"""So many operators are named in a note."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to quantize."""

    ranges: str | None = None
    """How ranges of activations are chosen; None where the recipe has none."""
    equalised: bool = False
    clipped: bool = False
    """Whether weights are cut off where that errs less, instead of keeping the largest."""
    corrected: bool = False
    left: frozenset[int] = frozenset()
    """Positions of operators that keep a higher precision."""

    def __str__(self) -> str:
        flags = (("equalised", self.equalised), ("clipped weights", self.clipped), ("bias corrected", self.corrected))
        return " + ".join([*([self.ranges] if self.ranges else []), *(name for name, on in flags if on)]) or "min-max weights"


@dataclass(slots=True)
class Search:
    """Makes and measures attempts, each once."""

    make: Callable[[Attempt], Path]
    measure: Callable[[Path], Loss]
    errors: tuple[type[Exception], ...]
    """What is raised where an attempt cannot be made or run."""
    losses: dict[Attempt, Loss] = field(default_factory=dict)

    def loss(self, attempt: Attempt) -> Loss:
        """
        Raises:
            CannotRunError: the file does not run; also what the quantizer raises.
        """
        if attempt not in self.losses:
            path = self.make(attempt)
            self.losses[attempt] = self.measure(path)
            path.unlink(missing_ok=True)
        return self.losses[attempt]

    def best(self, first: Attempt, more: Iterable[Attempt]) -> Attempt:
        """The one that errs least; of equals the earlier. An attempt other than the first that fails is passed over."""
        best = first
        for attempt in more:
            try:
                if self.loss(attempt).rank > self.loss(best).rank:
                    best = attempt
            except self.errors:
                continue
        return best


@dataclass(frozen=True, slots=True)
class Wish:
    """What a job's options ask for beside the recipe."""

    calibration: str = "auto"
    """A method of `hub.ranges`, `percentile` (the best of three), or `auto` (the best of all)."""
    keep_float: str | float | None = None
    """None, `auto`, or the SQNR in dB that is kept by leaving operators in a higher precision."""
    io: str = "float"

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Wish:
        return cls(**{name: options[name] for name in ("calibration", "keep_float", "io") if name in options})

    @property
    def floor_db(self) -> float | None:
        return AUTO_FLOOR_DB if self.keep_float == "auto" else None if self.keep_float is None else float(self.keep_float)


@dataclass(frozen=True, slots=True)
class Options:
    """What can be tried with one model, recipe and format."""

    methods: Sequence[str | None]
    equalised: bool
    clipped: bool
    corrected: bool
    sensitive: frozenset[int]
    """Operators before a logarithm."""
    positions: Sequence[int]
    """Operators that can keep a higher precision."""


def choose(search: Search, recipe: str, options: Options, floor_db: float | None) -> Attempt:
    """The best attempt.

    Raises:
        CannotRunError: the first attempt does not run; also what the quantizer raises.
    """
    first = Attempt(options.methods[0])
    search.loss(first)
    best = search.best(first, [Attempt(name) for name in options.methods[1:]])
    if options.equalised:
        best = search.best(best, [replace(best, equalised=True), replace(first, equalised=True)])
    if options.clipped:
        best = search.best(best, [replace(best, clipped=True)])
    if options.corrected:
        best = search.best(best, [replace(best, corrected=True)])
    if options.sensitive and search.loss(best).too_much(recipe):
        part = search.best(best, [replace(best, left=options.sensitive)])
        if part is not best:  # what lost most is out of the way: another method may be best for the rest
            part = search.best(part, [replace(part, ranges=name) for name in options.methods])
        best = part
    return best if floor_db is None else keep_precision(search, best, options.positions, floor_db)


def methods(wish: str, size_bytes: int, bits: int) -> Sequence[str]:
    """The calibration methods to try: min-max first, so that of equals it stays."""
    if wish == "auto" and bits > 8:
        return "minmax", "mse"  # with 65536 steps there is little to win by clipping
    if wish == "auto":
        return FEWER if size_bytes > LARGE_BYTES else METHODS
    return [name for name in METHODS if name.startswith("percentile")] if wish == "percentile" else [wish]


def stretches(positions: Sequence[int]) -> list[list[int]]:
    """At most GROUPS runs of neighbours of about equal length."""
    size = -(-len(positions) // GROUPS) or 1
    return [list(positions[start : start + size]) for start in range(0, len(positions), size)]


def keep_precision(search: Search, best: Attempt, positions: Sequence[int], floor_db: float) -> Attempt:
    """Leave out what loses most, most harmful first, until the floor is met; if it is never met, the best that was seen.

    Each stretch of operators is quantized alone and the outputs compared: the lower their SQNR, the more harmful it is.
    """
    if search.loss(best).sqnr_db >= floor_db:
        return best
    every = frozenset(positions) | best.left
    found = [group for group in stretches([p for p in positions if p not in best.left]) if group]
    alone = {tuple(group): search.loss(replace(best, left=every - frozenset(group))).rank for group in found}
    order = sorted(found, key=lambda group: alone[tuple(group)])

    def without(count: int) -> Attempt:
        return replace(best, left=best.left.union(*order[:count]))

    count = 1
    while count < len(order) and search.loss(without(count)).sqnr_db < floor_db:
        count *= 2
    tried = [best, *(without(n) for n in range(1, len(order) + 1) if without(n) in search.losses)]
    if search.loss(without(min(count, len(order)))).sqnr_db < floor_db:
        return max([*tried, without(len(order))], key=lambda attempt: search.loss(attempt).rank)
    low, high = count // 2, min(count, len(order))  # `low` is not enough, `high` is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if search.loss(without(middle)).sqnr_db >= floor_db else (middle, high)
    return without(high)


def told(search: Search, best: Attempt, judged: str) -> list[str]:
    """Notes with the figures of what was tried, the chosen one first; apart, what was tried before operators were left out."""
    notes: list[str] = []
    for left, state in ((frozenset[int](), "all operators in it"), (best.left, "the rest")):
        figures = {str(attempt): loss.sqnr_db for attempt, loss in search.losses.items() if attempt.left == left}
        if len(figures) < 2 or (notes and not left):
            continue
        order = sorted(figures.items(), key=lambda item: (item[0] != str(best) or left != best.left, -item[1]))
        where = f", {state}" if best.left else ""
        others = ", ".join(f"{name} {decibels(sqnr).removesuffix(' dB')}" for name, sqnr in order[1:])
        notes.append(f"{order[0][0]} {'chosen' if left == best.left else 'best'}{where}: {decibels(order[0][1])} on {judged}; tried too: {others}")
    return notes


def short_of(best_db: float, floor_db: float, form: str, recipe: str, judged: str, kind: str) -> str:
    """Why a floor cannot be kept, and what to do; `form` is the format's title, `kind` what was left in higher precision."""
    finer = "fp32" if recipe == "fp16" else "fp16 or fp32" if recipe == "w8" else "w8 or fp16"
    return (
        f"{form} {recipe} keeps {decibels(best_db)} on {judged}, {floor_db:g} dB were asked for, "
        f"and no {kind} left in higher precision reach it: use {finer}, or a lower --keep-float"
    )


def untouched(recipe: str, smaller: bool, four_bits: bool) -> list[str]:
    """A note where a recipe has done little or nothing: whether any weight is `smaller` in the file, and any of `four_bits`."""
    if not smaller:
        return [f"nothing in this model is stored smaller by {recipe}: it has no weights of a kind and size that {recipe} is for"]
    return [] if four_bits or recipe not in ("w4", "w4b32") else [f"no weight of this model is stored in 4 bits by {recipe}: those that are smaller are int8"]


def left_words(best: Attempt, sqnr_db: float, options: Options, recipe: str, every: Sequence[str]) -> list[str]:
    """What was left in a higher precision, and why, of all operators by name."""
    if not best.left:
        return []
    if best.left == options.sensitive:
        return [f"{len(best.left)} operators before a logarithm keep float32 activations: {recipe} lost too much there"]
    names = [every[index] for index in sorted(best.left)]
    return [f"{len(names)} of {len(every)} operators left in higher precision for {decibels(sqnr_db)}: {named(names)}"]


def decibels(sqnr_db: float) -> str:
    """`31.4 dB`, or `exact`."""
    return "exact" if sqnr_db >= EXACT_DB else f"{sqnr_db:.1f} dB"


def named(names: Sequence[str]) -> str:
    """The first names, and how many more."""
    shown = ", ".join(repr(name) for name in names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown
