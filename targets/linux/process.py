"""Nothing in, what this process holds out: bytes, from /proc and the cgroup."""

from __future__ import annotations

import os
import re
from typing import Any


class Memory:
    """What this process holds, above what it holds now.

    peak_rss_bytes       VmHWM: the largest resident set of this process in its life
    floor_rss_bytes      VmRSS when this was made
    model_rss_bytes      the peak from the floor on, less the floor. Where the kernel does not let the peak be reset, it is the life's peak,
                         and `peak_was_reset` says so
    pss_bytes            Pss at the end: resident pages, shared ones counted in shares
    private_dirty_bytes  Private_Dirty at the end: pages that only this process has and has written
    swap_bytes           Swap at the end: its pages that were swapped out
    cgroup_peak_bytes    memory.peak, only where this process is alone in its cgroup; files charged to others are missing
    """

    def __init__(self) -> None:
        self.life_peak = status("VmHWM")
        self.was_reset = reset_peak()
        self.floor = status("VmRSS")

    def figures(self) -> dict[str, Any]:
        peak, rollup = status("VmHWM"), text("/proc/self/smaps_rollup")
        return {
            "peak_rss_bytes": max(self.life_peak, peak) or None,
            "floor_rss_bytes": self.floor or None,
            "model_rss_bytes": max(peak - self.floor, 0) if peak else None,
            "pss_bytes": field(rollup, "Pss"),
            "private_dirty_bytes": field(rollup, "Private_Dirty"),
            "swap_bytes": field(rollup, "Swap"),
            "cgroup_peak_bytes": cgroup_peak(),
            "arena_bytes": None,
            "peak_was_reset": self.was_reset,
        }


def status(name: str) -> int:
    """A figure of /proc/self/status in bytes; 0 where it is missing."""
    return field(text("/proc/self/status"), name) or 0


def field(words: str, name: str) -> int | None:
    """`name:   12 kB` as bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", words, re.M)
    return int(found[1]) * 1024 if found else None


def reset_peak() -> bool:
    """Set VmHWM back to what is resident now (proc(5), clear_refs 5); False where that is not allowed."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def cgroup_peak() -> int | None:
    """Bytes, or None where others share the cgroup or the kernel (< 5.19) does not tell."""
    own = next((line[3:] for line in text("/proc/self/cgroup").splitlines() if line.startswith("0::")), None)
    folder = f"/sys/fs/cgroup{own}"
    if own is None or text(f"{folder}/cgroup.procs").split() != [str(os.getpid())]:
        return None
    peak = text(f"{folder}/memory.peak").strip()
    return int(peak) if peak.isdigit() else None


def text(path: str) -> str:
    """A small file's words; "" where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
