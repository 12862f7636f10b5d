"""Lab files in, the devices that they name out; and one device more into such a file.

`./lab.toml` is read first, then `lab.toml` in the user's configuration folder (`EDGEKIT_CONFIG_DIR` moves it), and last the
one of the virtual lab (`edgekit lab virtual up` writes it). Of two devices with one name the first counts.

    [[device]]
    name = "bench-pi"
    address = "ssh:pi@bench"
    profile = "raspberry-pi-5-8gb"        # a name of device_profiles/
    python = "/usr/bin/python3.11"        # for files that the Python agent runs; python3 is the default
    threads = 2                           # of one inference
    cores = "big"                         # big, little, all, a mask (f0) or a list (4-7)
    runner = "native"                     # native, python or benchmark_model
    benchmark_model = { path = "tools/benchmark_model", sha256 = "…" }
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from edgekit.errors import InputError
from edgekit.files import require_place, written_aside
from edgekit.nearest import unknown
from edgekit.places import data_dir
from edgekit.profile import Profile, Written, find, load, profiles

SPAN = "[0-9]{1,4}(?:-[0-9]{1,4})?"
CORES = re.compile(rf"big|mid|little|all|(?:0[xX])?[0-9a-fA-F]{{1,64}}|{SPAN}(?:,{SPAN})*")
"""What `edgekit.conditions.pick_cores` takes; whether a device has such cores is not known before it is asked."""


@dataclass(frozen=True, slots=True)
class BenchmarkModel:
    """The user's copy of LiteRT's `benchmark_model` for a device."""

    path: Path
    """Absolute; in a lab file it may be relative to that file's folder."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Device:
    """One device: where it is, and what kind it is, if that is known."""

    name: str
    address: str
    """`local:`, `ssh:[user@]host[:port]` or `adb:[serial][@host[:port]]`; a lab file may say `local`."""
    profile: Profile | None
    python: str = "python3"
    """The interpreter that runs the Python agent there."""
    threads: int | None = None
    """How many threads a model gets there; None leaves it to the measurement's default."""
    cores: str | None = None
    """Which cores it runs on: `big`, `little`, `all`, a mask or a list; None leaves it to the measurement's default."""
    runner: str | None = None
    """`native`, `python` or `benchmark_model`; None takes the first that can."""
    benchmark_model: BenchmarkModel | None = None


class Tool(Written):
    """A program of the user's, known by its content."""

    path: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-fA-F]{64}$")


class Entry(Written):
    """One `[[device]]` of a lab file."""

    name: str = Field(min_length=1)
    address: str
    profile: str | None = None
    python: str = Field(default="python3", min_length=1)
    threads: int | None = Field(default=None, ge=1)
    cores: str | None = Field(default=None, min_length=1)
    runner: Literal["native", "python", "benchmark_model"] | None = None
    benchmark_model: Tool | None = None

    @field_validator("address")
    @classmethod
    def with_its_colon(cls, address: str) -> str:
        return "local:" if address == "local" else address

    @field_validator("cores")
    @classmethod
    def can_be_cores(cls, cores: str | None) -> str | None:
        if cores is not None and not CORES.fullmatch(cores):
            raise ValueError(f"'{cores}' is none of big, mid, little, all, a mask such as f0 and a list such as 4-7")
        return cores

    def device(self, folder: Path) -> Device:
        """The device, in a lab file of that folder."""
        profile = load(self.profile) if self.profile else None
        tool = self.benchmark_model
        given = BenchmarkModel(folder.absolute() / Path(tool.path).expanduser(), tool.sha256.lower()) if tool else None
        return Device(self.name, self.address, profile, self.python, self.threads, self.cores, self.runner, given)


class Lab(Written):
    """A lab file."""

    device: tuple[Entry, ...] = Field(default=(), strict=False)


def user_lab_file() -> Path:
    """The lab file of the user's configuration."""
    given = os.environ.get("EDGEKIT_CONFIG_DIR")
    if given:
        return Path(given) / "lab.toml"
    import platformdirs

    return Path(platformdirs.user_config_dir("edgekit")) / "lab.toml"


def virtual_lab_file() -> Path:
    """The lab file of the virtual lab; it is there while that lab is up."""
    return data_dir() / "virtual" / "lab.toml"


def virtual_addresses() -> frozenset[str]:
    """The addresses of the virtual lab's devices."""
    path = virtual_lab_file()
    return frozenset(device.address for device in read_lab(path)) if path.is_file() else frozenset()


def lab_files() -> list[Path]:
    """Where lab files are looked for, the first first."""
    return [Path.cwd() / "lab.toml", user_lab_file(), virtual_lab_file()]


def read_lab(path: Path) -> tuple[Device, ...]:
    """The devices of one lab file.

    Raises:
        InputError: not TOML, a wrong key or type, a name given twice, or a profile that nobody knows.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from exc
    return tuple(entry.device(path.parent) for entry in entries(path, content))


def entries(path: Path, content: bytes) -> tuple[Entry, ...]:
    """What a lab file of that content holds, checked."""
    try:
        table = tomllib.loads(content.decode())
        found = Lab.model_validate(table).device
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InputError(f"{path} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise InputError(f"{path}{first_fault(exc, table)}") from exc
    names = [entry.name for entry in found]
    for entry in found:
        if names.count(entry.name) > 1:
            raise InputError(f"{path} names two devices '{entry.name}': give each its own name")
        if entry.profile is not None and find(entry.profile) is None:
            fault = unknown("profile", entry.profile, (profile.name for profile in profiles()))
            raise InputError(f"{path}, device '{entry.name}': {fault}")
    return found


def first_fault(exc: ValidationError, table: dict[str, Any]) -> str:
    """The first thing that is wrong in a lab file, to go behind its path: `, device 'bench-pi': unknown key 'profil': did you mean 'profile'?`."""
    fault = exc.errors()[0]
    place = fault["loc"]
    where = ""
    keys: tuple[str, ...] = tuple(Lab.model_fields)
    if len(place) > 1:
        entry = table["device"][place[1]]
        name = entry.get("name") if isinstance(entry, dict) else None
        where = f", device '{name}'" if isinstance(name, str) and name else f", the device number {int(place[1]) + 1}"
        keys = tuple(Tool.model_fields if len(place) > 3 else Entry.model_fields)
    key = ".".join(str(part) for part in place[2:] or place)
    if fault["type"] == "extra_forbidden":
        return f"{where}: {unknown('key', str(place[-1]), keys)}"
    if fault["type"] == "missing":
        return f"{where}: it has no {key}: add one"
    if fault["type"] == "tuple_type":
        return f"{where}: each device begins with a line [[device]], in two brackets"
    return f"{where}: {key}: {fault['msg'].removeprefix('Value error, ')}"


def lab() -> tuple[Device, ...]:
    """All devices of the lab files; of two with one name the first counts."""
    found: dict[str, Device] = {}
    for path in lab_files():
        if path.is_file():
            for device in read_lab(path):
                found.setdefault(device.name, device)
    return tuple(found.values())


def place_for_new() -> Path:
    """The lab file that a new device is written to: the one here if there is one, else the user's."""
    here = Path.cwd() / "lab.toml"
    return here if here.is_file() else user_lab_file()


def entry_text(name: str, address: str, profile: str | None) -> str:
    """The `[[device]]` of one device; a JSON string of printable characters is a TOML string too."""
    pairs = {"name": name, "address": address, "profile": profile}
    return "[[device]]\n" + "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in pairs.items() if value is not None)


def refuse_taken(name: str, address: str) -> None:
    """See that no lab file has a device of that name or at that address.

    Raises:
        InputError: one has.
    """
    for device in lab():
        if device.name == name:
            raise InputError(f"there is a device '{name}' already ({device.address}): give another name, as in `edgekit lab add NAME --target {address}`")
        if device.address == address:
            raise InputError(f"{address} is in the lab already, as '{device.name}': use that name, or change its entry by hand")


def append(path: Path, name: str, address: str, profile: str | None) -> None:
    """Write one device more at the end of a lab file, which is made if need be; what stands in it stays as it is.

    Raises:
        InputError: the file is not valid or has no room for more, or the name or the address is taken, in this file or in another.
        SetupError: it cannot be written.
    """
    refuse_taken(name, address)
    final = path.resolve()  # a link stays a link
    before = final.read_bytes() if final.is_file() else b""
    gap = b"" if not before else b"\n" if before.endswith(b"\n") else b"\n\n"
    text = entry_text(name, address, profile)
    after = before + gap + text.encode()
    try:
        entries(path, after)
    except InputError as exc:
        raise InputError(f"nothing can be appended to {path}, so write this into it by hand: {text.strip()!r} ({exc})") from exc
    require_place(final.parent)
    with written_aside(final) as aside:
        aside.write_bytes(after)
        if before:
            shutil.copymode(final, aside)
