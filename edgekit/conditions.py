"""What a device tells about itself, in its own words, in; figures and short words for a record or a person out. No I/O.

The words come from `targets/<platform>/conditions.py`. Whatever a device does not tell is absent here too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from pydantic import BaseModel, ConfigDict

from edgekit.units import bytes_text

# `vcgencmd get_throttled`, Raspberry Pi documentation: bits 0 to 3 hold now, bits 16 to 19 have held since boot.
THROTTLED = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")


class Told(BaseModel):
    """The JSON of `conditions.py`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: Mapping[str, str]
    state: Mapping[str, str]
    cores: tuple[int, ...]
    """The processors that a process may run on there."""
    home: str
    home_writable: bool
    home_free_bytes: int
    time_s: float
    """Seconds since 1970 by the device's clock."""

    @property
    def emulated(self) -> bool:
        return bool(self.identity.get("emulation"))

    @property
    def python(self) -> str:
        """Such as `3.11`."""
        return ".".join(self.identity["python"].split(".")[:2])


@dataclass(frozen=True, slots=True)
class Throttling:
    """What a Raspberry Pi says about its supply and its heat."""

    now: tuple[str, ...]
    since_boot: tuple[str, ...]


def governors(state: Mapping[str, str]) -> dict[int, str]:
    """Processor → frequency governor."""
    return {cpu: word for cpu, word in by_cpu(state, "scaling_governor").items() if word}


def frequencies_khz(state: Mapping[str, str], fact: str = "scaling_cur_freq") -> dict[int, int]:
    """Processor → kHz; `fact` is `scaling_cur_freq` or `cpuinfo_max_freq`."""
    return {cpu: int(word) for cpu, word in by_cpu(state, fact).items() if word.isdigit()}


def temperatures_c(state: Mapping[str, str]) -> dict[str, float]:
    """Thermal zone's type (or `vcgencmd`) → °C. The kernel gives thousandths of a degree; a zone that is off gives nonsense below -40."""
    found = {}
    for name, word in state.items():
        zone = re.match(r"thermal_zone(\d+)/(.*)", name)
        if zone and re.fullmatch(r"-?\d+", word) and int(word) > -40_000:
            kind = zone[2] or f"zone {zone[1]}"
            found[kind if kind not in found else f"{kind} {zone[1]}"] = int(word) / 1000
        measured = re.fullmatch(r"temp=([\d.]+)'C", word)
        if name == "vcgencmd measure_temp" and measured:
            found["vcgencmd"] = float(measured[1])
    return found


def throttling(state: Mapping[str, str]) -> Throttling | None:
    """What `vcgencmd get_throttled` says; None where it says nothing."""
    word = re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)", state.get("vcgencmd get_throttled", ""))
    if not word:
        return None
    bits = int(word[1], 16)
    held = [tuple(name for i, name in enumerate(THROTTLED) if bits >> (i + shift) & 1) for shift in (0, 16)]
    return Throttling(*held)


def load_average(state: Mapping[str, str]) -> float | None:
    """Processes that ran or wanted to, on average over the last minute."""
    first = state.get("loadavg", "").partition(" ")[0]
    return float(first) if re.fullmatch(r"\d+\.\d+", first) else None


def speed_limit(state: Mapping[str, str]) -> int | None:
    """Per cent of its speed that a Mac allows itself (`pmset -g therm`); None where it does not tell."""
    word = state.get("pmset/CPU_Speed_Limit", "")
    return int(word) if word.isdigit() else None


def battery(state: Mapping[str, str]) -> str | None:
    """Such as `84 %, Discharging`."""
    names = sorted({name.split("/")[1] for name in state if name.startswith("battery/")})
    told = [(state.get(f"battery/{name}/capacity"), state.get(f"battery/{name}/status")) for name in names]
    words = [", ".join(filter(None, (f"{level} %" if level else None, status))) for level, status in told]
    return "; ".join(words) or None


def in_words(state: Mapping[str, str]) -> dict[str, str]:
    """A device's state for a record: what it told, a line for each kind of fact."""
    now, most = frequencies_khz(state), frequencies_khz(state, "cpuinfo_max_freq")
    held = throttling(state)
    limit = speed_limit(state)
    load, available = load_average(state), state.get("available_kb", "")
    words = {
        "governor": per_cpu(governors(state)),
        "frequency": per_cpu({cpu: f"{khz / 1000:.0f} MHz" for cpu, khz in now.items()}),
        "highest_frequency": per_cpu({cpu: f"{khz / 1000:.0f} MHz" for cpu, khz in most.items()}),
        "temperature": ", ".join(f"{zone} {celsius:.1f} °C" for zone, celsius in temperatures_c(state).items()),
        "throttled": "" if held is None else f"now: {', '.join(held.now) or 'no'}; since boot: {', '.join(held.since_boot) or 'no'}",
        "speed_limit": "" if limit is None else f"{limit} %",
        "load": "" if load is None else f"{load:.2f}",
        "battery": battery(state) or "",
        "available_memory": bytes_text(int(available) * 1024) if available.isdigit() else "",
    }
    return {name: text for name, text in words.items() if text}


def per_cpu(values: Mapping[int, str]) -> str:
    """`{0: "a", 1: "a", 2: "b"}` → `cpu0-1 a, cpu2 b`; the same for all → `a`."""
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    groups = []
    for value, members in groupby(sorted(values), key=lambda cpu: values[cpu]):
        cpus = list(members)
        groups.append(f"cpu{cpus[0]}{f'-{cpus[-1]}' if len(cpus) > 1 else ''} {value}")
    return ", ".join(groups)


def by_cpu(state: Mapping[str, str], fact: str) -> dict[int, str]:
    found = ((re.fullmatch(rf"cpu(\d+)/{fact}", name), word) for name, word in state.items())
    return {int(cpu[1]): word for cpu, word in found if cpu}
