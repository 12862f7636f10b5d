"""Nothing in, all that can be named as a target out: this machine, the lab files' devices, what adb has attached, and the profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekit.attached import Phone, phones
from edgekit.errors import DeviceError, SetupError
from edgekit.lab_file import lab, virtual_addresses
from edgekit.profile import Profile, load, profiles
from edgekit.transport.adb_devices import adb_path


@dataclass(frozen=True, slots=True)
class Target:
    """One line of what can be named."""

    name: str
    kind: Literal["device", "attached", "profile"]
    address: str | None
    profile: str | None
    title: str
    untested: str | None
    """Why nobody vouches for it, or None where edgekit was run on such a device."""
    state: str | None = None
    """adb's word for an attached device: `device` where it is ready."""
    cure: str | None = None
    """What is wrong with it and what to do, to go behind its name."""
    virtual: bool = False
    """Of the virtual lab: a profile's name means it only where no other device has that profile."""


@dataclass(frozen=True, slots=True)
class Targets:
    """All that can be named."""

    targets: tuple[Target, ...]
    adb: str | None
    """Why nothing is known of attached devices, or None where adb was asked."""


def targets() -> Targets:
    """All that can be named. Nothing is connected to; adb's server is asked if it runs, and the devices that it has."""
    adb: str | None = None
    found: tuple[Phone, ...] = ()
    try:
        adb_path()
        found = phones(start_server=False)
    except (SetupError, DeviceError) as exc:
        adb = str(exc)
    local = load("local")
    lines = [Target("local", "device", "local:", "local", local.title, local.untested)]
    virtual = virtual_addresses()
    states = {phone.address: phone for phone in found}
    for device in lab():
        phone = states.pop(device.address, None)
        profile = device.profile or (phone.profile if phone else None)
        lines.append(of_device(device.name, device.address, profile, phone, device.address in virtual))
    lines += map(attached_line, states.values())
    kinds = (profile for profile in profiles() if profile.name != "local")
    lines += (Target(profile.name, "profile", None, profile.name, profile.title, profile.untested) for profile in kinds)
    return Targets(tuple(lines), adb)


def of_device(name: str, address: str, profile: Profile | None, phone: Phone | None, virtual: bool) -> Target:
    """A lab file's device; `phone` is what adb says of it."""
    title = profile.title if profile else phone.model if phone else ""
    named, untested = (profile.name, profile.untested) if profile else (None, None)
    state, cure = (phone.state, phone.cure or None) if phone else (None, None)
    words = ", ".join(filter(None, (title, "virtual" if virtual else "")))
    return Target(name, "device", address, named, words, untested, state, cure, virtual)


def attached_line(phone: Phone) -> Target:
    """An attached device that no lab file names."""
    title = " ".join(filter(None, (phone.model, phone.soc and f"({phone.soc})")))
    named, untested = (phone.profile.name, phone.profile.untested) if phone.profile else (None, None)
    unknown = f"has no profile: edgekit profile draft --target {phone.address}" if not named else None
    return Target(phone.address, "attached", phone.address, named, title, untested, phone.state, phone.cure or unknown)
