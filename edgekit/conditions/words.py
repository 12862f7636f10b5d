"""A device's state in, short words for a record or a person out. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from edgekit.facts import battery, cgroup, loadavg, thermalservice, vcgencmd
from edgekit.facts.cpufreq import frequencies_khz, governors
from edgekit.facts.number import integer
from edgekit.facts.power_supply import charges
from edgekit.facts.thermal_zones import temperatures_c
from edgekit.units import bytes_text


def all_temperatures_c(state: Mapping[str, str]) -> dict[str, float]:
    """Sensor → °C, from every source: the kernel's zones, a Raspberry Pi's firmware, Android's HAL and its battery."""
    found = temperatures_c(state)
    firmware = vcgencmd.temperature_c(state.get("vcgencmd measure_temp", ""))
    if firmware is not None:
        found["vcgencmd"] = firmware
    thermal = thermalservice.parse(state.get("dumpsys thermalservice", ""))
    found |= {one.name: one.celsius for one in (thermal.temperatures if thermal else ())}
    charge = battery.parse(state.get("dumpsys battery", ""))
    if charge and charge.temperature_c is not None:
        found["battery"] = charge.temperature_c
    return found


def speed_limit(state: Mapping[str, str]) -> int | None:
    """Per cent of its speed that a Mac allows itself (`pmset -g therm`); None where it does not tell."""
    return integer(state.get("pmset/CPU_Speed_Limit"), 1, 100)


def charge_in_words(state: Mapping[str, str]) -> str:
    """Such as `84 %, Discharging`."""
    told = [(one.level_percent, one.status) for one in charges(state).values()]
    android = battery.parse(state.get("dumpsys battery", ""))
    if android:
        told = [(android.level_percent, android.status)]
    words = [", ".join(filter(None, ("" if level is None else f"{level} %", status))) for level, status in told]
    return "; ".join(filter(None, words))


def in_words(state: Mapping[str, str]) -> dict[str, str]:
    """A device's state for a record: what it told, a line for each kind of fact."""
    now, most, allowed = (frequencies_khz(state, fact) for fact in ("scaling_cur_freq", "cpuinfo_max_freq", "scaling_max_freq"))
    held = vcgencmd.throttling(state.get("vcgencmd get_throttled", ""))
    thermal = thermalservice.parse(state.get("dumpsys thermalservice", ""))
    watts = vcgencmd.power_w(state.get("vcgencmd pmic_read_adc", ""))
    limit, load = speed_limit(state), loadavg.parse(state.get("loadavg", ""))
    available, swap, swap_free = (integer(state.get(name), 0, 1 << 40) for name in ("available_kb", "swap_total_kb", "swap_free_kb"))
    processors, allowed_bytes = cgroup.processors(state), cgroup.memory_bytes(state)
    words = {
        "governor": per_cpu(governors(state)),
        "frequency": per_cpu(megahertz(now)),
        "highest_frequency": per_cpu(megahertz(most)),
        "frequency_cap": per_cpu(megahertz(allowed)) if any(khz < most.get(cpu, khz) for cpu, khz in allowed.items()) else "",
        "temperature": ", ".join(f"{zone} {celsius:.1f} °C" for zone, celsius in all_temperatures_c(state).items()),
        "throttled": "" if held is None else f"now: {', '.join(held.now) or 'no'}; since boot: {', '.join(held.since_boot) or 'no'}",
        "thermal_status": "" if thermal is None or thermal.status is None else thermalservice.STATUSES[thermal.status],
        "speed_limit": "" if limit is None else f"{limit} %",
        "load": "" if load is None else f"{load:.2f}",
        "battery": charge_in_words(state),
        "power": "" if watts is None else f"{watts:.2f} W",
        "screen": state.get("screen", ""),
        "available_memory": "" if available is None else bytes_text(available * 1024),
        "swapped": "" if not swap or swap_free is None or swap_free > swap else bytes_text((swap - swap_free) * 1024),
        "processor_limit": "" if processors is None else f"{processors:g} processors",
        "memory_limit": "" if allowed_bytes is None else bytes_text(allowed_bytes),
    }
    return {name: text for name, text in words.items() if text}


def megahertz(khz: Mapping[int, int]) -> dict[int, str]:
    return {cpu: f"{value / 1000:.0f} MHz" for cpu, value in khz.items()}


def per_cpu(values: Mapping[int, str]) -> str:
    """`{0: "a", 1: "a", 2: "b"}` → `cpu0-1 a, cpu2 b`; the same for all → `a`."""
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    groups = []
    for value, members in groupby(sorted(values), key=lambda cpu: values[cpu]):
        cpus = list(members)
        groups.append(f"cpu{cpus[0]}{f'-{cpus[-1]}' if len(cpus) > 1 else ''} {value}")
    return ", ".join(groups)
