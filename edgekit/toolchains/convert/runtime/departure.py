"""Two traces of one sample in, how far each tensor of the first is from its counterpart in the second out, and the first that departs.

Two files of one model share neither names nor layout nor, where operators were fused, all tensors. So a tensor's counterpart is the
tensor of the same size that is nearest to it, in either layout, at about the same depth. A tensor without a near one is only a
departure if nothing that is computed from it agrees again: otherwise it was fused away, and is not there to be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgekit.toolchains.convert.runtime.runners import Array
from edgekit.toolchains.convert.runtime.trace import Traced

LAYOUTS: dict[int, tuple[tuple[int, ...], ...]] = {3: ((0, 2, 1),), 4: ((0, 2, 3, 1), (0, 3, 1, 2)), 5: ((0, 2, 3, 4, 1), (0, 4, 1, 2, 3))}
"""Channels first to last, and back."""

MOST_CANDIDATES = 24
"""Of more tensors of one size, those at the nearest depth are looked at: each costs a pass over its values."""

NEARER_DB = 3.0
"""How much nearer a tensor's counterpart has to be to what is made of it to be taken for that: half of the error's power."""

EXACT_DB = 999.0

NO_DELEGATES = ("none", "evaluated")
"""What a Runner says that hands nothing to a delegate."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One tensor of the first file and its nearest counterpart in the second; figures are None where there is none of its size."""

    index: int
    op: str
    node: str
    tensor: str
    counterpart: str | None
    """Operator and name in the second file."""
    sqnr_db: float | None
    max_rel: float | None
    verdict: str
    """`agrees`, `departs`, or `unseen`: fused away in the second file, in another order there, or of no counterpart's size."""


def compare(first: Sequence[Traced], second: Sequence[Traced], floor_db: float) -> list[Compared]:
    """Every tensor of `first`, in order.

    Args:
        floor_db: an SQNR below this is a departure.
    """
    by_size: dict[int, list[tuple[float, Traced]]] = {}
    for position, tensor in enumerate(second):
        by_size.setdefault(tensor.values.size, []).append((position / len(second), tensor))
    found = []
    for index, tensor in enumerate(first):
        near = sorted(by_size.get(tensor.values.size, []), key=lambda one: abs(one[0] - index / len(first)))[:MOST_CANDIDATES]
        scored = [(*figures(tensor.values, other.values), other) for _, other in near]
        best = max(scored, key=lambda one: one[0], default=None)
        found.append((tensor, best))
    fused = nearer_behind(first, [best for _, best in found])
    agree = [best is not None and best[0] >= floor_db and not fused[index] for index, (_, best) in enumerate(found)]
    again = agrees_again(first, agree)
    rows = []
    for index, (tensor, best) in enumerate(found):
        hidden = fused[index] or again[index] or best is None or (not agree[index] and reordered(tensor.values, best[2].values, floor_db))
        verdict = "agrees" if agree[index] else "unseen" if hidden else "departs"
        sqnr_db, max_rel, other = best if best is not None and verdict != "unseen" else (None, None, None)
        counterpart = f"{other.op} {other.name}".strip() if other else None
        rows.append(Compared(index, tensor.op, tensor.node, tensor.name, counterpart, sqnr_db, max_rel, verdict))
    return rows


def nearer_behind(first: Sequence[Traced], best: Sequence[tuple[float, float | None, Traced] | None]) -> list[bool]:
    """Of each tensor: whether its counterpart belongs to the tensor that is made of it, as a convolution's does to its activation's."""
    made_of = {(read, index) for index, tensor in enumerate(first) for read in tensor.reads}
    nearest: dict[str, list[int]] = {}
    for index, one in enumerate(best):
        if one is not None:
            nearest.setdefault(one[2].id, []).append(index)
    behind = [False] * len(first)
    for sharing in nearest.values():
        for index in sharing:
            own = best[index]
            rivals = [best[other] for other in sharing if other > index and (first[index].id, other) in made_of]
            behind[index] = any(own is not None and rival is not None and rival[0] > own[0] + NEARER_DB for rival in rivals)
    return behind


def agrees_again(first: Sequence[Traced], agree: Sequence[bool]) -> list[bool]:
    """Of each tensor: whether anything that is computed from it agrees."""
    readers: dict[str, list[int]] = {}
    for index, tensor in enumerate(first):
        for read in tensor.reads:
            readers.setdefault(read, []).append(index)
    again = [False] * len(first)
    for index in reversed(range(len(first))):
        again[index] = any(agree[reader] or again[reader] for reader in readers.get(first[index].id, []) if reader > index)
    return again


def figures(truth: Array, found: Array) -> tuple[float, float | None]:
    """SQNR in dB and largest error over the truth's largest value, in the layout where they are nearest."""
    return max((plain_figures(truth, turned) for turned in layouts(truth, found)), key=lambda one: one[0])


def reordered(truth: Array, found: Array, floor_db: float) -> bool:
    """Whether a row holds the same values in another order, as that of an image flattened channels last, before weights in that order."""
    return truth.ndim <= 2 and plain_figures(np.sort(truth, axis=None), np.sort(found, axis=None))[0] >= floor_db


def layouts(truth: Array, found: Array) -> Iterator[Array]:
    """The second's values in the order of the first's: as they are, and from the other layout."""
    yield found.reshape(-1)
    for order in LAYOUTS.get(truth.ndim, ()):
        shape = tuple(truth.shape[axis] for axis in order)
        if found.size == truth.size and found.shape[-len(shape) :] == shape:
            yield found.reshape(shape).transpose(np.argsort(order)).reshape(-1)


def plain_figures(truth: Array, found: Array) -> tuple[float, float | None]:
    """10·log10(Σ truth² / Σ error²), and max |error| / max |truth| (None where that has no end), over values that are finite in the truth."""
    a, b = truth.reshape(-1).astype(np.float64), found.astype(np.float64)
    known = np.isfinite(a)
    a, b = a[known], b[known]
    if not np.isfinite(b).all():
        return -EXACT_DB, None
    error, power = float(np.sum((a - b) ** 2)), float(np.sum(a**2))
    if error == 0:
        return EXACT_DB, 0.0
    if power == 0:
        return -EXACT_DB, None
    return 10 * float(np.log10(power / error)), float(np.abs(a - b).max() / np.abs(a).max())


def first_departure(rows: Sequence[Compared], outputs_depart: bool, delegate: str) -> Compared | None:
    """The first tensor in order of computation that departs.

    Where all agree and the outputs of the file as it runs do not, it is the delegate, if there is one, which shows none of its inner tensors.
    """
    under = "" if delegate in NO_DELEGATES else f" under {delegate}"
    first = next((row for row in rows if row.verdict == "departs"), None)
    if first is None and outputs_depart and rows:
        return replace(rows[-1], op=f"{rows[-1].op}{under}", counterpart=None, sqnr_db=None, max_rel=None, verdict="departs")
    return first
