"""What `df -Pk FOLDER` prints in, bytes free for a user out.

Format: POSIX.1-2017, df, "STDOUT" with -k and -P; toybox, busybox and coreutils differ only in the width of columns.
"""

from __future__ import annotations

import re

from edgekit.facts.lines import lines

LARGEST_KB = 1 << 50
"""An exabyte: no device's disk."""


def parse(text: str) -> int | None:
    """Bytes that are available; None where there is not exactly one file system, or its figures do not fit together."""
    told = [line for line in lines(text) if line.strip()]
    if len(told) != 2 or told[0].split()[-1:] != ["on"]:
        return None
    found = re.fullmatch(r"\S.*?\s+(\d{1,16})\s+(\d{1,16})\s+(\d{1,16})\s+(?:\d{1,3}%|-)\s+/.*", told[1], re.ASCII)
    if found is None:
        return None
    total, used, free = map(int, found.groups())
    return free * 1024 if used <= total <= LARGEST_KB and free <= total else None
