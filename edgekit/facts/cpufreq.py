"""A device's state in, what its processors may do and do out.

Format: Linux, Documentation/admin-guide/pm/cpufreq.rst (scaling_governor; scaling_cur_freq, scaling_max_freq and cpuinfo_max_freq in kHz),
Documentation/ABI/testing/sysfs-devices-system-cpu (cpu_capacity: 1024 for the fastest; thermal_throttle/core_throttle_count on x86).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgekit.facts.number import integer

SLOWEST_KHZ, FASTEST_KHZ = 10_000, 10_000_000
"""No processor that runs Linux is clocked below 10 MHz or above 10 GHz: what lies outside is not a frequency."""
LARGEST_CAPACITY = 1024
LARGEST_COUNT = 1 << 40


def governors(state: Mapping[str, str]) -> dict[int, str]:
    """Processor → frequency governor."""
    return {cpu: word for cpu, word in by_cpu(state, "scaling_governor").items() if re.fullmatch(r"[a-z][a-z0-9_]{1,31}", word)}


def drivers(state: Mapping[str, str]) -> dict[int, str]:
    """Processor → what sets its frequency, such as `intel_pstate`."""
    return {cpu: word for cpu, word in by_cpu(state, "scaling_driver").items() if re.fullmatch(r"[a-zA-Z][\w-]{1,31}", word, re.ASCII)}


def frequencies_khz(state: Mapping[str, str], fact: str = "scaling_cur_freq") -> dict[int, int]:
    """Processor → kHz; `fact` is `scaling_cur_freq`, `scaling_max_freq` or `cpuinfo_max_freq`."""
    return numbers(state, fact, SLOWEST_KHZ, FASTEST_KHZ)


def capacities(state: Mapping[str, str]) -> dict[int, int]:
    """Processor → its speed beside the fastest's, which has 1024."""
    return numbers(state, "cpu_capacity", 1, LARGEST_CAPACITY)


def throttle_counts(state: Mapping[str, str]) -> dict[int, int]:
    """Processor → how often it was slowed down for its heat since the device started (x86)."""
    return numbers(state, "core_throttle_count", 0, LARGEST_COUNT)


def numbers(state: Mapping[str, str], fact: str, least: int, most: int) -> dict[int, int]:
    found = {cpu: integer(word, least, most) for cpu, word in by_cpu(state, fact).items()}
    return {cpu: value for cpu, value in found.items() if value is not None}


def by_cpu(state: Mapping[str, str], fact: str) -> dict[int, str]:
    found = ((re.fullmatch(rf"cpu(0|[1-9][0-9]{{0,3}})/{fact}", name), word) for name, word in state.items())
    return {int(cpu[1]): word for cpu, word in sorted(found, key=lambda one: int(one[0][1]) if one[0] else -1) if cpu}
