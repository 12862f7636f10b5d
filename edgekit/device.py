"""What the user names in, exactly one device out.

`local` · `ssh:pi@bench` · `adb:1A2B3C` · `bench-pi` of a lab file · a serial or a model that adb knows · the name of a profile
(`pixel7`, `Pixel 7`), where exactly one device of that kind is known: in a lab file, or attached.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import replace

from edgekit.attached import Phone, phones
from edgekit.errors import DeviceError, InputError, SetupError
from edgekit.lab_file import BenchmarkModel as BenchmarkModel
from edgekit.lab_file import Device as Device
from edgekit.lab_file import lab, virtual_addresses
from edgekit.nearest import nearest, unknown
from edgekit.profile import Profile, find, load, plain, profiles
from edgekit.profile import match_profile as match_profile
from edgekit.transport.adb_devices import ADDRESS as ADB

SSH = re.compile(r"ssh:(?:[A-Za-z0-9_][\w.-]*@)?(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.%\w]+\])(?::(?P<port>[0-9]{1,5}))?")
"""A host that begins with `-` could be read as an option further on, so it is no address."""

VIRTUAL = ("virtual-pi", "virtual-android")
"""What the virtual lab's devices are called while it is up."""


def check_address(address: str) -> None:
    """Whether an address can be connected to in principle; nothing is opened.

    Raises:
        InputError: the scheme is not known, or no host or serial can be read from it.
    """
    if address == "local:":
        return
    if address.startswith("adb:"):
        if ADB.fullmatch(address) is None:
            raise InputError(f"no serial can be read from '{address}': give adb: (the only device), adb:SERIAL or adb:SERIAL@HOST[:PORT]")
        return
    if not address.startswith("ssh:"):
        raise InputError(f"'{address}' is not an address: give local:, ssh:user@host[:port] or adb:SERIAL")
    match = SSH.fullmatch(address)
    if match is None or int(match["port"] or 22) not in range(1, 65536):
        raise InputError(f"no host can be read from '{address}': give ssh:user@host or ssh:user@host:port")


def resolve(target: str) -> Device:
    """The one device that `target` names; adb is asked only for a phone's profile, and for a name that nothing else has.

    Raises:
        InputError: nothing has that name (the message gives the nearest), or not exactly one device has that profile.
    """
    devices = lab()
    device = next((device for device in devices if device.name == target), None) or at_address(target, devices)
    device = device or of_profile(target, devices) or by_adb(target, devices)
    check_address(device.address)
    return device


def at_address(target: str, devices: Iterable[Device]) -> Device | None:
    """The device at an address: the lab's, if it has one there, else one that is known by its address only."""
    address = "local:" if target == "local" else target
    if not address.startswith(("local:", "ssh:", "adb:")):
        return None
    known = next((device for device in devices if device.address == address), None)
    if known is not None:
        return known
    # Here the interpreter is known; `python3` on PATH may be a launcher that takes longer than the agent to start.
    return Device("local", address, load("local"), sys.executable) if address == "local:" else Device(address, address, None)


def by_adb(target: str, devices: tuple[Device, ...]) -> Device:
    """The attached device of that serial, in whatever state it is (connecting to it says what is wrong), or the only one of that model."""
    names = [*(device.name for device in devices), *(profile.name for profile in profiles())]
    also = [alias for profile in profiles() for alias in profile.aliases]
    try:
        found = phones(start_server=nearest(target, [*names, *also]) is None)  # a slip of the pen starts no server
    except (SetupError, DeviceError):
        found = ()
    named = [phone for phone in found if phone.serial == target] or [phone for phone in found if phone.model and plain(phone.model) == plain(target)]
    if len(named) > 1:
        raise InputError(f"{len(named)} attached devices are called '{target}': name one of {', '.join(phone.address for phone in named)}")
    device = at_address(named[0].address, devices) if named else None
    if device is None and target in VIRTUAL:
        raise InputError(f"'{target}' is not up: run `edgekit lab virtual up`")
    if device is None:
        raise unknown("target", target, [*names, *(phone.address for phone in found), "local", "ssh:USER@HOST", "adb:SERIAL"], also=also)
    return device


def of_profile(target: str, devices: tuple[Device, ...]) -> Device | None:
    """The only device of the profile `target`; None if that is no profile's name. Virtual devices count where there are no others."""
    profile = find(target)
    if profile is None:
        return None
    if profile.name == "local":
        return at_address("local", devices)
    if profile.platform == "ios":
        raise InputError(f"'{profile.name}' is a profile, and iPhones cannot be reached by this version: `edgekit convert --to coreml` makes files for them")
    looked: str | None = None
    found: tuple[Phone, ...] = ()
    if profile.platform == "android":
        try:
            found = phones()
            looked = attached_words(profile, found)
        except (SetupError, DeviceError) as exc:
            looked = str(exc)
    fitting = [device for device in devices if device.profile is not None and device.profile.name == profile.name]
    fitting += attached_of(profile, found, devices)
    virtual = virtual_addresses()
    fitting = [device for device in fitting if device.address not in virtual] or fitting
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        listed = ", ".join(device.name if device.name == device.address else f"{device.name} ({device.address})" for device in fitting)
        raise InputError(f"'{profile.name}' is a profile, and {len(fitting)} devices of that kind are known: name one of {listed}")
    raise InputError(f"'{profile.name}' is a profile, and no device of that kind is known: {cure(profile, looked)}")


def attached_of(profile: Profile, found: Iterable[Phone], devices: tuple[Device, ...]) -> list[Device]:
    """The attached devices that match a profile, but for those that a lab file gives that profile already."""
    fitting = []
    for phone in found:
        if phone.profile is None or phone.profile.name != profile.name:
            continue
        # `adb:` is whichever device is attached: the lab's entry for it stands for this one.
        known = next((device for device in devices if device.address in (phone.address, "adb:")), Device(phone.address, phone.address, None))
        if known.profile is None:
            fitting.append(replace(known, profile=profile))
    return fitting


def attached_words(profile: Profile, found: tuple[Phone, ...]) -> str:
    """What of the attached devices speaks against a profile; those first that may be of it, once they are ready."""
    if not found:
        return "none is attached"
    wanted = " ".join(filter(None, (profile.match.android_model, profile.match.android_soc and f"({profile.match.android_soc})")))
    ordered = sorted(found, key=lambda phone: not phone.could_be(profile))
    return f"{'; '.join(phone.in_words for phone in ordered)}{f'; the profile asks for {wanted}' if wanted else ''}"


def cure(profile: Profile, looked: str | None) -> str:
    """What to do where no device of a profile is known; `looked` is what adb said."""
    if looked is None:
        return "give an address (--target ssh:user@host), or add it with `edgekit lab add --target ssh:user@host`"
    return f"{looked}; attach one with USB debugging on, or name a device by its serial (--target adb:SERIAL)"
