"""The first line of /proc/stat, twice, in; how busy the processors were in between out.

Format: proc(5), /proc/stat: `cpu  user nice system idle iowait irq softirq steal guest guest_nice`, in ticks of all processors together
(guest time is in user time too).
"""

from __future__ import annotations

import re

from edgekit.facts.lines import BLANKS

LARGEST = 1 << 60


def ticks(text: str) -> tuple[int, int] | None:
    """(ticks spent on work, ticks in all)."""
    words = re.fullmatch(r"cpu\s+((?:[0-9]{1,18} ){7}[0-9]{1,18})(?: [0-9]{1,18}){0,2}", text.strip(BLANKS))
    if words is None:
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, words[1].split())
    work = user + nice + system + irq + softirq + steal
    return work, work + idle + iowait


def busy(before: str, after: str) -> float | None:
    """The share of all processors' time that was spent on work, 0 to 1; None where the two do not fit together."""
    was, now = ticks(before), ticks(after)
    if was is None or now is None or now[1] <= was[1] or not 0 <= now[0] - was[0] <= now[1] - was[1]:
        return None
    return (now[0] - was[0]) / (now[1] - was[1])
