"""Nothing in, what this process holds out: bytes, from the kernel. Written from Apple's headers; not yet run on a Mac."""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Any

RUSAGE_INFO_V0 = 0  # <sys/resource.h>: a UUID of 16 bytes, then ten counters of 8 bytes
RESIDENT = 8  # ri_resident_size is the seventh of these counters


class Memory:
    """What this process holds, above what it holds now. What Core ML's own services hold for it is not in it.

    peak_rss_bytes      ru_maxrss: the largest resident set of this process in its life
    model_rss_bytes     that peak less the floor (ri_resident_size when this was made); the peak cannot be reset, and `peak_was_reset` says so
    """

    def __init__(self) -> None:
        self.floor = resident()

    def figures(self) -> dict[str, Any]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes here, unlike on Linux
        return {
            "peak_rss_bytes": peak,
            "model_rss_bytes": None if self.floor is None else max(peak - self.floor, 0),
            "pss_bytes": None,
            "cgroup_peak_bytes": None,
            "peak_was_reset": False,
        }


def resident() -> int | None:
    """The resident set in bytes; None where the kernel does not tell."""
    counters = (ctypes.c_uint64 * 12)()
    try:
        failed = ctypes.CDLL(None).proc_pid_rusage(os.getpid(), RUSAGE_INFO_V0, counters)
    except AttributeError:  # another system
        return None
    return None if failed else counters[RESIDENT]
