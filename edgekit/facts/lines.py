"""A command's output in, its lines out."""

from __future__ import annotations

BLANKS = " \t\r\n"
"""What may stand around a word; other blanks that Unicode has do not come from these programs."""
LONGEST = 4096
"""No program that is read here prints longer lines; a device that does would only keep the host busy."""


def lines(text: str) -> list[str]:
    """Without the line ends, which are `\\r\\n` where a terminal was in between; a `\\r` elsewhere stays, and spoils its line."""
    return ["" if len(line) > LONGEST else line.removesuffix("\r") for line in text.split("\n")]
