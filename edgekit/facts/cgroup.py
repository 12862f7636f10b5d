"""A device's state in, what its control group (version 2) allows a process out.

Format: Linux, Documentation/admin-guide/cgroup-v2.rst: `cpu.max` is `$QUOTA $PERIOD` in microseconds, `memory.max` and `memory.high` are bytes;
`max` is no limit, and is not told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgekit.facts.number import integer

LARGEST_US = 10**9
"""The longest period that the kernel takes is a second; a quota of a thousand processors."""
LARGEST_BYTES = 1 << 60


def processors(state: Mapping[str, str]) -> float | None:
    """How many processors' time a process gets there."""
    words = re.fullmatch(r"(\S+) (\S+)", state.get("cgroup/cpu.max", ""))
    quota, period = (integer(words[1], 1, LARGEST_US), integer(words[2], 1_000, 1_000_000)) if words else (None, None)
    return quota / period if quota is not None and period is not None else None


def memory_bytes(state: Mapping[str, str]) -> int | None:
    """How much it may hold: the smaller of what ends it and what slows it down."""
    found = [integer(state.get(f"cgroup/{name}"), 1, LARGEST_BYTES) for name in ("memory.max", "memory.high")]
    return min((value for value in found if value is not None), default=None)
