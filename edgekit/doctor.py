"""An open way to a device in, findings out: whether it can be measured on, and whether its figures could be trusted, each with a cure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edgekit.conditions import Told, frequencies_khz, governors, load_average, per_cpu, speed_limit, temperatures_c, throttling
from edgekit.errors import CommandFailed, DeviceError
from edgekit.measure import tell
from edgekit.runtime import PlatformDescription, platform_of
from edgekit.transport import Transport
from edgekit.units import bytes_text

ASK_S = 30.0
NOT_FOUND = 127
NEEDED_BYTES = 200 * 10**6
"""Both runtimes, packed and unpacked."""
PLENTY_BYTES = 10**9
WARM_C = 75.0
"""Raspberry Pis slow down from 80 °C, phones and small boards earlier; a run of a minute adds some degrees."""
BUSY_PER_CORE = 0.25
CLOCK_OFF_S = 60.0

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    found: str
    cure: str = ""
    """What to do; empty where all is well."""


def examine(transport: Transport, python: str = "python3") -> tuple[Finding, ...]:
    """Look at a device. What cannot be looked at because of a failure before it is left out."""
    return tuple(findings(transport, python))


def findings(transport: Transport, python: str) -> Iterator[Finding]:
    try:
        started = time.monotonic()
        transport.run(["true"], timeout_s=ASK_S)
        yield Finding("reachable", "ok", f"{transport.address}, answers in {1000 * (time.monotonic() - started):.0f} ms")
    except DeviceError as exc:
        yield Finding("reachable", "fail", str(exc), "check that the device is on, and that its shell runs `true`")
        return
    try:
        platform = platform_of(transport)
    except DeviceError as exc:
        yield Finding("system", "fail", str(exc), "log in to a Linux device or a Mac")
        return
    target = platform.description
    version = python_version(transport, python)
    yield python_finding(version, python, target)
    if version not in target.pythons:
        return
    before = time.time()
    try:
        told = tell(transport, platform, python)
    except DeviceError as exc:
        yield Finding("system", "fail", str(exc), f"check that {python} there is whole: reinstall it")
        return
    middle = (before + time.time()) / 2
    yield processor(told, target)
    yield macos(told, target) if target.minimum_macos else libc(told, target)
    yield room(told)
    yield from speed(told)
    yield clock(told.time_s - middle)


def python_version(transport: Transport, python: str) -> str | None:
    """Such as `3.11`; None where there is no such Python."""
    try:
        done = transport.run([python, "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], timeout_s=ASK_S)
    except CommandFailed:
        return None
    except DeviceError:  # this machine says so when it cannot start a command
        return None
    return done.stdout.strip()


def python_finding(version: str | None, python: str, target: PlatformDescription) -> Finding:
    range_text = f"{target.pythons[0]} to {target.pythons[-1]}"
    if version is None:
        return Finding("python", "fail", f"no {python}", f"install Python {range_text} there (`{target.install_python}`)")
    if version not in target.pythons:
        return Finding("python", "fail", f"{python} is Python {version}", f"install Python {range_text} there and name it with --python")
    return Finding("python", "ok", f"{python} is Python {version}")


def processor(told: Told, target: PlatformDescription) -> Finding:
    machine, bits = told.identity["machine"], told.identity["bits"]
    words = f"{told.identity.get('processor', machine)}, {machine}, {bits} bits, {len(told.cores)} cores"
    if machine not in target.machines or bits != "64":
        return Finding("processor", "fail", words, f"install a 64-bit system of one of these kinds: {', '.join(target.machines)}")
    if told.emulated:
        return Finding(
            "processor", "warn", f"{words}; emulated: {told.identity['emulation']}", "measure on the device itself: emulated figures are never judged"
        )
    return Finding("processor", "ok", words)


def libc(told: Told, target: PlatformDescription) -> Finding:
    name, _, version = told.identity.get("libc", "").partition(" ")
    if name != "glibc" or numbers(version) < numbers(target.minimum_glibc):
        cure = f"install a system with glibc {target.minimum_glibc} or later, such as Debian 12: the runtimes' wheels need it"
        return Finding("libc", "fail", f"{name} {version}".strip() or "no glibc", cure)
    return Finding("libc", "ok", f"{name} {version}")


def macos(told: Told, target: PlatformDescription) -> Finding:
    words = told.identity.get("os", "")
    if numbers(words.removeprefix("macOS ").partition(" ")[0]) < numbers(target.minimum_macos):
        return Finding("system", "fail", words or "no macOS", f"install macOS {target.minimum_macos} or later: the runtimes' wheels need it")
    return Finding("system", "ok", words)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def room(told: Told) -> Finding:
    words = f"{bytes_text(told.home_free_bytes)} free in {told.home}"
    if not told.home_writable:
        return Finding("disk", "fail", f"{told.home} is not writable", "log in as a user with a home folder, or set EDGEKIT_CACHE_DIR there")
    if told.home_free_bytes < NEEDED_BYTES:
        return Finding("disk", "fail", words, f"free at least {bytes_text(NEEDED_BYTES)}: the runtimes need it")
    if told.home_free_bytes < PLENTY_BYTES:
        return Finding("disk", "warn", words, "free some space if models are large")
    return Finding("disk", "ok", words)


def speed(told: Told) -> Iterator[Finding]:
    """What makes the same file faster or slower from one day to the next; only what the device tells."""
    by_cpu, khz = governors(told.state), frequencies_khz(told.state)
    if by_cpu:
        now = per_cpu({cpu: f"{value / 1000:.0f} MHz" for cpu, value in khz.items()})
        words = f"{per_cpu(by_cpu)}, now {now}" if khz else per_cpu(by_cpu)
        slow = "powersave" in by_cpu.values()
        cure = "set another: `echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`"
        yield Finding("governor", "warn", words, cure) if slow else Finding("governor", "ok", words)
    zones = temperatures_c(told.state)
    if zones:
        hottest = max(zones, key=lambda zone: zones[zone])
        words = f"{zones[hottest]:.1f} °C ({hottest})"
        hot = zones[hottest] >= WARM_C
        yield Finding("temperature", "warn", words, "let it cool down, or cool it, before measuring") if hot else Finding("temperature", "ok", words)
    held = throttling(told.state)
    if held is not None:
        past = [name for name in held.since_boot if name not in held.now]
        words = "; ".join(filter(None, (", ".join(held.now) and f"now: {', '.join(held.now)}", ", ".join(past) and f"since boot: {', '.join(past)}"))) or "none"
        cure = "use the maker's power supply and a cooler, then restart the device"
        yield Finding("throttling", "ok", words) if words == "none" else Finding("throttling", "warn", words, cure)
    limit = speed_limit(told.state)
    if limit is not None:
        cure = "let it cool down, and connect its power supply"
        yield Finding("throttling", "warn", f"held to {limit} % of its speed", cure) if limit < 100 else Finding("throttling", "ok", "none")
    load = load_average(told.state)
    if load is not None:
        words = f"load {load:.2f} on {told.identity['cores']} cores"
        busy = load > BUSY_PER_CORE * int(told.identity["cores"])
        yield Finding("background load", "warn", words, "stop what else runs there, and wait a minute") if busy else Finding("background load", "ok", words)


def clock(ahead_s: float) -> Finding:
    words = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine"
    if abs(ahead_s) > CLOCK_OFF_S:
        return Finding("clock", "warn", words, "set it: `sudo timedatectl set-ntp true`, or on a Mac `sudo sntp -sS time.apple.com`")
    return Finding("clock", "ok", words)
