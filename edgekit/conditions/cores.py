"""What a device tells in, the processors that a run is pinned to out: by their kind, a mask or a list. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgekit.conditions.told import Told
from edgekit.errors import InputError
from edgekit.facts import cpu_list
from edgekit.facts.cpufreq import capacities, frequencies_khz

KINDS = ("little", "mid", "big")
SAME_KIND = 1.1
"""Processors of one kind differ by less (favoured cores of an x86 processor boost some 4 % higher), those of two kinds by a fifth or more."""


def core_kinds(state: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """`little`, `mid` (all between) and `big` → processors, from the slowest to the fastest; one kind only → `all`; nothing told → nothing.

    By `cpu_capacity`; by `cpuinfo_max_freq` where the kernel gives all the same capacity, which it does where its device tree tells none.
    """
    by_capacity = groups(capacities(state))
    found = by_capacity if len(by_capacity) > 1 else groups(frequencies_khz(state, "cpuinfo_max_freq")) or by_capacity
    if len(found) < 2:
        return {"all": found[0]} if found else {}
    mid = tuple(sorted(cpu for group in found[1:-1] for cpu in group))
    return {"little": found[0], **({"mid": mid} if mid else {}), "big": found[-1]}


def groups(speeds: Mapping[int, int]) -> list[tuple[int, ...]]:
    """Processors of about the same speed together, the slowest first."""
    found: list[list[int]] = []
    last = 0
    for speed, cpu in sorted((speed, cpu) for cpu, speed in speeds.items()):
        if not found or speed > last * SAME_KIND:
            found.append([])
        found[-1].append(cpu)
        last = speed
    return [tuple(sorted(group)) for group in found]


def pick_cores(told: Told, asked: str) -> tuple[int, ...]:
    """The processors that `asked` means: `big`, `mid`, `little` or `all`, a mask (`f0`, `0xf0`) or a list (`4-7`, `0,2`; digits alone are a list).

    Raises:
        InputError: it is none of these, or the device has no such processors; the message says which it has.
    """
    kinds = core_kinds(told.state)
    there = set(told.cores)
    if asked == "all":
        return told.cores
    if asked in KINDS:
        found = tuple(cpu for cpu in kinds.get(asked, ()) if cpu in there)
        if not found and asked in kinds:
            allowed = f"a process may run on {spans(told.cores)} only there ({choices(told)})"
            raise InputError(f"--cores {asked} means cores {spans(kinds[asked])}, and {allowed}: give --cores all, or some of these")
        if not found:
            raise InputError(f"the device has no {asked} cores: it has {choices(told)}")
        return found
    wanted = cpu_list.parse(asked) or mask(asked)
    if not wanted:
        raise InputError(f"--cores {asked} is neither a kind of cores, a mask such as 0xf0 nor a list such as 4-7: the device has {choices(told)}")
    absent = [str(cpu) for cpu in wanted if cpu not in there]
    if absent:
        hint = f" (as a mask it is 0x{asked})" if asked.isdecimal() else ""
        raise InputError(f"--cores {asked} names core {absent[0]}{hint}, on which nothing can run there: the device has {choices(told)}")
    return wanted


def mask(text: str) -> tuple[int, ...]:
    """`f0` or `0xf0` → (4, 5, 6, 7), as `taskset` takes it."""
    found = re.fullmatch(r"(?:0[xX])?([0-9a-fA-F]{1,64})", text)
    bits = int(found[1], 16) if found else 0
    return tuple(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)


def choices(told: Told) -> str:
    """Such as `little 0-3, mid 4-5, big 6-7`; of those on which a process may run."""
    kinds = {kind: tuple(cpu for cpu in cpus if cpu in told.cores) for kind, cpus in core_kinds(told.state).items()}
    if len(kinds) < 2:
        return f"all {spans(told.cores)}"
    return ", ".join(f"{kind} {spans(cpus)}" for kind, cpus in kinds.items() if cpus) or f"all {spans(told.cores)}"


def spans(cpus: tuple[int, ...]) -> str:
    """(0, 1, 2, 5) → `0-2,5`."""
    found: list[list[int]] = []
    for cpu in cpus:
        if found and cpu == found[-1][-1] + 1:
            found[-1].append(cpu)
        else:
            found.append([cpu])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in found)
