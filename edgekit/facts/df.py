"""What `df -Pk FOLDER` prints in, bytes free for a user out.

Format: POSIX.1-2017, df, "STDOUT" with -k and -P; toybox, busybox and coreutils differ only in the width of columns.
"""

from __future__ import annotations

import re

from edgekit.facts.lines import lines
from edgekit.facts.number import integer

LARGEST_KB = 1 << 50
"""An exabyte: no device's disk."""


def parse(text: str) -> int | None:
    """Bytes that are available; None where there is not exactly one file system, or its figures do not fit together."""
    told = [line for line in lines(text) if line.strip()]
    if len(told) != 2 or told[0].split()[-1:] != ["on"]:
        return None
    found = re.fullmatch(r"\S.*?\s+([0-9]+)\s+([0-9]+)\s+([0-9]+)\s+(?:([0-9]{1,3})%|-)\s+/.*", told[1])
    if found is None:
        return None
    total, used, free = (integer(word, 0, LARGEST_KB) for word in found.groups()[:3])
    if total is None or used is None or free is None or max(used, free) > total:
        return None
    share = 100 * used / max(used + free, 1)  # some round it up, some to the nearest
    return free * 1024 if found[4] is None or abs(int(found[4]) - share) <= 1 else None
