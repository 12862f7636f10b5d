"""What the user names in, exactly one device out: `local`, `ssh:pi@bench`, `bench-pi` of `lab.toml`, or `raspberry-pi-5-8gb`.

`./lab.toml` is read first, then `lab.toml` in the user's configuration folder (`EDGEKIT_CONFIG_DIR` moves it):

    [[device]]
    name = "bench-pi"
    address = "ssh:pi@bench"
    profile = "raspberry-pi-5-8gb"
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from edgekit.errors import InputError
from edgekit.nearest import unknown
from edgekit.profile import Profile, Written, find, first_fault, load, profiles

SSH = re.compile(r"ssh:(?:[A-Za-z0-9_][\w.-]*@)?(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.%\w]+\])(?::(?P<port>[0-9]{1,5}))?")
"""A host that begins with `-` could be read as an option further on, so it is no address."""

NO_ADB = "ADB devices are not supported by this version"


@dataclass(frozen=True, slots=True)
class Device:
    """One device: where it is, and what kind it is, if that is known."""

    name: str
    address: str
    """`local:` or `ssh:[user@]host[:port]`."""
    profile: Profile | None
    python: str = "python3"
    """The interpreter that runs the agent there."""
    threads: int | None = None
    """How many threads a model gets there; None leaves it to the measurement's default."""


@dataclass(frozen=True, slots=True)
class Target:
    """One line of what can be named."""

    name: str
    kind: Literal["device", "profile"]
    address: str | None
    profile: str | None
    title: str
    untested: str | None
    """Why nobody vouches for it, or None where it was tested."""


class Entry(Written):
    """One `[[device]]` of a lab file."""

    name: str = Field(min_length=1)
    address: str
    profile: str | None = None
    python: str = Field(default="python3", min_length=1)
    threads: int | None = Field(default=None, ge=1)


class Lab(Written):
    """A lab file."""

    device: tuple[Entry, ...] = Field(default=(), strict=False)


def lab_files() -> list[Path]:
    """Where lab files are looked for, the first first."""
    given = os.environ.get("EDGEKIT_CONFIG_DIR")
    if given:
        return [Path.cwd() / "lab.toml", Path(given) / "lab.toml"]
    import platformdirs

    return [Path.cwd() / "lab.toml", Path(platformdirs.user_config_dir("edgekit")) / "lab.toml"]


def read_lab(path: Path) -> tuple[Device, ...]:
    """The devices of one lab file.

    Raises:
        InputError: not TOML, a wrong key or type, a name given twice, or a profile that nobody knows.
    """
    try:
        entries = Lab.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).device
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InputError(f"{path} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise InputError(f"{path} is not valid: {first_fault(exc)}") from exc
    names = [entry.name for entry in entries]
    for entry in entries:
        if names.count(entry.name) > 1:
            raise InputError(f"{path} names two devices '{entry.name}': give each its own name")
        if entry.profile is not None and find(entry.profile) is None:
            fault = unknown("profile", entry.profile, (profile.name for profile in profiles()))
            raise InputError(f"{path}, device '{entry.name}': {fault}")
    return tuple(Device(entry.name, entry.address, load(entry.profile) if entry.profile else None, entry.python, entry.threads) for entry in entries)


def lab() -> tuple[Device, ...]:
    """All devices of the lab files; of two with one name the first counts."""
    found: dict[str, Device] = {}
    for path in lab_files():
        if path.is_file():
            for device in read_lab(path):
                found.setdefault(device.name, device)
    return tuple(found.values())


def check_address(address: str) -> None:
    """Whether an address can be connected to in principle; nothing is opened.

    Raises:
        InputError: the scheme is not known or not supported, or no host can be read from it.
    """
    if address == "local:":
        return
    if address.startswith("adb:"):
        raise InputError(f"{address}: {NO_ADB}: give local or ssh:user@host")
    if not address.startswith("ssh:"):
        raise InputError(f"'{address}' is not an address: give local: or ssh:user@host[:port]")
    match = SSH.fullmatch(address)
    if match is None or int(match["port"] or 22) not in range(1, 65536):
        raise InputError(f"no host can be read from '{address}': give ssh:user@host or ssh:user@host:port")


def resolve(target: str) -> Device:
    """The one device that `target` names: an entry of a lab file, an address, or the lab's only device of a profile.

    Raises:
        InputError: nothing has that name (the message gives the nearest), or not exactly one device has that profile.
    """
    devices = lab()
    device = next((device for device in devices if device.name == target), None) or at_address(target, devices) or of_profile(target, devices)
    if device is None:
        raise unknown("target", target, [*(device.name for device in devices), *(profile.name for profile in profiles())], also=aliases())
    check_address(device.address)
    return device


def at_address(target: str, devices: tuple[Device, ...]) -> Device | None:
    """The device at an address: the lab's, if it has one there, else one that is known by its address only."""
    address = "local:" if target == "local" else target
    if not address.startswith(("local:", "ssh:", "adb:")):
        return None
    known = next((device for device in devices if device.address == address), None)
    if known is not None:
        return known
    # Here the interpreter is known; `python3` on PATH may be a launcher that takes longer than the agent to start.
    return Device("local", address, load("local"), sys.executable) if address == "local:" else Device(address, address, None)


def of_profile(target: str, devices: tuple[Device, ...]) -> Device | None:
    """The lab's only device of the profile `target`; None if that is no profile's name."""
    profile = find(target)
    if profile is None:
        return None
    if profile.name == "local":
        return at_address("local", devices)
    fitting = [device for device in devices if device.profile is not None and device.profile.name == profile.name]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        listed = ", ".join(f"{device.name} ({device.address})" for device in fitting)
        raise InputError(f"'{profile.name}' is a profile, and {len(fitting)} devices of that kind are known: name one of {listed}")
    if profile.platform in ("android", "ios"):
        raise InputError(f"'{profile.name}' is a profile of devices that this version cannot reach: {profile.untested}")
    raise InputError(f"'{profile.name}' is a profile, and no device of that kind is known: give an address (--target ssh:user@host) or add it to lab.toml")


def aliases() -> list[str]:
    """All other names of profiles."""
    return [alias for profile in profiles() for alias in profile.aliases]


def match_profile(identity: Mapping[str, str]) -> Profile | None:
    """The profile whose rules a device fulfils by what it tells; of several, the one with the most rules.

    Args:
        identity: `model` (of the device tree), `machine` (`uname -m`), `memory_kb` (MemTotal), `android_model`,
            `android_soc`; other keys are ignored, and a rule about a key that is missing does not hold.
    """
    fitting = [profile for profile in profiles() if profile.match.holds(identity)]
    return max(fitting, key=lambda profile: profile.match.rules, default=None)


def targets() -> tuple[Target, ...]:
    """All that can be named: this machine, the lab's devices, and the profiles."""
    local = load("local")
    lines = {"local": Target("local", "device", "local:", "local", local.title, local.untested)}
    for device in lab():
        profile = device.profile
        untested = NO_ADB if device.address.startswith("adb:") else profile.untested if profile else None
        lines[device.name] = Target(device.name, "device", device.address, profile.name if profile else None, profile.title if profile else "", untested)
    for profile in profiles():
        lines.setdefault(profile.name, Target(profile.name, "profile", None, profile.name, profile.title, profile.untested))
    return tuple(lines.values())
