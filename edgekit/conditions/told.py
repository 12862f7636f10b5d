"""What `conditions.sh` printed on a device in, what the device told out. No I/O.

The words come from `targets/<platform>/conditions.sh`, one frame for each source. Whatever a device does not tell is absent here too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.facts import cpu_list, df, getprop, power
from edgekit.facts.lines import lines
from edgekit.facts.number import decimal, integer

IDENTITY = ("hostname", "model", "product", "processor", "machine", "bits", "cores", "memory_kb", "kernel", "os", "libc", "python", "emulation")
QUESTION = {"getprop", "present_cores", "allowed_cores", "root", "root_writable", "df", "uid", "time_s", "uptime_s", "boot_id"}
"""Frames that are read once, and are no part of the state."""
SMALL = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}
"""`uname -m` names the kernel's machine; a system of 32 bits under a kernel of 64, as older Raspberry Pi OS has it, runs programs for the other."""


class NotToldError(Exception):
    """What came back is not a device's whole answer."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a device says of itself."""

    identity: Mapping[str, str]
    """What stays the same from run to run: names of `IDENTITY`, on Android also `android_{model,soc,fingerprint,release,serial,sdk}`."""
    state: Mapping[str, str]
    """As `read_state` gives it."""
    cores: tuple[int, ...]
    """The processors that a process may run on there."""
    python: str | None
    """`3.11`, of the Python that was asked for; None where there is none."""
    root_free_bytes: int | None
    root_writable: bool
    """Of the folder that edgekit's files go to, or where it would be made."""
    time_s: float
    """Seconds since 1970 by the device's clock."""
    uptime_s: float | None = None
    boot_id: str | None = None
    root: str = ""
    """That folder."""
    uid: int | None = None
    """Of the user that edgekit is there."""

    @property
    def emulated(self) -> bool:
        return bool(self.identity.get("emulation"))

    @property
    def machine(self) -> str:
        """What its programs are built for, as `uname -m` would say it: aarch64, armv7l, x86_64."""
        return self.identity["machine"]

    @property
    def android(self) -> bool:
        return self.identity.get("libc") == "bionic" or any(name.startswith("android_") for name in self.identity)


def frames(text: str) -> dict[str, str]:
    """Key → value of what `conditions.sh` printed.

    Raises:
        NotToldError: it does not end as it should, so something is missing.
    """
    found: dict[str, list[str]] = {}
    value: list[str] = []
    told = lines(text)
    if "end\tok" not in told:
        raise NotToldError("its answer was cut short")
    for line in told[: told.index("end\tok")]:
        key, tab, rest = line.partition("\t")
        if not tab:
            continue  # a login shell's greeting
        if key:
            value = [rest]
            found.setdefault(key, value)  # told twice: the first counts
        else:
            value.append(rest)
    return {key: words for key, value in found.items() if (words := "\n".join(value).strip("\n").rstrip())}


def read_told(text: str) -> Told:
    """The answer to `conditions.sh … all`.

    Raises:
        NotToldError: it was cut short, or lacks what every device tells: its machine and its time.
    """
    told = frames(text)
    seconds, identity = decimal(told.get("time_s"), 0, 1e11), read_identity(told)
    if seconds is None or "machine" not in identity:
        raise NotToldError("it does not tell its time" if seconds is None else "it does not tell what machine it is")
    boot_id = told.get("boot_id", "")
    python = re.fullmatch(r"(3\.[0-9]{1,2})\.[0-9]{1,2}", told.get("python", ""))
    count = integer(identity.get("cores"), 1, cpu_list.LARGEST + 1) or 0
    return Told(
        identity=identity,
        state=state_of(told),
        cores=cpu_list.parse(told.get("allowed_cores", "")) or tuple(range(count)),
        python=python[1] if python else None,
        root_free_bytes=df.parse(told.get("df", "")),
        root_writable=told.get("root_writable") == "yes",
        time_s=seconds,
        uptime_s=decimal(told.get("uptime_s", "").partition(" ")[0], 0, 1e11),
        boot_id=boot_id if re.fullmatch(r"[0-9a-f-]{36}", boot_id) else None,
        root=told.get("root", ""),
        uid=integer(told.get("uid"), 0, 1 << 32),
    )


def read_identity(told: Mapping[str, str]) -> dict[str, str]:
    """What stays the same, in the order of `IDENTITY`; on Android from its properties."""
    found = {name: word for name in IDENTITY if (word := told.get(name, "").partition("\n")[0]) and word.isprintable()}  # they end up on a terminal
    present = cpu_list.parse(told.get("present_cores", ""))
    if present:
        found["cores"] = str(len(present))
    if found.get("bits") == "32":
        found["machine"] = SMALL.get(found.get("machine", ""), found.get("machine", ""))
    build = getprop.parse(told.get("getprop", ""))
    if build:
        android = {"model": build.model, "soc": build.soc, "fingerprint": build.fingerprint, "release": build.release, "serial": build.serial, "sdk": build.sdk}
        own = {
            "model": build.model,
            "os": build.release and f"Android {build.release}",
            "bits": build.bits,
            "emulation": found.get("emulation") or build.emulator,
        }
        found |= {name: str(value) for name, value in own.items() if value}
        found |= {f"android_{name}": str(value) for name, value in android.items() if value}
    return found


def read_state(text: str) -> dict[str, str]:
    """The answer to `conditions.sh … state`: what changes from run to run, one entry for each source that the device has.

    Raises:
        NotToldError: it was cut short.
    """
    return state_of(frames(text))


def state_of(told: Mapping[str, str]) -> dict[str, str]:
    """`told` without what stays the same; `dumpsys power` as `screen` (`on` or `off`) and `stay_on` (the mask of chargers with which it stays on)."""
    found = {name: words for name, words in told.items() if name not in IDENTITY and name not in QUESTION and name != "dumpsys power"}
    awake = power.parse(told.get("dumpsys power", ""))
    if awake and awake.screen_on is not None:
        found["screen"] = "on" if awake.screen_on else "off"
    if awake and awake.stay_on is not None:
        found["stay_on"] = str(awake.stay_on)
    return found
