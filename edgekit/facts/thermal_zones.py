"""A device's state in, the temperatures and the cooling that its kernel reports out.

Format: Linux, Documentation/ABI/testing/sysfs-class-thermal and Documentation/driver-api/thermal/sysfs-api.rst: `temp` and
`trip_point_N_temp` in thousandths of a degree; `cur_state` from 0 (off) to `max_state`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgekit.facts.number import integer

COLDEST_MILLIDEGREES, HOTTEST_MILLIDEGREES = -40_000, 150_000
"""Silicon is specified from -40 to at most 150 °C (JEDEC grade 0 is 150); a zone that is off tells -274000 or 0x7fffffff."""
NO_TEMPERATURE = re.compile(r"socd?|vdroop[0-9]?|batoilo[0-9]?|smpl_gm|(?:soft_)?ocp_.*|thb_hda|(?:.*[-_])?(?:ibat|vbat|bcl)(?:[-_].*)?")
"""Zones that tell the battery's charge, currents or voltages in the same form: drivers/thermal/qcom/bcl_pmic5.c, Google's google_bcl."""
SLOWS = re.compile(r"(?:thermal-)?(?:cpu|dev)freq-[\w.-]+|Processor", re.ASCII)
"""Cooling devices that cool by slowing down: drivers/thermal/cpufreq_cooling.c, devfreq_cooling.c, drivers/acpi/processor_thermal.c. Fans do not."""


def temperatures_c(state: Mapping[str, str]) -> dict[str, float]:
    """Thermal zone's type → °C; the second zone of a type has its number behind it."""
    found: dict[str, float] = {}
    for name, word in state.items():
        zone = re.fullmatch(r"thermal_zone([0-9]{1,3})/(.*)", name)
        millidegrees = integer(word, COLDEST_MILLIDEGREES, HOTTEST_MILLIDEGREES)
        if zone and millidegrees is not None and zone[2].isprintable() and not NO_TEMPERATURE.fullmatch(zone[2]):
            kind = zone[2] or f"zone {zone[1]}"
            found[kind if kind not in found else f"{kind} {zone[1]}"] = millidegrees / 1000
    return found


def slows_at_c(state: Mapping[str, str]) -> dict[str, float]:
    """Number of a thermal zone → the lowest temperature at which its kernel begins to slow the device down (its `passive` trip points)."""
    found: dict[str, float] = {}
    for name, word in state.items():
        point = re.fullmatch(r"trip_point/([0-9]{1,3})/[0-9]{1,3}/passive", name)
        millidegrees = integer(word, 1, HOTTEST_MILLIDEGREES)  # 0 and below: a point that is switched off
        if point and millidegrees is not None:
            found[point[1]] = min(found.get(point[1], millidegrees / 1000), millidegrees / 1000)
    return found


def slowing(state: Mapping[str, str]) -> dict[str, int]:
    """Cooling devices that slow the device down → how much they do, 0 being not at all."""
    found: dict[str, int] = {}
    for name, word in state.items():
        device = re.fullmatch(r"(cooling_device[0-9]{1,3})/(.+)", name)
        states = re.fullmatch(r"(\S+) of (\S+)", word)
        if device and states and SLOWS.fullmatch(device[2]):
            now, most = integer(states[1], 0, 10_000), integer(states[2], 1, 10_000)
            if now is not None and most is not None and now <= most:
                found[f"{device[1]}/{device[2]}"] = now
    return found
