"""Nothing in, what this device is and the state it is in out: JSON of raw words, to be read on the host.

    python3 conditions.py

Needs Python 3.10 and its standard library. Whatever the device does not tell is absent. Nothing is changed here, and nothing
asks for rights.
"""

from __future__ import annotations

import glob
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import time
from typing import Any

PROBE_S = 5


def identity() -> dict[str, str]:
    """What stays the same from run to run (str → str)."""
    release = os_release()
    found = {
        "hostname": platform.node(),
        "model": text("/proc/device-tree/model").rstrip("\0"),
        "product": " ".join(filter(None, (text("/sys/class/dmi/id/sys_vendor"), text("/sys/class/dmi/id/product_name")))),
        "processor": processor(),
        "machine": platform.machine(),
        "bits": str(struct.calcsize("P") * 8),
        "cores": str(os.cpu_count()),
        "memory_kb": field("/proc/meminfo", "MemTotal").removesuffix(" kB"),
        "kernel": platform.release(),
        "os": release.get("PRETTY_NAME", ""),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "emulation": emulation(),
    }
    return {name: value for name, value in found.items() if value}


def state() -> dict[str, str]:
    """What changes from run to run (str → str): one entry for each source that the device has."""
    found = {}
    for cpu in sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*"), key=lambda path: int(path.rpartition("cpu")[2])):
        name = os.path.basename(cpu)
        for fact in ("scaling_governor", "scaling_cur_freq", "cpuinfo_max_freq"):
            found[f"{name}/{fact}"] = text(f"{cpu}/cpufreq/{fact}")
        found[f"{name}/cpu_capacity"] = text(f"{cpu}/cpu_capacity")
    for zone in sorted(glob.glob("/sys/class/thermal/thermal_zone*")):
        found[f"{os.path.basename(zone)}/{text(zone + '/type')}"] = text(zone + "/temp")
    for battery in sorted(glob.glob("/sys/class/power_supply/*")):
        if text(battery + "/type") == "Battery":
            for fact in ("status", "capacity"):
                found[f"battery/{os.path.basename(battery)}/{fact}"] = text(f"{battery}/{fact}")
    if shutil.which("vcgencmd"):
        for fact in ("get_throttled", "measure_temp"):
            found[f"vcgencmd {fact}"] = command("vcgencmd", fact)
    found["loadavg"] = text("/proc/loadavg")
    found["available_kb"] = field("/proc/meminfo", "MemAvailable").removesuffix(" kB")
    return {name: value for name, value in found.items() if value}


def emulation() -> str:
    """How the processor is emulated, in words; "" where nothing says that it is.

    qemu-user hides itself in /proc/self and in uname, but not in /proc/thread-self (its own file) nor in the kernel's own name of
    the machine. A whole machine under qemu tells its processor's maker on x86 ("QEMU TCG CPU"). On Arm it does not: there
    a `virt` board counts as emulated unless the clock that KVM gives to its guests is there.
    """
    own = os.path.basename(link("/proc/thread-self/exe"))
    if own.startswith("qemu"):
        return f"qemu-user ({own})"
    kernel = text("/proc/sys/kernel/arch")
    if kernel and family(kernel) != family(platform.machine()):
        return f"a {platform.machine()} userland on a {kernel} kernel"
    if "TCG" in processor():
        return f"qemu ({processor()})"
    virtual = "dummy-virt" in text("/proc/device-tree/compatible") or (text("/sys/class/dmi/id/sys_vendor") == "QEMU" and family(platform.machine()) == "arm")
    clocks = [text(path) for path in glob.glob("/sys/class/ptp/*/clock_name")]
    if virtual and not any("KVM" in clock for clock in clocks):
        return "qemu's virt board, with no sign of KVM"
    return ""


def family(machine: str) -> str:
    """`x86_64` and `i686` run on one kind of processor, `aarch64` and `armv7l` on another."""
    if machine in ("x86_64", "amd64") or (machine[:1] == "i" and machine.endswith("86")):
        return "x86"
    return "arm" if machine.startswith(("arm", "aarch64")) else machine


def processor() -> str:
    """Its name as the kernel has it, or, on Arm, the maker's and the part's numbers."""
    name = field("/proc/cpuinfo", "model name")
    parts = sorted(set(lines("/proc/cpuinfo", "CPU part")))
    return name or (f"implementer {field('/proc/cpuinfo', 'CPU implementer')} part {' '.join(parts)}" if parts else "")


def os_release() -> dict[str, str]:
    pairs = (line.partition("=") for line in text("/etc/os-release").splitlines())
    return {name: value.strip("\"'") for name, _, value in pairs}


def text(path: str) -> str:
    """A small file's words; "" where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20).strip()
    except OSError:
        return ""


def link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def lines(path: str, name: str) -> list[str]:
    """All values of `name: value` in a file."""
    pairs = (line.partition(":") for line in text(path).splitlines())
    return [value.strip() for key, _, value in pairs if key.strip() == name]


def field(path: str, name: str) -> str:
    return next(iter(lines(path, name)), "")


def command(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=PROBE_S, stdin=subprocess.DEVNULL).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def cores() -> list[int]:
    """The processors that this process may run on."""
    return sorted(os.sched_getaffinity(0))


def everything() -> dict[str, Any]:
    """Identity, state, and what only an examination of the device asks for."""
    home = os.path.expanduser("~")
    room = shutil.disk_usage(home) if os.path.isdir(home) else None
    return {
        "identity": identity(),
        "state": state(),
        "cores": cores(),
        "home": home,
        "home_writable": os.access(home, os.W_OK),
        "home_free_bytes": room.free if room else 0,
        "time_s": time.time(),
    }


if __name__ == "__main__":
    json.dump(everything(), sys.stdout)
    print()
