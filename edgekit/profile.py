"""A profile's name in, what that kind of device is and allows out; read from TOML files in `device_profiles/`.

The user's own `./device_profiles` is searched first, then the profiles that edgekit ships. Every fact and every limit
carries its source.
"""

from __future__ import annotations

import platform
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from edgekit.errors import InputError
from edgekit.nearest import unknown
from edgekit.places import search_path

Platform = Literal["linux", "android", "ios", "macos"]


def known_format(name: str) -> str:
    """The name of a format that is installed.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in installed_formats():
        raise ValueError(f"there is no format {name!r}, only {', '.join(installed_formats())}")
    return name


@cache
def installed_formats() -> tuple[str, ...]:
    return tuple(sorted(point.name for point in entry_points(group="edgekit.formats")))


class Written(BaseModel):
    """What people write: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TextFact(Written):
    value: str
    source: str = Field(min_length=1)


class CountFact(Written):
    value: int = Field(gt=0)
    source: str = Field(min_length=1)


class Limit(Written):
    """The largest value that is allowed, and who says so."""

    value: float = Field(ge=0)
    source: str = Field(min_length=1)


class Facts(Written):
    """What the device is; a fact that its maker does not publish is absent."""

    soc: TextFact | None = None
    cpu: TextFact | None = None
    cores: CountFact | None = None
    ram_bytes: CountFact | None = None
    arch: TextFact | None = None
    os: TextFact | None = None


class Limits(Written):
    """What judges a variant; a limit that is absent does not."""

    download_bytes_max: Limit | None = None
    peak_rss_bytes_max: Limit | None = None
    latency_p50_ns_max: Limit | None = None
    accuracy_drop_points_max: Limit | None = None
    """Percentage points below the source model on the same samples."""


class Match(Written):
    """How a device of this kind is known by what it tells; every rule given has to hold."""

    model_prefix: str | None = None
    """Start of the device-tree model, such as `Raspberry Pi 5 Model B`."""
    model: str | None = None
    """All of the model: a Mac's `hw.model`, such as `Mac14,2`."""
    product: str | None = None
    """Maker and product as a computer's firmware gives them, such as `LENOVO 20XW`."""
    arch: str | None = None
    """As `uname -m` says it: the kernel's."""
    bits: Literal[32, 64] | None = None
    """Of the programs: a 64-bit kernel (`aarch64`) may carry a 32-bit system."""
    ram_bytes_min: int | None = None
    ram_bytes_max: int | None = None
    """The kernel's MemTotal lies between the two; one board is sold with several sizes of memory."""
    android_model: str | None = None
    """`ro.product.model`"""
    android_soc: str | None = None
    """`ro.soc.model`"""

    @property
    def rules(self) -> int:
        return len(self.model_dump(exclude_none=True))

    def holds(self, identity: Mapping[str, str]) -> bool:
        """Whether a device is of this kind that tells `identity`: a rule about something that it does not tell does not hold."""
        exact = (
            ("model", self.model),
            ("product", self.product),
            ("machine", self.arch),
            ("bits", None if self.bits is None else str(self.bits)),
            ("android_model", self.android_model),
            ("android_soc", self.android_soc),
        )
        if not self.rules or any(wanted is not None and identity.get(key) != wanted for key, wanted in exact):
            return False
        if self.model_prefix is not None and not identity.get("model", "").startswith(self.model_prefix):
            return False
        if self.ram_bytes_min is None and self.ram_bytes_max is None:
            return True
        told = identity.get("memory_kb", "")
        ram_bytes = int(told) * 1024 if told.isdecimal() else -1  # the kernel's kB are of 1024 bytes
        return (self.ram_bytes_min or 0) <= ram_bytes <= (self.ram_bytes_max or ram_bytes)


class Profile(Written):
    """One kind of device."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    aliases: tuple[str, ...] = Field(default=(), strict=False)
    platform: Platform
    formats: tuple[Annotated[str, AfterValidator(known_format)], ...] = Field(min_length=1, strict=False)
    """The formats that run there."""
    untested: str | None = None
    """Why nobody vouches for it, or None where edgekit was run on such a device."""
    facts: Facts = Facts()
    match: Match = Match()
    limits: Limits = Limits()


def read(path: Path) -> Profile:
    """Read one profile.

    Raises:
        InputError: not TOML, a key that is missing, unknown or of the wrong type, or a name that is not the file's.
    """
    try:
        profile = Profile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InputError(f"profile {path} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise InputError(f"profile {path} is not valid: {first_fault(exc)}") from exc
    if profile.name != path.stem:
        raise InputError(f"profile {path} calls itself '{profile.name}': rename the file or the profile so that both are the same")
    return here(profile) if profile.name == "local" else profile


def here(profile: Profile) -> Profile:
    """`local` on a Mac: another platform, which runs Core ML too."""
    if platform.system() != "Darwin":
        return profile
    formats = tuple(dict.fromkeys((*profile.formats, "coreml")))
    return profile.model_copy(update={"platform": "macos", "formats": formats, "untested": "edgekit has not been run on a Mac"})


def first_fault(exc: ValidationError) -> str:
    """The first thing that is wrong, in a person's words: `limits.latency_p50_ns_max.source: Field required`."""
    fault = exc.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"


def profiles() -> tuple[Profile, ...]:
    """All profiles, the user's own first; an own profile hides the shipped one of the same name."""
    files: dict[str, Path] = {}
    for folder in search_path("device_profiles"):
        for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem):
            files.setdefault(path.stem, path)
    return tuple(read(path) for path in files.values())


def plain(name: str) -> str:
    """A name without case, spaces and punctuation: `Pixel 7` → `pixel7`."""
    return re.sub(r"[\W_]", "", name).casefold()


def find(name: str) -> Profile | None:
    """The profile of that name or alias, in any spelling (`pixel7`, `pixel-7`, `Pixel 7`), or None."""
    every = profiles()
    by_name = (profile for profile in every if plain(profile.name) == plain(name))
    by_alias = (profile for profile in every if plain(name) in map(plain, profile.aliases))
    return next(by_name, None) or next(by_alias, None)


def load(name: str) -> Profile:
    """The profile of that name or alias.

    Raises:
        InputError: there is none; the message gives the nearest name.
    """
    found = find(name)
    if found is None:
        raise unknown("profile", name, (profile.name for profile in profiles()))
    return found


def platform_told(identity: Mapping[str, str]) -> Platform:
    """The platform that an identity is of."""
    if any(key.startswith("android_") for key in identity):
        return "android"
    return "macos" if identity.get("os", "").startswith("macOS") else "linux"


def match_profile(identity: Mapping[str, str]) -> Profile | None:
    """The profile of a device's platform whose rules it fulfils by what it tells; of several, the one with the most rules.

    Args:
        identity: as `Told.identity`; rules are about `model`, `product`, `machine` (`uname -m`), `bits`, `memory_kb` (MemTotal),
            `android_model` and `android_soc`, and a rule about a key that is missing does not hold.
    """
    told = platform_told(identity)  # an arch alone does not tell a phone or a Mac from a Linux computer
    fitting = [profile for profile in profiles() if profile.platform == told and profile.match.holds(identity)]
    return max(fitting, key=lambda profile: profile.match.rules, default=None)
