"""What Android's `dumpsys battery` prints in, the battery's charge and temperature out.

Format: AOSP, frameworks/base/services/core/java/com/android/server/BatteryService.java, dumpInternal(): `  level: 84` of `  scale: 100`,
`  temperature: 251` in tenths of a degree, `  status: 2` (BatteryManager.BATTERY_STATUS_…), `  AC powered: true` and its like for each
kind of charger. "(UPDATES STOPPED" stands there while the figures are set by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.facts.lines import lines
from edgekit.facts.number import integer

STATUSES = {2: "Charging", 3: "Discharging", 4: "Not charging", 5: "Full"}
"""1 is unknown."""
HEADING = "Current Battery Service state:"
CHARGERS = ("AC powered", "USB powered", "Wireless powered", "Dock powered")


@dataclass(frozen=True, slots=True)
class Battery:
    """None where it is not told."""

    level_percent: int | None
    temperature_c: float | None
    status: str | None
    powered: bool | None
    """Whether a charger is connected."""


def parse(text: str) -> Battery | None:
    """None where it is not this answer, where its figures are not the battery's own, or where there is no battery."""
    told = [line.strip() for line in lines(text)[:-1]]  # the last may be cut
    if told.count(HEADING) != 1 or any("UPDATES STOPPED" in line for line in told):
        return None
    fields = pairs(told)
    if fields.get("present") != "true":
        return None
    tenths = integer(fields.get("temperature"), -400, 1000)  # a battery above 100 °C burns
    number = integer(fields.get("status"), 1, 5)
    chargers = [fields[name] for name in CHARGERS if name in fields]
    known = len(chargers) >= 3 and all(word in ("true", "false") for word in chargers)  # three since Android 4.2
    level = integer(fields.get("level"), 0, 100) if fields.get("scale") == "100" else None
    found = Battery(level, None if tenths is None else tenths / 10, STATUSES.get(number or 0), "true" in chargers if known else None)
    return found if found != Battery(None, None, None, None) else None


def pairs(told: list[str]) -> dict[str, str]:
    """`name: value`; a name that is told twice is left out."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    for name, colon, value in (line.partition(": ") for line in told):
        if colon:
            twice |= {name} & found.keys()
            found[name] = value
    return {name: value for name, value in found.items() if name not in twice}
