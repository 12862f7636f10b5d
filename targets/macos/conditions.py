"""Nothing in, what this Mac is and the state it is in out: JSON of raw words, to be read on the host.

    python3 conditions.py

Needs Python 3.10 and its standard library. Whatever the Mac does not tell is absent. Nothing is changed here, and nothing asks
for rights. Written from the manual pages of sysctl, sw_vers and pmset; not yet run on a Mac.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import time
from typing import Any

PROBE_S = 5


def identity() -> dict[str, str]:
    """What stays the same from run to run (str → str)."""
    memory, version, build = sysctl("hw.memsize"), command("sw_vers", "-productVersion"), command("sw_vers", "-buildVersion")
    found = {
        "hostname": platform.node(),
        "model": sysctl("hw.model"),
        "processor": sysctl("machdep.cpu.brand_string"),
        "machine": platform.machine(),
        "bits": str(struct.calcsize("P") * 8),
        "cores": str(os.cpu_count()),
        "memory_kb": str(int(memory) // 1024) if memory.isdigit() else "",
        "kernel": platform.release(),
        "os": f"macOS {version} ({build})" if version else "",
        "libc": "libSystem" if version else "",
        "python": platform.python_version(),
        "emulation": "Rosetta" if sysctl("sysctl.proc_translated") == "1" else "",
    }
    return {name: value for name, value in found.items() if value}


def state() -> dict[str, str]:
    """What changes from run to run (str → str): one entry for each source that the Mac has."""
    found = {f"pmset/{name}": value for name, value in re.findall(r"(\w+)\s*=\s*(\d+)", command("pmset", "-g", "therm"))}
    for name, level, status in re.findall(r"-(\S+).*?\t(\d+)%; ([^;]+);", command("pmset", "-g", "batt")):
        found |= {f"battery/{name}/capacity": level, f"battery/{name}/status": status}
    found["loadavg"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    return found


def cores() -> list[int]:
    """The processors that this process may run on: all of them, for a Mac has no affinity."""
    return list(range(os.cpu_count() or 0))


def sysctl(name: str) -> str:
    return command("sysctl", "-n", name)


def command(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=PROBE_S, stdin=subprocess.DEVNULL).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


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
