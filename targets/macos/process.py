"""Nothing in, what this process holds out: bytes, from the kernel. Written from Apple's headers; not yet run on a Mac."""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Any

RUSAGE_INFO_V4 = 4  # <sys/resource.h>, struct rusage_info_v4: a UUID, then counters of 8 bytes
COUNTERS = 35
RESIDENT_SIZE, LIFETIME_MAX_PHYS_FOOTPRINT = 6, 28  # ri_resident_size, ri_lifetime_max_phys_footprint


class Usage(ctypes.Structure):
    """struct rusage_info_v4."""

    _fields_ = (("uuid", ctypes.c_uint8 * 16), ("counters", ctypes.c_uint64 * COUNTERS))


class Memory:
    """What this process holds, above what it holds now. What Core ML's own services hold for it is not in it.

    peak_rss_bytes        ru_maxrss: the largest resident set of this process in its life
    floor_rss_bytes       ri_resident_size when this was made
    model_rss_bytes       that peak less the floor; the peak cannot be reset, and `peak_was_reset` says so
    phys_footprint_bytes  ri_lifetime_max_phys_footprint: the largest that macOS charged this process with, which is what its limits are about
    """

    def __init__(self) -> None:
        self.floor = counter(RESIDENT_SIZE)

    def figures(self) -> dict[str, Any]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes here, unlike on Linux
        return {
            "peak_rss_bytes": peak,
            "floor_rss_bytes": self.floor,
            "model_rss_bytes": None if self.floor is None else max(peak - self.floor, 0),
            "phys_footprint_bytes": counter(LIFETIME_MAX_PHYS_FOOTPRINT),
            "peak_was_reset": False,
        }


def counter(index: int) -> int | None:
    """A counter of proc_pid_rusage; None where the kernel does not tell."""
    usage = Usage()
    try:
        failed = ctypes.CDLL(None).proc_pid_rusage(os.getpid(), RUSAGE_INFO_V4, ctypes.byref(usage))
    except AttributeError:  # another system
        return None
    return None if failed else int(usage.counters[index])
