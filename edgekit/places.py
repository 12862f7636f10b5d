"""Where edgekit keeps things: folders only, nothing is created or read here.

`EDGEKIT_CACHE_DIR` and `EDGEKIT_DATA_DIR` move the two folders that edgekit writes to.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).parent


def cache_dir() -> Path:
    """What can be made again: toolchains, converted files, runtimes for devices."""
    given = os.environ.get("EDGEKIT_CACHE_DIR")
    if given:
        return Path(given).absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("edgekit"))


def data_dir() -> Path:
    """What cannot be made again: the store of measurements."""
    given = os.environ.get("EDGEKIT_DATA_DIR")
    if given:
        return Path(given).absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("edgekit"))


def shipped(folder: str) -> Path:
    """`targets` or `device_profiles`: inside the installed package, or beside it in a checkout."""
    inside = PACKAGE / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


def search_path(folder: str) -> list[Path]:
    """The folders to look for `targets` or `device_profiles` in: the user's own first, then the shipped one."""
    own = Path.cwd() / folder
    return [path for path in dict.fromkeys((own, shipped(folder))) if path.is_dir()]
