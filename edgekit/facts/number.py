"""A word in, its number out where it is one and lies in a range; else None."""

from __future__ import annotations

import re


def integer(word: str | None, least: int, most: int) -> int | None:
    """`"84"` → 84. No sign but `-`, no spaces, no leading zeros (what is left of a number that lost its front), ASCII digits only."""
    if word is None or not re.fullmatch(r"-?(?:0|[1-9][0-9]{0,18})", word):
        return None
    return int(word) if least <= int(word) <= most else None


def decimal(word: str | None, least: float, most: float) -> float | None:
    """`"54.600002"` → 54.600002; as `integer`, with at most one point and digits on both sides of it."""
    if word is None or not re.fullmatch(r"-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?", word):
        return None
    return float(word) if least <= float(word) <= most else None
