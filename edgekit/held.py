"""A machine that uv has no wheels for in, the folder out in which a toolchain holds what is sent there: a Python of its own with all it needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgekit.errors import SetupError
from edgekit.toolchains.catalog import toolchain


class HeldDescription(BaseModel):
    """What such a machine is sent: it lies in the toolchain's folder `site`, and the names here are below that."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    toolchain: str
    titles: Mapping[str, str]
    """Format → the runtime for it, as it calls itself."""
    lacks: Mapping[str, str]
    """Format → why there is none for it, and what to do."""
    libraries: str
    """The folder of what they link to."""
    python: str
    minimum_glibc: str
    keep: tuple[str, ...]
    drop: tuple[str, ...]

    def argv(self, site: str) -> tuple[str, ...]:
        """How its Python is started on a device where all that lies in `site`."""
        return ("env", "-u", "LD_PRELOAD", f"LD_LIBRARY_PATH={site}/{self.libraries}", f"{site}/{self.python}")


def held_site(held: HeldDescription, machine: str) -> Path:
    """The folder `site`.

    Raises:
        SetupError: the toolchain is not installed, or could not get all; with the cure.
    """
    home = toolchain(held.toolchain)
    if not home.installed:
        size_mb = home.description.size_bytes // 10**6
        raise SetupError(f"what {machine} devices are sent is not here: run `edgekit toolchains install {held.toolchain}` (about {size_mb} MB)")
    site = home.folder / "site"
    if not site.is_dir():
        raise SetupError(f"{home.lacks.rstrip('.')}, then run `edgekit toolchains install {held.toolchain}`")
    return site
