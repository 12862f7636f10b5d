"""What Android's `dumpsys power` prints in, whether the device is awake and its screen on out.

Format: AOSP, frameworks/base/services/core/java/com/android/server/power/PowerManagerService.java, dumpInternal(): `  mWakefulness=Awake`
(PowerManagerInternal.wakefulnessToString; `mGlobalWakefulness` or `getGlobalWakefulnessLocked()` from Android 12 on), `  mStayOn=false`,
`  mStayOnWhilePluggedInSetting=0` (a mask of BatteryManager.BATTERY_PLUGGED_…: 1 AC, 2 USB, 4 wireless, 8 dock), and up to Android 10
`Display Power: state=ON`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.facts.lines import lines
from edgekit.facts.number import integer

WAKEFULNESS = ("Awake", "Asleep", "Dreaming", "Dozing")


@dataclass(frozen=True, slots=True)
class Power:
    """None where it is not told."""

    wakefulness: str | None
    stay_on: int | None
    """The chargers with which the screen stays on, as a mask."""

    @property
    def screen_on(self) -> bool | None:
        """A dreaming device shows its screen saver, a dozing one at most a dark clock."""
        return None if self.wakefulness is None else self.wakefulness in ("Awake", "Dreaming")


def parse(text: str) -> Power | None:
    """None where neither is told."""
    told = [line.strip() for line in lines(text)[:-1]]  # the last may be cut
    words = values(told, r"(?:mWakefulness|mGlobalWakefulness|mWakefulnessRaw|getGlobalWakefulnessLocked\(\))")
    wakefulness = words[0] if len(set(words)) == 1 and words[0] in WAKEFULNESS else None
    masks = values(told, "mStayOnWhilePluggedInSetting")
    found = Power(wakefulness, integer(masks[0], 0, 15) if len(masks) == 1 else None)
    return found if found != Power(None, None) else None


def values(told: list[str], name: str) -> list[str]:
    return [found[1] for line in told if (found := re.fullmatch(rf"{name}=(.*)", line))]
