"""A machine and a Python that uv has no wheels for in, the folder of packages that a toolchain holds for it out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgekit.errors import SetupError
from edgekit.toolchains.catalog import toolchain


class HeldDescription(BaseModel):
    """What the Python of a machine is sent that uv has no wheels for: a toolchain holds it, in its folder `site`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    toolchain: str
    pythons: tuple[str, ...]
    minimum_glibc: str
    install_python: str
    """The system that has such a Python."""
    titles: Mapping[str, str]
    """Format → the runtime for it, as it calls itself."""
    lacks: Mapping[str, str]
    """Format → why there is none for it, and what to do."""
    libraries: str
    """The folder of shared libraries that the device's loader has to look in."""
    keep: tuple[str, ...]
    drop: tuple[str, ...]


def held_site(held: HeldDescription, machine: str, python: str) -> Path:
    """The folder of packages.

    Raises:
        SetupError: there are none for that Python, or the toolchain that holds them is not installed; with the cure.
    """
    if python not in held.pythons:
        raise SetupError(f"there are no packages for Python {python} for {machine} devices: install {held.install_python}, or a 64-bit system there")
    home = toolchain(held.toolchain)
    if not home.installed:
        size_mb = home.description.size_bytes // 10**6
        raise SetupError(f"what {machine} devices are sent is not here: run `edgekit toolchains install {held.toolchain}` (about {size_mb} MB)")
    site = home.folder / "site"
    if not site.is_dir():
        raise SetupError(f"{home.lacks.rstrip('.')}, then run `edgekit toolchains install {held.toolchain}`")
    return site
