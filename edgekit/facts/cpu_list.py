"""The kernel's list of processors (`0-3,6`) in, their numbers out.

Format: Linux, Documentation/admin-guide/cputopology.rst and kernel-parameters.rst ("cpu lists").
"""

from __future__ import annotations

import re

from edgekit.facts.lines import BLANKS

LARGEST = 4095
"""NR_CPUS is at most 8192 in any kernel, and 4096 in those of distributions."""


def parse(text: str) -> tuple[int, ...] | None:
    """`0-3,6` → (0, 1, 2, 3, 6); None where it is not such a list."""
    found: set[int] = set()
    for part in text.strip(BLANKS).split(","):
        ends = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part)
        if ends is None:
            return None
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if not first <= last <= LARGEST:
            return None
        found.update(range(first, last + 1))
    return tuple(sorted(found))
