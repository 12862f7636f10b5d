"""What Android's `getprop` prints in, what the device is out.

Format: AOSP, system/core/toolbox and later external/toybox/toys/android/getprop.c: a line `[name]: [value]` for each property, sorted. The
names are those of android.os.Build (frameworks/base/core/java/android/os/Build.java); `ro.soc.model` exists from Android 12 on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.facts.lines import lines

EMULATORS = {"ranchu", "goldfish", "vbox86", "cutf_cvm", "cutf_ivsh", "cutf", "gce_x86", "redroid", "windows_x86_64"}
"""`ro.hardware` of the Android emulator (goldfish, ranchu), Genymotion (vbox86) and Cuttlefish (cutf…), and of Android in a container."""

ABIS = {"arm64-v8a", "armeabi-v7a", "armeabi", "x86_64", "x86", "riscv64"}
"""Android documentation, Android ABIs."""


@dataclass(frozen=True, slots=True)
class Build:
    """What an Android device is; None where it does not tell."""

    model: str | None
    soc: str | None
    fingerprint: str | None
    release: str | None
    """Such as `14`."""
    sdk: int | None
    serial: str | None
    bits: int | None
    """Of its programs: 32 where it runs none of 64 bits."""
    emulator: str | None
    """Why it is an emulator, in words."""


def properties(text: str) -> dict[str, str]:
    """Name → value. A property that is told twice, or whose line is not whole, is left out."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    for line in lines(text):
        pair = re.fullmatch(r"\[([A-Za-z0-9_.:@-]+)\]: \[([^\x00-\x1f\x7f\ufffd]*)\]", line.strip())
        if pair is not None:
            twice |= {pair[1]} & found.keys()
            found[pair[1]] = pair[2].strip()
    return {name: value for name, value in found.items() if value and name not in twice}


def parse(text: str) -> Build | None:
    """None where there is no property at all."""
    found = properties(text)
    if not found:
        return None
    sdk = found.get("ro.build.version.sdk", "")
    return Build(
        model=found.get("ro.product.model"),
        soc=found.get("ro.soc.model"),
        fingerprint=found.get("ro.build.fingerprint"),
        release=found.get("ro.build.version.release"),
        sdk=int(sdk) if re.fullmatch(r"[1-9][0-9]{0,2}", sdk) else None,
        serial=found.get("ro.serialno") or found.get("ro.boot.serialno"),
        bits=bits(found),
        emulator=emulator(found),
    )


def bits(found: Mapping[str, str]) -> int | None:
    abis = found.get("ro.product.cpu.abilist", "").split(",")
    if not all(abi in ABIS for abi in abis):
        return None
    return 64 if any("64" in abi for abi in abis) else 32


def emulator(found: Mapping[str, str]) -> str | None:
    for name in ("ro.kernel.qemu", "ro.boot.qemu"):
        if found.get(name) == "1":
            return f"the Android emulator ({name})"
    hardware = found.get("ro.hardware") or found.get("ro.boot.hardware", "")
    if hardware in EMULATORS:
        return f"an Android emulator (ro.hardware is {hardware})"
    if "emulator" in found.get("ro.build.characteristics", "").split(","):
        return "an Android emulator (ro.build.characteristics)"
    return None
