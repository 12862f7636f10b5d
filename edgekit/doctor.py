"""An open way to a device in, findings out: whether it can be measured on, and whether its figures could be trusted, each with a cure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from edgekit.ask import ask, ask_state
from edgekit.conditions import Told
from edgekit.conditions.fitness import LOW_BATTERY_PERCENT, drained, hot, throttled
from edgekit.conditions.words import all_temperatures_c, charge_in_words, megahertz, per_cpu
from edgekit.device import Device
from edgekit.errors import DeviceError, InputError
from edgekit.facts import cgroup, loadavg, proc_stat, vcgencmd
from edgekit.facts.cpufreq import drivers, frequencies_khz, governors, throttle_counts
from edgekit.lock import Holder, lock
from edgekit.native import minimum_glibc, numbers
from edgekit.runners import Runner, runner_for
from edgekit.runtime import Platform, platform_of
from edgekit.transport import Transport
from edgekit.units import bytes_text

ASK_S = 30.0
WATCH_S = 1.0
"""How long the processors are watched for what else runs there."""
NEEDED_BYTES = 200 * 10**6
"""Both runtimes with numpy, packed and unpacked."""
NEEDED_NATIVE_BYTES = 60 * 10**6
"""Both native runners, packed and unpacked, and a model."""
PLENTY_BYTES = 10**9
BUSY = 0.10
"""Of all processors: on four cores that is nearly half of one."""
BUSY_PER_CORE = 0.25
CLOCK_OFF_S = 60.0
OWN_POWERSAVE = {"intel_pstate", "amd-pstate", "amd-pstate-epp"}
"""Drivers whose governor `powersave` follows the load (Documentation/admin-guide/pm/intel_pstate.rst, amd-pstate.rst); elsewhere it is the lowest frequency."""

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    found: str
    cure: str = ""
    """What to do; empty where all is well."""


def examine(transport: Transport, device: Device, watch_s: float = WATCH_S) -> tuple[Finding, ...]:
    """Look at a device; `watch_s` of that at what else runs there. What cannot be looked at because of a failure before it is left out."""
    return tuple(findings(transport, device, watch_s))


def findings(transport: Transport, device: Device, watch_s: float) -> Iterator[Finding]:
    try:
        started = time.monotonic()
        transport.run(["true"], timeout_s=ASK_S)
        yield Finding("reachable", "ok", f"{transport.address}, answers in {1000 * (time.monotonic() - started):.0f} ms")
    except DeviceError as exc:
        yield Finding("reachable", "fail", str(exc), "check that the device is on, and that its shell runs `true`")
        return
    try:
        target = platform_of(transport)
        before = time.time()
        told = ask(transport, target, device.python)
        middle = (before + time.time()) / 2
    except DeviceError as exc:
        yield Finding("system", "fail", str(exc), "use a Linux device, an Android device or a Mac whose `sh` is a POSIX shell")
        return
    yield processor(told, target)
    yield runtime(device, target, told)
    yield folder(told)
    yield room(told, NEEDED_NATIVE_BYTES if target.description.own_libc else NEEDED_BYTES)
    if told.root.endswith("/edgekit"):
        yield holder(transport, told.root)
    yield clock(told.time_s - middle)
    yield from speed(told.state)
    yield from throttling(told)
    yield from limits(told)
    yield from screen(told)
    try:
        time.sleep(watch_s)
        yield from background(told.state, ask_state(transport, target), len(told.cores))
    except DeviceError as exc:
        yield Finding("reachable", "fail", str(exc), "look at its cable, its network and its supply: it was there a moment ago")


def processor(told: Told, target: Platform) -> Finding:
    bits = told.identity.get("bits")
    words = ", ".join(filter(None, (told.identity.get("processor"), told.machine, bits and f"{bits} bits", f"{len(told.cores)} cores")))
    machines = target.description.all_machines
    if told.machine not in machines:
        return Finding("processor", "fail", words, f"install a system of one of these kinds: {', '.join(machines)}")
    if told.emulated:
        return Finding("processor", "warn", f"{words}; emulated: {told.identity['emulation']}", "measure on a device itself: emulated figures are never judged")
    return Finding("processor", "ok", words)


def runtime(device: Device, target: Platform, told: Told) -> Finding:
    """Whether files can be run there: by what, and whether that finds what it needs."""
    try:
        runner = runner_for(device, target, told)
    except (InputError, DeviceError) as exc:
        return Finding("runtime", "fail", str(exc), python_cure(target) or "correct its entry in lab.toml, or use another device")
    libc = told.identity.get("libc", "unknown C library")
    if runner.name == "python":
        if told.machine in target.description.held:
            return libc_finding(f"the Python agent, with a Python that is sent along, {libc}", told, target.description.held[told.machine].minimum_glibc, "")
        version = f"Python {told.python}"
        if told.python not in target.description.pythons:
            return Finding("runtime", "fail", f"{device.python} is {version}", f"{python_cure(target)} and name it with `python` in lab.toml")
        return libc_finding(f"the Python agent, {version}, {libc}", told, target.description.minimum_glibc, target.description.minimum_macos)
    if runner.name == "native":
        return libc_finding(f"the native runner, {libc}", told, native_glibc(runner, target, told), "")
    return Finding("runtime", "ok", f"{runner.name}, {libc}")


def python_cure(target: Platform) -> str:
    pythons = target.description.pythons
    return f"install Python {pythons[0]} to {pythons[-1]} there (`{target.description.install_python}`)" if pythons else ""


def native_glibc(runner: Runner, target: Platform, told: Told) -> str:
    """The oldest glibc with which every format runs; "" where the runner brings its own."""
    needed = [minimum_glibc(target, form, told.machine) for form in target.description.native]
    return max((version for version in needed if version), key=numbers, default="")


def libc_finding(words: str, told: Told, glibc: str, macos: str) -> Finding:
    name, _, version = told.identity.get("libc", "").partition(" ")
    if glibc and (name != "glibc" or numbers(version) < numbers(glibc)):
        return Finding("runtime", "fail", words, f"install a system with glibc {glibc} or later, such as Debian 12: the runtimes need it")
    system = told.identity.get("os", "")
    if macos and numbers(system.removeprefix("macOS ").partition(" ")[0]) < numbers(macos):
        return Finding("runtime", "fail", f"{words}, {system or 'no macOS'}", f"install macOS {macos} or later: the runtimes need it")
    return Finding("runtime", "ok", words)


def folder(told: Told) -> Finding:
    user = "" if told.uid is None else f", as {'root' if told.uid == 0 else 'shell' if told.uid == 2000 else 'user'} ({told.uid})"
    if told.root_writable:
        return Finding("rights", "ok", f"{told.root} can be written{user}")
    cure = "use the rights of `adb shell` (`adb unroot` if they were changed)" if told.android else "log in as a user with a home folder"
    return Finding("rights", "fail", f"{told.root} cannot be written{user}", f"{cure}, or set EDGEKIT_CACHE_DIR there to a folder that can")


def room(told: Told, needed_bytes: int) -> Finding:
    free = told.root_free_bytes
    if free is None:
        return Finding(
            "disk", "warn", f"it does not tell how much is free in {told.root}", f"look with `df` there: the runtimes need {bytes_text(needed_bytes)}"
        )
    words = f"{bytes_text(free)} free in {told.root}"
    if free < needed_bytes:
        return Finding("disk", "fail", words, f"free at least {bytes_text(needed_bytes)}: the runtimes need it")
    return Finding("disk", "warn", words, "free some space if models are large") if free < PLENTY_BYTES else Finding("disk", "ok", words)


def holder(transport: Transport, root: str) -> Finding:
    """Whether another edgekit uses the device, found by taking it for a moment."""
    try:
        with lock(transport, root, Holder.here("edgekit doctor")):
            return Finding("in use", "ok", "no other edgekit uses it")
    except DeviceError as exc:
        found, _, cure = str(exc).removeprefix(f"{exc.address.rstrip(':')}: ").rpartition(": ")
        return Finding("in use", "warn", found, f"{cure}: two at once disturb each other")


def speed(state: Mapping[str, str]) -> Iterator[Finding]:
    """What makes the same file faster or slower from one day to the next; only what the device tells."""
    by_cpu, khz, capped = governors(state), frequencies_khz(state), caps(state)
    if by_cpu:
        now = per_cpu(megahertz(khz))
        words = "; ".join(filter(None, (per_cpu(by_cpu), now and f"now {now}", capped and f"capped at {capped}")))
        cure = "measure with --set-governor performance, or set it: `echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`"
        own = set(drivers(state).values()) & OWN_POWERSAVE
        slow = "powersave" in by_cpu.values() and not own
        lift = "let it cool down; if that changes nothing, somebody has set scaling_max_freq below cpuinfo_max_freq"
        yield Finding("governor", "warn", words, cure if slow else lift) if slow or capped else Finding("governor", "ok", words)
    zones = all_temperatures_c(state)
    if zones:
        hottest = max(zones, key=lambda zone: zones[zone])
        why = hot(state)
        words = why or f"{zones[hottest]:.1f} °C ({hottest})"
        yield Finding("temperature", "warn", words, "let it cool down, or cool it, before measuring") if why else Finding("temperature", "ok", words)
    charge = charge_in_words(state)
    if charge:
        low = drained(state)
        cure = f"connect its charger: below {LOW_BATTERY_PERCENT} % devices slow down to save what is left"
        yield Finding("battery", "warn", low, cure) if low else Finding("battery", "ok", charge)


def caps(state: Mapping[str, str]) -> str:
    """The highest frequencies that are allowed, where that is less than the processors can; else ""."""
    most, allowed = frequencies_khz(state, "cpuinfo_max_freq"), frequencies_khz(state, "scaling_max_freq")
    return per_cpu(megahertz(allowed)) if any(khz < most.get(cpu, khz) for cpu, khz in allowed.items()) else ""


def throttling(told: Told) -> Iterator[Finding]:
    """Now and since the device started."""
    state = told.state
    supply = (
        "use the maker's power supply and a cooler" if "vcgencmd get_throttled" in state else "take it out of its case or off its charger, close what else runs"
    )
    answer = state.get("vcgencmd get_throttled", "")
    held, counts, now = vcgencmd.throttling(answer), throttle_counts(state), throttled(state)
    past = ", ".join(held.since_boot) if held else ""
    if now:
        yield Finding("throttling", "warn", f"now: {now}" + (f"; since boot: {past}" if past else ""), f"{supply}, and let it cool down")
    elif past:
        yield Finding("throttling", "warn", f"none now; since boot: {past}", f"{supply}, then restart the device")
    elif any(counts.values()):
        times = max(counts.values())
        yield Finding("throttling", "warn", f"none now; {times} times since boot, for its heat", "cool it, and close what else runs there while measuring")
    elif held or counts or "dumpsys thermalservice" in state or "pmset/CPU_Speed_Limit" in state:
        yield Finding("throttling", "ok", "none")
    elif answer:
        yield Finding(
            "throttling", "warn", f"vcgencmd: {answer.partition(chr(10))[0]}", "add the user to the group video there: `sudo usermod -aG video $USER`"
        )


def limits(told: Told) -> Iterator[Finding]:
    """What its control group holds a process to."""
    processors = cgroup.processors(told.state)
    if processors is not None and processors < len(told.cores):
        cure = "measure outside the container or service that sets cpu.max: what is beyond it waits, and shows as slow runs"
        yield Finding("limits", "warn", f"{processors:g} of {len(told.cores)} processors' time (cpu.max)", cure)


def screen(told: Told) -> Iterator[Finding]:
    """What a phone's user may have switched."""
    shown = told.state.get("screen")
    if shown is not None:
        words = f"{shown}{', stays on while charging' if told.state.get('stay_on', '0') != '0' else ''}"
        cure = "wake it (edgekit does so while it measures): with the screen off the system slows down what runs"
        yield Finding("screen", "ok", words) if shown == "on" else Finding("screen", "warn", words, cure)
    airplane = told.state.get("airplane_mode")
    if airplane in ("0", "1"):
        cure = "switch it on while measuring, if the device is not reached over its network"
        yield Finding("airplane mode", "ok", "on") if airplane == "1" else Finding("airplane mode", "warn", "off: the radio may wake the processor", cure)
    if told.state.get("battery_saver") == "1":
        yield Finding("battery saver", "warn", "on", "switch it off: it holds the processor down")


def background(before: Mapping[str, str], after: Mapping[str, str], cores: int) -> Iterator[Finding]:
    """By the time that the processors spent; where that is not told (macOS), by the load average, which on a phone is high while nothing runs."""
    share, load = proc_stat.busy(before.get("stat", ""), after.get("stat", "")), loadavg.parse(after.get("loadavg", ""))
    if share is not None:
        words, busy = f"{100 * share:.0f} % of the processors' time", share > BUSY
    elif "stat" not in after and load is not None:
        words, busy = f"load {load:.2f} on {cores} cores", load > BUSY_PER_CORE * cores
    else:
        return
    yield Finding("background load", "warn", words, "stop what else runs there, and wait a minute") if busy else Finding("background load", "ok", words)


def clock(ahead_s: float) -> Finding:
    words = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine"
    if abs(ahead_s) > CLOCK_OFF_S:
        return Finding("clock", "warn", words, "set it: `sudo timedatectl set-ntp true`, on a Mac `sudo sntp -sS time.apple.com`, on a phone in its settings")
    return Finding("clock", "ok", words)
