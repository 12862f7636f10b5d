"""Nothing in, the processors that this process runs on and their frequencies over time out."""

from __future__ import annotations

import os
import time

from refusal import Refused

EVERY_S = 5.0
"""Reading a frequency takes some 20 µs and wakes the governor: rarely enough not to be seen in the figures."""


def cores() -> list[int]:
    """The processors that this process may run on; empty where the system does not tell (macOS)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(wanted: list[int]) -> None:
    """Run on these processors only."""
    if not hasattr(os, "sched_setaffinity"):
        raise Refused("this system cannot pin a process to cores: leave out --cores")
    try:
        os.sched_setaffinity(0, wanted)
    except OSError as exc:
        raise Refused(f"the device does not let a process run on cores {wanted} ({exc.strerror}): name others with --cores") from exc


class Clock:
    """`samples`: [elapsed_ms, cpu, kHz] for each processor of this process, at most once in 5 s; nothing where the device does not tell."""

    def __init__(self) -> None:
        self.samples: list[list[int]] = []
        self.started = time.monotonic()
        self.due = self.started

    def read(self) -> None:
        """Take the frequencies, if it is time to."""
        now = time.monotonic()
        if now < self.due:
            return
        self.due = now + EVERY_S
        for cpu in cores():
            try:
                with open(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq") as file:
                    khz = file.read(32).strip()
            except OSError:
                continue
            if khz.isdigit():
                self.samples.append([round((now - self.started) * 1000), cpu, int(khz)])
