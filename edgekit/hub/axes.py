"""What `--shape` says of one axis in, the sizes that the axis may have out: `224`, `16..128`, `16..`, `1|4|8`, `?`.

No onnx and no numpy here: the command line reads the same grammar.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Wanted = Sequence[int | str]
"""The axes of an input as asked for: a size where fixed, else one of the forms above."""

ANY = "?"


@dataclass(frozen=True, slots=True)
class Span:
    """The sizes of a flexible axis: from `low` to `high` (None: nothing bounds it), or those `listed` only.

    `default` is the size that the file has before anybody resizes it, and at which it is calibrated and measured; None leaves it open.
    """

    low: int
    high: int | None
    listed: tuple[int, ...]
    default: int | None


def read_axis(text: str) -> int | str | None:
    """One axis as written: a size, or a form that `span` takes; None where it is neither."""
    text = ANY if text in ("*", "-1") else text
    if text.isdigit():
        return int(text) or None
    return text if text == ANY or span(text) is not None else None


def span(text: str) -> Span | None:
    """The sizes that a form stands for; the first one written is the default. None where it is no form, or an empty one."""
    if text == ANY:
        return Span(1, None, (), None)
    between = re.fullmatch(r"(\d+)\.\.(\d*)", text)
    if between:
        low, high = int(between[1]), int(between[2]) if between[2] else None
        return Span(low, high, (), low) if low >= 1 and (high is None or high > low) else None
    if re.fullmatch(r"\d+(\|\d+)+", text):
        listed = tuple(dict.fromkeys(int(size) for size in text.split("|")))
        return Span(min(listed), max(listed), listed, listed[0]) if min(listed) >= 1 and len(listed) > 1 else None
    return None
