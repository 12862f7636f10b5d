"""What a Raspberry Pi's `vcgencmd` prints in, its throttling, temperature and supply out.

Format: Raspberry Pi documentation, "Useful utilities", vcgencmd: get_throttled (a bit pattern: bits 0 to 3 hold now, bits 16 to 19
have held since the board started), measure_temp (`temp=42.8'C`), pmic_read_adc (Raspberry Pi 5: a line such as
`     VDD_CORE_A current(7)=1.27070400A` or `        EXT5V_V volt(24)=5.15386000V` for each channel).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.facts.lines import BLANKS, lines
from edgekit.facts.number import decimal

THROTTLED = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
KNOWN_BITS = 0xF000F
MOST_AMPERES, MOST_VOLTS = 20.0, 25.0
"""The board takes 5 A at 5 V, and its largest rail less than 20 A; no supply above 25 V is connected to its regulator."""


@dataclass(frozen=True, slots=True)
class Throttling:
    """What a Raspberry Pi says about its supply and its heat."""

    now: tuple[str, ...]
    since_boot: tuple[str, ...]


def throttling(text: str) -> Throttling | None:
    """None where it is not the documented answer, or has bits that mean nothing."""
    word = re.fullmatch(r"throttled=0x([0-9a-f]{1,5})", text.strip(BLANKS))
    if word is None or (len(word[1]) > 1 and word[1][0] == "0"):
        return None
    bits = int(word[1], 16)
    if bits & ~KNOWN_BITS:
        return None
    now, since_boot = (tuple(name for i, name in enumerate(THROTTLED) if bits >> (i + shift) & 1) for shift in (0, 16))
    return Throttling(now, since_boot) if set(now) <= set(since_boot) else None  # what holds now has held


def temperature_c(text: str) -> float | None:
    word = re.fullmatch(r"temp=(-?[0-9]+\.[0-9])'C", text.strip(BLANKS))
    return decimal(word[1], -40, 150) if word else None


def power_w(text: str) -> float | None:
    """The sum over all rails that tell both voltage and current; less than the board takes, for the 5 V that go past the regulator are missing.

    None where a line is not whole, or a rail tells one of the two only.
    """
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for line in lines(text):
        if not line.strip():
            continue
        channel = re.fullmatch(r"([A-Z0-9_]+)_([AV]) (current|volt)\([0-9]{1,2}\)=([0-9.]+)([AV])", line.strip())
        if channel is None or {channel[2], channel[5]} != {"A" if channel[3] == "current" else "V"}:
            return None
        rails, most = (amperes, MOST_AMPERES) if channel[2] == "A" else (volts, MOST_VOLTS)
        value = decimal(channel[4], 0, most)
        if value is None or channel[1] in rails:
            return None
        rails[channel[1]] = value
    if not amperes or not amperes.keys() <= volts.keys():
        return None
    return sum(amperes[rail] * volts[rail] for rail in amperes)
