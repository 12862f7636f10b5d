"""A device's state in, whether it is fit to be measured, and whether it was slowed down between two states, out. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from edgekit.conditions.words import speed_limit
from edgekit.facts import battery, thermalservice, vcgencmd
from edgekit.facts.cpufreq import frequencies_khz, throttle_counts
from edgekit.facts.power_supply import charges
from edgekit.facts.thermal_zones import slowing, slows_at_c, temperatures_c

HOT_C = 75.0
"""Where a device does not say at what it slows down: Raspberry Pis do from 80 °C, and a run of a minute adds some degrees."""
MARGIN_C = 5.0
"""Below the temperature at which it does say so: what a quick run of all threads adds to a small board."""
LOWEST_TRIP_C = 50.0
"""A trip point below that is one for a skin or a battery: an idle device in a warm room may pass it."""
BATTERY_HOT_C = 45.0
"""Above it lithium cells are no longer charged at full current (JEITA guidelines), and phones shed load."""
LOW_BATTERY_PERCENT = 20
"""Phones offer their battery saver at 20 % (config_lowBatteryWarningLevel is 15, plus 5), and it slows the processor down."""
SILICON = ("CPU", "GPU", "NPU")


def unfit(state: Mapping[str, str]) -> str | None:
    """Why a device should not be measured right now, as a short clause; None where nothing speaks against it."""
    return throttled(state) or hot(state) or drained(state)


def throttled(state: Mapping[str, str]) -> str | None:
    """That it is slowed down now, by its own account."""
    held = vcgencmd.throttling(state.get("vcgencmd get_throttled", ""))
    if held and held.now:
        return f"its firmware reports {', '.join(held.now)}"
    limit = speed_limit(state)
    if limit is not None and limit < 100:
        return f"held to {limit} % of its speed"
    thermal = android_thermal(state)
    if thermal and thermal.status is not None and thermal.status >= thermalservice.MODERATE:
        return f"its thermal status is {thermalservice.STATUSES[thermal.status]}"
    slowed = [name for name, level in slowing(state).items() if level]
    return f"slowed down by its kernel to cool ({slowed[0].partition('/')[2]})" if slowed else None


def hot(state: Mapping[str, str]) -> str | None:
    """That it is about to be slowed down for its heat."""
    slows_at = {number: celsius for number, celsius in slows_at_c(state).items() if celsius >= LOWEST_TRIP_C}
    for name, word in state.items():
        number = name.partition("/")[0].removeprefix("thermal_zone")
        for zone, celsius in temperatures_c({name: word}).items():
            limit = slows_at[number] - MARGIN_C if number in slows_at else HOT_C
            if celsius >= limit:
                return f"{zone} is at {celsius:.0f} °C, above {limit:.0f} °C"
    thermal = android_thermal(state)
    for sensor in thermal.temperatures if thermal else ():
        if sensor.kind in SILICON and sensor.celsius >= HOT_C:
            return f"{sensor.name} is at {sensor.celsius:.0f} °C, above {HOT_C:.0f} °C"
    firmware = vcgencmd.temperature_c(state.get("vcgencmd measure_temp", ""))
    if firmware is not None and firmware >= HOT_C:
        return f"its processor is at {firmware:.0f} °C, above {HOT_C:.0f} °C"
    android = battery.parse(state.get("dumpsys battery", ""))
    if android and android.temperature_c is not None and android.temperature_c >= BATTERY_HOT_C:
        return f"its battery is at {android.temperature_c:.0f} °C, above {BATTERY_HOT_C:.0f} °C"
    return None


def drained(state: Mapping[str, str]) -> str | None:
    """That its battery is low and not being charged."""
    levels = [(one.level_percent, one.charging) for one in charges(state).values()]
    android = battery.parse(state.get("dumpsys battery", ""))
    if android:
        levels = [(android.level_percent, android.powered)]
    low = [level for level, charging in levels if level is not None and level < LOW_BATTERY_PERCENT and not charging]
    return f"its battery is at {low[0]} % and not charging" if low else None


def throttled_between(before: Mapping[str, str], after: Mapping[str, str], cores: Collection[int]) -> str | None:
    """Why what ran on `cores` between two states is to be marked, as a short clause; None where nothing says that it was slowed down."""
    told = throttled(after)
    if told:
        return told
    earlier, later = (vcgencmd.throttling(state.get("vcgencmd get_throttled", "")) for state in (before, after))
    new = [word for word in later.since_boot if word not in earlier.since_boot] if earlier and later else []
    if new:
        return f"its firmware reports {', '.join(new)} meanwhile"
    was_status, now_status = (thermal.status if thermal else None for thermal in map(android_thermal, (before, after)))
    if was_status is not None and now_status is not None and now_status > was_status:
        return f"its thermal status rose to {thermalservice.STATUSES[now_status]}"
    was, now = throttle_counts(before), throttle_counts(after)
    risen = [cpu for cpu in sorted(cores) if cpu in was and now.get(cpu, 0) > was[cpu]]
    if risen:
        return f"cpu{risen[0]} grew too hot meanwhile"
    was, now = frequencies_khz(before, "scaling_max_freq"), frequencies_khz(after, "scaling_max_freq")
    capped = [cpu for cpu in sorted(cores) if cpu in was and now.get(cpu, was[cpu]) < was[cpu]]
    return f"cpu{capped[0]} was capped from {was[capped[0]] / 1000:.0f} to {now[capped[0]] / 1000:.0f} MHz" if capped else None


def android_thermal(state: Mapping[str, str]) -> thermalservice.Thermal | None:
    return thermalservice.parse(state.get("dumpsys thermalservice", ""))
