"""A device and what it told of itself in, its entry in a lab file out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.conditions import Told
from edgekit.errors import InputError
from edgekit.lab_file import append, entry_text, lab, place_for_new, refuse_taken
from edgekit.profile import Profile, find, load, match_profile

SERIAL_DIGITS = 4
"""Enough to tell apart the phones on one desk."""


@dataclass(frozen=True, slots=True)
class Addition:
    """One device that is to be written into a lab file."""

    name: str
    address: str
    profile: Profile | None
    path: Path
    """The lab file."""

    @property
    def toml(self) -> str:
        """The `[[device]]` that is appended."""
        return entry_text(self.name, self.address, self.profile.name if self.profile else None)

    def write(self) -> None:
        """Append it to the lab file; see `edgekit.lab_file.append`."""
        append(self.path, self.name, self.address, self.profile.name if self.profile else None)


def prepare(address: str, told: Told, *, name: str | None = None, profile: str | None = None) -> Addition:
    """What to write for a device at `address`; nothing is written yet.

    Args:
        name: None makes one of what the device calls itself, which no profile has.
        profile: None takes the one that it matches.

    Raises:
        InputError: the name or the address is taken, there is no such profile, or the device has no name.
    """
    if address == "local:":
        raise InputError("this machine needs no entry: it is --target local")
    chosen = name or name_of(told.identity, address)
    if not chosen:
        raise InputError(f"the device at {address} has no name: give one, as in `edgekit lab add my-device --target {address}`")
    refuse_taken(chosen, address)
    return Addition(chosen, address, load(profile) if profile else match_profile(told.identity), place_for_new())


def name_of(identity: Mapping[str, str], address: str) -> str:
    """A phone's model with the end of its serial (`pixel-7-1a2b`), or a computer's host name, as one plain word.

    Where a device or a profile has that name already, a number goes behind it.
    """
    model = identity.get("android_model", "")
    serial = identity.get("android_serial") or (address.removeprefix("adb:").partition("@")[0] if address.startswith("adb:") else "")
    word = f"{model} {word_of(serial).replace('-', '')[-SERIAL_DIGITS:]}" if model else identity.get("hostname", "").partition(".")[0]
    name = word_of(word)
    taken = {device.name for device in lab()}
    others = (f"{name}-{number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], others) if free not in taken and find(free) is None) if name else ""


def word_of(text: str) -> str:
    """`Pixel 7` → `pixel-7`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
