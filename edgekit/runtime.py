"""What a device needs to run the Python agent, as files to push: the agent itself, and a site-packages made by uv for its Python.

Both are made once and kept in the cache folder under a name that spells their content; the device needs `python3` and nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from edgekit.errors import DeviceError, InputError, SetupError
from edgekit.files import disk_errors, sha256_file, walk, written_aside
from edgekit.held import HeldDescription, held_site
from edgekit.places import cache_dir, search_path, shipped
from edgekit.toolchains.install import uv
from edgekit.transport import Transport
from edgekit.write.format import Adapter, formats

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can hold
SYSTEMS = {"Linux": "linux", "Linux Android": "android", "Darwin": "macos"}
"""What `ASK` prints → platform."""
ASK = "uname -s; if [ -e /system/build.prop ] || command -v getprop >/dev/null 2>&1; then echo Android; fi"
ASK_S = 30.0
WHEEL_PYTHON = "3.13"
"""Any that there are wheels for: the libraries in them are the same."""


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RuntimeDescription(Record):
    """One runtime of a platform: what is installed and what of it is kept (globs below site-packages)."""

    title: str
    packages: Mapping[str, str]
    python_packages: Mapping[str, Mapping[str, str]] = {}
    """Python version → other versions of packages, where the usual ones have no wheels."""
    keep: tuple[str, ...]


class NumpyDescription(Record):
    versions: Mapping[str, str]
    """Python version → numpy version."""
    keep: tuple[str, ...]
    drop: tuple[str, ...]


class NativeDescription(Record):
    """The native runner's library for one format, out of a wheel."""

    title: str
    """As the runtime calls itself: `LiteRT`."""
    package: str
    version: str
    library: str
    """The library in the wheel: a glob below site-packages."""
    licences: tuple[str, ...]
    """Globs of what goes along with it."""
    glibc: Mapping[str, str]
    """`machine` of the device → the oldest glibc that the library runs on."""


class PlatformDescription(Record):
    """`target.toml`."""

    title: str
    untested: str | None = None
    """Why nobody vouches for it, or None where edgekit was run on such devices."""
    minimum_glibc: str = ""
    minimum_macos: str = ""
    install_python: str = "sudo apt install python3"
    """What a user types there."""
    machines: Mapping[str, str]
    """`machine` of the device → uv's `--python-platform`."""
    runtimes: Mapping[str, RuntimeDescription] = {}
    """By format: what the device's Python runs."""
    numpy: NumpyDescription | None = None
    held: Mapping[str, HeldDescription] = {}
    """By `machine` of the device, instead of `runtimes`, `numpy` and a Python that is there."""
    native: Mapping[str, NativeDescription] = {}
    """By format: what the native runner runs."""
    zig: Mapping[str, str] = {}
    """`machine` of the device → zig's target for the native runner."""
    own_libc: bool = False
    """The native runner brings its C library along: the device has none that it runs on."""

    @property
    def pythons(self) -> tuple[str, ...]:
        """The Python versions that there are packages for."""
        return tuple(self.numpy.versions) if self.numpy else ()

    @property
    def all_machines(self) -> tuple[str, ...]:
        """The machines of the devices that files can be run on, by whatever runner."""
        return tuple(sorted({*self.machines, *self.zig, *self.held}))

    def runtime(self, form: str) -> RuntimeDescription:
        """What the device's Python runs a format with: as the platform says, else as the format's own adapter does.

        Raises:
            InputError: neither says anything.
        """
        if form in self.runtimes:
            return self.runtimes[form]
        adapter = adapter_of(form)
        if adapter is None:
            raise InputError(f"{self.title} has no runtime for {form}: convert to one of {', '.join(self.runtimes)}")
        return RuntimeDescription(title=adapter.title, packages=adapter.packages, keep=adapter.keep)

    def title_on(self, machine: str, form: str) -> str:
        """What the Python agent runs a format with there."""
        return self.held[machine].titles[form] if machine in self.held else self.runtime(form).title

    def lacking(self, machine: str, form: str) -> str | None:
        """Why nothing runs a format on a machine, with a cure; None where nothing is known against it."""
        return self.held[machine].lacks.get(form) if machine in self.held else None


@dataclass(frozen=True, slots=True)
class Platform:
    """A folder of `targets/`."""

    folder: Path
    description: PlatformDescription


def platform(name: str = "linux") -> Platform:
    """A platform by its name, the user's own `./targets` first.

    Raises:
        SetupError: there is none of that name, or its `target.toml` is wrong.
    """
    for parent in search_path("targets"):
        file = parent / name / "target.toml"
        if file.exists():
            try:
                return Platform(file.parent, PlatformDescription.model_validate(tomllib.loads(file.read_text())))
            except (tomllib.TOMLDecodeError, ValidationError) as exc:
                raise SetupError(f"{file} cannot be read: {exc}") from exc
    raise SetupError(f"there is no platform {name!r}: install edgekit again, or make ./targets/{name}/target.toml")


def platform_of(transport: Transport) -> Platform:
    """The platform of a device, by what it is.

    Raises:
        DeviceError: it does not answer, or runs a system that edgekit does not know.
        SetupError: as for `platform`.
    """
    if transport.address == "local:":
        system = os.uname().sysname
    else:
        system = " ".join(transport.run(["sh", "-c", ASK], timeout_s=ASK_S).stdout.split())
    if system not in SYSTEMS:
        raise DeviceError(transport.address, f"it runs {system or 'an unknown system'}: use a device with one of {', '.join(SYSTEMS)}")
    return platform(SYSTEMS[system])


def adapter_of(form: str) -> Adapter | None:
    """What a format brings along for the agent, if anything."""
    found = formats().get(form)
    return None if found is None else found.agent


def agent_archive(target: Platform, form: str = "") -> Path:
    """A platform's agent as one zip: what all platforms share, its own files, and the format's adapter where the platform needs one;
    `agent.py` as `__main__.py`; same sources, same bytes."""
    by_name = {path.name: path for folder in (shipped("targets") / "common", target.folder) for path in folder.glob("*.py")}
    adapter = None if form in target.description.runtimes else adapter_of(form)
    by_name |= {"adapter.py": adapter.file} if adapter else {}
    digest = hashlib.sha256(b"\0".join(part for name in sorted(by_name) for part in (name.encode(), by_name[name].read_bytes())))
    final = cache_dir() / "runtimes" / f"agent-{target.folder.name}-{digest.hexdigest()[:12]}.pyz"
    if not final.exists():
        with written_aside(final) as aside, zipfile.ZipFile(aside, "w") as archive:
            for name in sorted(by_name):
                archive.writestr(zipfile.ZipInfo("__main__.py" if name == "agent.py" else name, EPOCH), by_name[name].read_bytes())
    return final


def site_packages(target: Platform, form: str, machine: str, python: str) -> Path:
    """The archive (.tar.gz) of a runtime and numpy for a device: `form` is one of its runtimes, `python` such as `3.11`.

    Raises:
        InputError: the platform runs no such format.
        SetupError: the device's machine or Python has no wheels, the toolchain that holds them is not installed, or uv could not fetch them
            (network, disk).
    """
    if machine in target.description.held:
        return held_packages(target.description, form, machine)
    requirements, globs = contents(target.description, form, machine, python)
    key = json.dumps([machine, python, requirements, globs, target.description.machines[machine]])
    digest = hashlib.sha256(key.encode()).hexdigest()
    final = cache_dir() / "runtimes" / f"{form}-{machine}-python{python}-{digest[:12]}.tar.gz"
    if final.exists():
        return final
    with wheels(target, machine, python, requirements) as folder, written_aside(final) as aside, aside.open("wb") as file:
        pack(folder, globs, file)
    return final


def require(target: Platform, machine: str, python: str) -> None:
    """Refuse at once a device on which the Python agent runs no format.

    Raises:
        SetupError: as for `site_packages`, except what only fetching shows.
    """
    if machine in target.description.held:
        held_site(target.description.held[machine], machine)
    else:
        contents(target.description, next(iter(target.description.runtimes)), machine, python)


def held_packages(description: PlatformDescription, form: str, machine: str) -> Path:
    """`site_packages` for a machine that uv has no wheels for."""
    held = description.held[machine]
    if form not in held.titles:
        have = ", ".join(held.titles)
        raise InputError(description.lacking(machine, form) or f"there is no runtime for {form} on a {machine} device: convert to one of {have}")
    site = held_site(held, machine)
    key = json.dumps([(path.relative_to(site).as_posix(), sha256_file(path)) for path in kept(site, held.keep, held.drop)])
    final = cache_dir() / "runtimes" / f"{form}-{machine}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.tar.gz"
    if not final.exists():
        with written_aside(final) as aside, aside.open("wb") as file:
            pack(site, (held.keep, held.drop), file, programs={held.python})
    return final


@contextmanager
def wheels(target: Platform, machine: str, python: str, requirements: Sequence[str]) -> Iterator[Path]:
    """A folder for a while with what the wheels of packages (`numpy==2.4.6`) hold for a device.

    Raises:
        SetupError: uv could not fetch them (network, disk).
    """
    parent = cache_dir() / "runtimes"
    with disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".site-", dir=parent))
    try:
        options = ["--python-platform", target.description.machines[machine], "--python-version", python, "--only-binary", ":all:"]
        least = {"MACOSX_DEPLOYMENT_TARGET": target.description.minimum_macos} if target.description.minimum_macos else None
        uv("pip", "install", "--quiet", "--no-deps", "--no-compile-bytecode", *options, "--target", str(scratch), *requirements, env=least)
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def contents(description: PlatformDescription, form: str, machine: str, python: str) -> tuple[list[str], tuple[tuple[str, ...], ...]]:
    """What is installed (`numpy==2.4.6`), and the globs (keep, drop) of what stays of it."""
    if description.numpy is None:
        raise InputError(f"{description.title} has no Python: use the native runner")
    runtime = description.runtime(form)
    if machine not in description.machines:
        raise SetupError(f"there are no wheels for a {machine} device: use one of {', '.join(description.machines)}, with a 64-bit system")
    if python not in description.pythons:
        raise SetupError(f"there are no wheels for Python {python} on the device: install one of {', '.join(description.pythons)} there")
    versions = {"numpy": description.numpy.versions[python], **runtime.packages, **runtime.python_packages.get(python, {})}
    return [f"{name}=={version}" for name, version in sorted(versions.items())], (runtime.keep + description.numpy.keep, description.numpy.drop)


def pack(folder: Path, globs: tuple[tuple[str, ...], ...], file: IO[bytes], programs: Collection[str] = ()) -> None:
    """Write the files that are kept as tar.gz, in a fixed order, without times or owners: same files, same bytes.

    `programs` names those that are to be run.
    """
    with gzip.GzipFile("", "wb", 6, file, mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in kept(folder, *globs):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = path.stat().st_size
            entry.mode = 0o755 if entry.name in programs else 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)


def kept(folder: Path, keep: tuple[str, ...], drop: tuple[str, ...]) -> Iterator[Path]:
    for path in walk(folder):
        name = path.relative_to(folder).as_posix()
        if any(fnmatchcase(name, glob) for glob in keep) and not any(fnmatchcase(name, glob) for glob in drop):
            yield path
