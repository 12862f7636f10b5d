"""Toolchains as data: what `toolchain.toml` and the lock files say, and where each one is or would be installed."""

from __future__ import annotations

import hashlib
import platform
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edgekit.errors import SetupError
from edgekit.places import cache_dir

HERE = Path(__file__).parent


class Description(BaseModel):
    """`toolchain.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    purpose: str
    python: str
    """The range of Python versions that the lock holds for, such as `>=3.12,<3.14`."""
    size_bytes: int
    """Installed size, measured on Linux x86-64."""
    requirements: tuple[str, ...]
    """What the locks are compiled from."""
    borrows: tuple[str, ...] = ()
    """Files and folders of other toolchains that its workers import, such as `torch/twin`; its environment has what those import."""
    overrides: tuple[str, ...] = ()
    """Pins that replace what the packages declare; each was tried."""
    torch_backend: str | None = None
    """uv's `--torch-backend`, unless the user's own find-links serve the wheels."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """One virtual environment that workers run in."""

    name: str
    description: Description
    lock: Path

    @property
    def lock_digest(self) -> str:
        """Hex SHA-256 of the lock: with the same lock, workers give the same bytes."""
        return hashlib.sha256(self.lock.read_bytes()).hexdigest()

    @property
    def folder(self) -> Path:
        return cache_dir() / "toolchains" / f"{self.name}-{self.lock_digest[:12]}"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def marker(self) -> Path:
        """Written last, with the bytes that the installation takes: what has no marker is not whole."""
        return self.folder / ".complete"

    @property
    def installed(self) -> bool:
        return self.marker.exists()

    @property
    def lacks(self) -> str:
        """What the toolchain's own step after the installation could not get, in a sentence; "" where it has all. Installing again tries again."""
        note = self.folder / ".lacks"
        return note.read_text() if note.exists() else ""

    @property
    def size_bytes(self) -> int:
        """As measured after the installation, else as measured where the lock was made."""
        return int(self.marker.read_text()) if self.installed else self.description.size_bytes

    def version(self, package: str) -> str | None:
        """The locked version of a package, e.g. `2.6.9`, or None if the lock does not hold it."""
        return locked_versions(self.lock).get(package)

    @property
    def versions(self) -> dict[str, str]:
        return locked_versions(self.lock)


def host() -> str:
    """This machine in the words of the lock files, e.g. `linux-x86_64`."""
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    return f"{system}-{platform.machine()}"


def names() -> list[str]:
    """All toolchains that edgekit ships."""
    return sorted(path.parent.name for path in HERE.glob("*/toolchain.toml"))


@cache
def toolchain(name: str) -> Toolchain:
    """The toolchain of that name, for this machine.

    Raises:
        SetupError: edgekit has no lock for this kind of machine.
    """
    folder = HERE / name
    lock = folder / f"lock-{host()}.txt"
    if not lock.exists():
        have = ", ".join(sorted(p.stem.removeprefix("lock-") for p in folder.glob("lock-*.txt")))
        raise SetupError(f"toolchain {name!r} is not locked for {host()}: use a machine of one of these kinds: {have}")
    try:
        description = Description.model_validate(tomllib.loads((folder / "toolchain.toml").read_text()))
    except (tomllib.TOMLDecodeError, ValidationError) as exc:
        raise SetupError(f"{folder / 'toolchain.toml'} cannot be read: {exc}") from exc
    return Toolchain(name, description, lock)


def ready(name: str) -> Toolchain:
    """The toolchain, if it is installed.

    Raises:
        SetupError: it is not; the message holds the one command to run.
    """
    home = toolchain(name)
    if not home.installed:
        size_mb = home.description.size_bytes // 10**6
        raise SetupError(
            f"toolchain {name!r} is not installed: run `edgekit toolchains install {name}` (about {size_mb} MB), or repeat the command with --install"
        )
    return home


@cache
def locked_versions(lock: Path) -> dict[str, str]:
    """Package → version, as the lock file pins them."""
    pins = (line.split(" ")[0].partition("==") for line in lock.read_text().splitlines() if line[:1].isalnum())
    return {name: version for name, _, version in pins}
