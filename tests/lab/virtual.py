"""The virtual lab for tests: `from tests.lab.virtual import virtual_android, virtual_lab, virtual_pi` gives fixtures; the devices are up in a second.

The packages that they are made of are fetched once, into the user's cache. `virtual_pi` and `virtual_android` also make the targets of these
names known to edgekit for the test, here and in processes that it starts.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from edgekit.errors import SetupError
from edgekit.lab.virtual import Virtual, down, up
from edgekit.places import cache_dir, data_dir
from tests.conftest import missing
from tests.lab.adb import AdbServer, adb_server


@dataclass(frozen=True, slots=True)
class Lab:
    """Both virtual devices, and the adb server that knows the phone."""

    folder: Path
    pi: Virtual
    android: Virtual
    server: AdbServer


@pytest.fixture(scope="module")
def virtual_lab() -> Iterator[Lab]:
    """A Pi 5 and a Pixel 7, up for the tests of one file."""
    cache = {"EDGEKIT_CACHE_DIR": str(cache_dir())}  # the server's environment has a home folder of its own
    with adb_server() as server, patch.dict(os.environ, server.environment | cache):
        folder = Path(tempfile.mkdtemp(prefix="edgekit-lab-"))
        try:
            try:
                pi, android = up({"pi": "pi5", "android": "pixel7"}, folder)
            except SetupError as exc:
                missing("the virtual lab", str(exc))
            yield Lab(folder, pi, android, server)
        finally:
            down(folder)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def virtual_targets(virtual_lab: Lab, private_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Both devices, as targets of this test."""
    for name, value in virtual_lab.server.environment.items():
        if name != "HOME":
            monkeypatch.setenv(name, value)
    data_dir().mkdir(parents=True, exist_ok=True)
    (data_dir() / "virtual").symlink_to(virtual_lab.folder)
    return virtual_lab


@pytest.fixture
def virtual_pi(virtual_targets: Lab) -> Virtual:
    """The board, as the target `virtual-pi`."""
    return virtual_targets.pi


@pytest.fixture
def virtual_android(virtual_targets: Lab) -> Virtual:
    """The phone, as the target `virtual-android`."""
    return virtual_targets.android
