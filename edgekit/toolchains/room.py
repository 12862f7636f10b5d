"""A model's size in, how many workers fit into this machine's memory and processors beside each other out.

The rule: a worker takes at most six times the model and 400 MB (what `benchmarks/convert_many.py` holds them to). As many are started
beside each other as there are processors, and one more, since each waits for the disk now and then; and as fit into what is available, with
room for another: the source model runs meanwhile.
"""

from __future__ import annotations

import os
from pathlib import Path

TIMES_MODEL = 6
FLOOR_BYTES = 400_000_000
LIMIT_BYTES = 16 * 10**9
LEAST_LIMIT_BYTES = 2 * 10**9
"""A worker gets this much whatever the system says of its memory: pages that it could free do not count as available everywhere."""


def needed_bytes(model_bytes: int) -> int:
    """What a worker on a model of this size takes at most."""
    return TIMES_MODEL * model_bytes + FLOOR_BYTES


def at_once(model_bytes: int, wanted: int) -> int:
    """How many of the workers wanted fit beside each other: at least one."""
    fit = available_bytes() // needed_bytes(model_bytes) - 1
    return max(1, min(wanted, processors() + 1, fit))


def worker_limit_bytes() -> int:
    """When a worker is ended: before the system has to choose whom to kill."""
    return min(LIMIT_BYTES, max(LEAST_LIMIT_BYTES, available_bytes()))


def processors() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that can be had without swapping, by the kernel (proc(5), MemAvailable) and the limits of the control groups that this process is in
    (cgroup-v2, memory.max and memory.current); where neither tells, half of what is built in."""
    found = [int(line.split()[1]) * 1024 for line in lines(proc / "meminfo") if line.startswith("MemAvailable:")]
    for line in lines(proc / "self/cgroup"):
        number, _, path = line.partition("::")
        group = cgroups / path.strip("/")
        while number == "0" and group.is_relative_to(cgroups):
            limit, used = lines(group / "memory.max"), lines(group / "memory.current")
            if limit and used and limit[0].isdigit():
                reclaimable = sum(int(entry.split()[1]) for entry in lines(group / "memory.stat") if entry.startswith("inactive_file "))
                found.append(max(0, int(limit[0]) - int(used[0]) + reclaimable))
            group = group.parent
    return min(found) if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def lines(path: Path) -> list[str]:
    """The lines of a file of the kernel's; none where there is no such file."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
