"""The words of /proc/loadavg in, the load out.

Format: proc(5), /proc/loadavg: three averages with two decimals, running/all threads, the last process id. macOS' answer has the averages only.
"""

from __future__ import annotations

import re

from edgekit.facts.lines import BLANKS
from edgekit.facts.number import decimal

LARGEST = 10_000.0


def parse(text: str) -> float | None:
    """Processes that ran or wanted to, on average over the last minute."""
    words = re.fullmatch(r"([0-9]+\.[0-9]{2}) [0-9]+\.[0-9]{2} [0-9]+\.[0-9]{2}(?: [0-9]+/[0-9]+ [0-9]+)?", text.strip(BLANKS), re.ASCII)
    return decimal(words[1], 0, LARGEST) if words else None
