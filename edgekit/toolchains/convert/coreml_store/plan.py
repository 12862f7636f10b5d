"""A package's weights, the hub's Spec and a recipe for what is float still in, the smallest form of each weight out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from coremltools.optimize._utils import select_input_output_channel_axis

from edgekit.toolchains.convert.coreml_store.forms import Array, Form, Integers, each, forms, plain, smallest, with_integer_entries
from edgekit.toolchains.convert.coreml_store.origin import Initializers, Origin
from edgekit.toolchains.convert.quantize.coreml_weights import eight_bits, four_bits, is_matrix, stays_eight

LEAST = 256
"""Weights of fewer elements stay plain: less than a kilobyte, of which an operation of its own takes a third."""

WORTH = 0.95
"""Share of the bytes that forms of iOS 18 may take at most for it to be asked for."""

NEAR = 2.0**-10
"""How far, of a value, float16 takes it by rounding a scale and then what it scales."""

BLOCKS = {"w4": None, "w4b32": 32}


@dataclass(slots=True)
class Plan:
    """How each weight is stored."""

    new: bool
    """Whether it needs iOS 18."""
    chosen: dict[str, Form]
    rough: list[str]
    """Names of weights that the recipe could round, whatever it did with them, in order of computation."""
    plain: list[str] = field(default_factory=list)
    """Weights that have a Spec, or could, and are stored as they are: initializers, and constants of the package that no initializer was found for."""
    rounded: int = 0
    """Weights whose scales were rounded to float16."""
    whole: bool = False
    """Whether activations are integers."""

    @property
    def notes(self) -> list[str]:
        kinds = Counter(described(form) for form in self.chosen.values())
        notes = [f"{n} weights are stored as {kind}" if n > 1 else f"1 weight is stored as {kind}" for kind, n in sorted(kinds.items())]
        if not self.chosen:
            notes.append("no weight of this model is stored smaller: none is large enough, and of values that are few, or mostly zero")
        if self.rounded:
            notes.append(f"the package computes in float16: scales of {self.rounded} weights are rounded to it, their integers are as they were")
        if self.whole and any(form.kind == "sparse palette" for form in self.chosen.values()):
            notes.append("palettes of sparse weights have float entries, so Core ML computes their layers in float16 or float32")
        if self.plain:
            notes.append(f"not found in the package as the hub has it, so stored plainly and judged by its download: {', '.join(self.plain)}")
        return notes


def described(form: Form) -> str:
    words = {"integers": f"integers of {form.bits} bits", "palette": f"palettes with indices of {form.bits} bits", "sparse": "nonzero values and a mask"}
    if form.kind in words:
        return words[form.kind]
    return f"a mask and, of what is not zero, {words[form.kind.removeprefix('sparse ')]}"


@dataclass(frozen=True, slots=True)
class Rounding:
    """What becomes of weights without a grid of their own."""

    recipe: str | None = None
    """`w8`, `w4` or `w4b32`; None: they stay float."""
    spared: Collection[str] = ()
    """Names of those that stay float all the same."""
    eight: Collection[str] = ()
    """Names of those that have 8 bits where the others have 4."""
    whole: bool = False
    """Whether activations are integers, and so palettes have integer entries: a layer with float ones is computed in float."""

    def of(self, name: str, operation: Any) -> str | None:
        """The recipe of one weight."""
        if self.recipe is None or name in self.spared or not is_matrix(operation):
            return None
        return "w8" if name in self.eight else self.recipe


def planned(weights: Mapping[str, Any], initializers: Initializers, rounding: Rounding) -> Plan:
    """The smallest form of each weight; `weights`: operations of constants, by name."""
    best: dict[bool, dict[str, Form | None]] = {False: {}, True: {}}
    bytes_of = {False: 0, True: 0}
    lost, strange, met, rough = {}, [], set(), []
    for name, operation in weights.items():
        values = np.asarray(operation.outputs[0].val)
        origin = initializers.origin(name, values)
        met.add(origin.name if origin else None)
        if values.size < LEAST:
            continue
        integers = on_grid(values, origin)
        if integers is None and origin is not None and origin.spec.grid is not None:
            lost[name] = origin.name
        if origin is None:
            strange.append(name)
        slices = None if origin is None else origin.slices or sliced(integers)
        found = list(forms(values, integers, slices, rounding.whole))
        recipe = rounding.of(name, operation)
        if integers is None and recipe is not None:
            rough.append(name)
            if rounding.whole:
                found = [with_integer_entries(one) if one.kind == "palette" else one for one in found]
            found += rougher(operation, values, recipe, smallest(values, found, True))
        for new in (False, True):
            form = best[new][name] = smallest(values, found, new)
            bytes_of[new] += plain(values) if form is None else form.nbytes
    new = bytes_of[True] < WORTH * bytes_of[False]
    large = [name for name, array in initializers.values.items() if array.size >= LEAST and array.ndim > 1]
    chosen = {name: form for name, form in best[new].items() if form is not None}
    plainly = [origin for name, origin in lost.items() if name not in chosen]
    if any(name not in met for name in large):
        plainly += [name for name in strange if name not in chosen]
    rounded = sum(form.scale is not None and form.scale.dtype == np.float16 for form in chosen.values())
    return Plan(new, chosen, rough, plainly, rounded, rounding.whole)


def on_grid(values: Array, origin: Origin | None) -> Integers | None:
    """The integers of values, where they are what the Spec's grid has, as far as their dtype can say."""
    if origin is None or origin.spec.grid is None or origin.scale is None or origin.spec.grid.bits > 8:
        return None
    grid = origin.spec.grid
    assert origin.zero_point is not None
    exact = values.astype(np.float32)
    scale, zero = each(origin.scale, values.shape), each(origin.zero_point, values.shape)
    q = np.clip(np.rint(exact / scale) + zero, grid.lowest, grid.highest)
    if not grid.signed:
        return None
    offset = origin.zero_point.astype(np.int8) if origin.zero_point.any() else None
    made = Integers(q.astype(np.int8), origin.scale, offset, grid.bits)
    back = made.floats(values.dtype)
    near = np.abs(back.astype(np.float32) - exact) <= NEAR * np.abs(exact)
    return made if (np.array_equal(back, values) if values.dtype == np.float32 else bool(near.all())) else None


def sliced(integers: Integers | None) -> tuple[int, int] | None:
    """The axis along which integers have a scale each, where that is one."""
    axes = [] if integers is None else [axis for axis, n in enumerate(integers.scale.shape) if n > 1]
    return (axes[0], 1) if integers is not None and len(axes) == 1 and integers.scale.shape[axes[0]] == integers.q.shape[axes[0]] else None


def rougher(operation: Any, values: Array, recipe: str, exact: Form | None) -> list[Form]:
    """Forms of the recipe's integers, where they take less than the values as they are in their smallest one. Zeros stay zero."""
    inner, outer = select_input_output_channel_axis(operation)
    if outer is None:
        return []
    if recipe == "w8" or stays_eight(values, outer):
        q, scale = eight_bits(values, outer)
        made = Integers(q, scale.astype(np.float32), None, 8)
    else:
        size = BLOCKS[recipe]
        blocks = (inner, size) if size is not None and inner is not None and values.shape[inner] % size == 0 else None
        q, scale, zero = four_bits(values, outer, blocks)
        made = Integers(q, scale.astype(np.float32), zero if zero.any() else None, 4)
    least = plain(values) if exact is None else exact.nbytes
    found = forms(made.floats(values.dtype), made, None)
    return [one for one in found if one.kind.endswith("integers") and one.nbytes < least]
