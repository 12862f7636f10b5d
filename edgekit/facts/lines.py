"""A command's output in, its lines out."""

from __future__ import annotations

BLANKS = " \t\r\n"
"""What may stand around a word; other blanks that Unicode has do not come from these programs."""


def lines(text: str) -> list[str]:
    """Without the line ends, which are `\\r\\n` where a terminal was in between; a `\\r` elsewhere stays, and spoils its line."""
    return [line.removesuffix("\r") for line in text.split("\n")]
