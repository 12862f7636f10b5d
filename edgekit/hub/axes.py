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
    if text.isdecimal():
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


def wrong_axis(text: str) -> str:
    """What is wrong with an axis that `read_axis` does not take, and how it is written."""
    between = re.fullmatch(r"(\d*)\.\.(\d*)", text)
    if not text:
        return "an axis is left out: write each, with x between two"
    if between and not between[1]:
        return f"{text} has no smallest size: write {'1' + text if between[2] else ANY}"
    if between and int(between[1]) > int(between[2] or between[1]) >= 1:
        return f"{text} ends below its beginning: write {between[2]}..{between[1]}"
    if between and between[1] == between[2] != "0":
        return f"{text} is a single size: write {between[1]}"
    if re.fullmatch(r"[\d|]+", text) and "|" in text and not re.search(r"\b0+\b", text):
        sizes = list(dict.fromkeys(size for size in text.split("|") if size))
        cure = f"{sizes[0]}, or another size behind the bar" if len(sizes) == 1 else "|".join(sizes) or "1|4"
        return f"{text} is not a list of several sizes: write {cure}"
    if re.search(r"(?<!\d)0+(?!\d)", text):
        return f"{text} has a size of 0: the least is 1"
    return f"{text} is no size: write one such as 224, or flexible as 16..128, 1|4|8 or ?"
