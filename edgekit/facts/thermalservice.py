"""What Android's `dumpsys thermalservice` prints in, its throttling status and its sensors out.

Format: AOSP, frameworks/base/services/core/java/com/android/server/power/ThermalManagerService.java, dump() (Android 10 and later), and
Temperature.toString() and CoolingDevice.toString() of frameworks/base/core/java/android/os. Types and statuses are those of
hardware/interfaces/thermal (TemperatureType, ThrottlingSeverity). The temperatures are those under "Current temperatures from HAL":
the cached ones are as old as the last event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.facts.lines import lines
from edgekit.facts.number import decimal, integer

STATUSES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
MODERATE = STATUSES.index("moderate")
"""The first at which a device "may reduce its performance for the user to notice" (PowerManager.THERMAL_STATUS_MODERATE)."""
TYPES = {
    0: "CPU", 1: "GPU", 2: "battery", 3: "skin", 4: "USB port", 5: "power amplifier", 6: "BCL voltage", 7: "BCL current", 8: "BCL percentage", 9: "NPU",
}  # fmt: skip
"""BCL, the battery's current limiter, tells no temperatures."""
DEGREES = {0, 1, 2, 3, 4, 5, 9}
CURRENT = "Current temperatures from HAL:"


@dataclass(frozen=True, slots=True)
class Temperature:
    name: str
    kind: str
    celsius: float
    status: int


@dataclass(frozen=True, slots=True)
class Thermal:
    """`status` is the device's own verdict, of `STATUSES`; None where it is not told, or was set by hand."""

    status: int | None
    temperatures: tuple[Temperature, ...]


def parse(text: str) -> Thermal | None:
    """None where neither is told."""
    told = lines(text)
    found = Thermal(status(told), tuple(temperatures(told)))
    return found if found.status is not None or found.temperatures else None


def status(told: list[str]) -> int | None:
    words = [line[len("Thermal Status: ") :] for line in told if line.startswith("Thermal Status: ")]
    if len(words) != 1 or "IsStatusOverride: false" not in told:
        return None
    return integer(words[0], 0, len(STATUSES) - 1)


def temperatures(told: list[str]) -> list[Temperature]:
    """Sensors under the heading; one that tells nonsense (-99.9, or 0.0 where there is none) is left out."""
    if told.count(CURRENT) != 1:
        return []
    found: dict[str, Temperature] = {}
    twice: set[str] = set()
    for line in told[told.index(CURRENT) + 1 :]:
        sensor = re.fullmatch(r"\s*Temperature\{mValue=([^,{}]+), mType=([^,{}]+), mName=([^,{}=]+), mStatus=([^,{}]+)\}", line)
        if sensor is None:
            break
        celsius, kind, severity = decimal(sensor[1], -40, 150), integer(sensor[2], 0, 9), integer(sensor[4], 0, len(STATUSES) - 1)
        if sensor[3] in found:
            twice.add(sensor[3])
        if celsius and kind in DEGREES and severity is not None and sensor[3].isprintable() and "\ufffd" not in sensor[3]:
            found[sensor[3]] = Temperature(sensor[3], TYPES[kind], celsius, severity)
    return [one for one in found.values() if one.name not in twice]
