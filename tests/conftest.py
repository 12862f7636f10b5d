"""Fixtures for all tests: a private data folder, the shared cache of toolchains, and what to do where a part is missing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from edgekit.errors import SetupError
from edgekit.places import cache_dir
from edgekit.toolchains.catalog import names, toolchain

# A shell starts what it puts into the background with SIGINT ignored, and programs inherit that: tests that interrupt edgekit need it back.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What measures on this machine runs with the daemons, one after the other: a device is for one edgekit at a time, this one too."""
    texts = {path: path.read_text() for path in {item.path for item in items}}
    for item in items:
        if item.get_closest_marker("toolchain") and any(word in texts[item.path] for word in ('"local"', '"local:"')):
            item.add_marker(pytest.mark.lab)


def missing(what: str, cure: str) -> None:
    """Skip on a laptop, fail in CI: a part that a test needs is not here."""
    words = f"{what} is missing: {cure}"
    if os.environ.get("CI") == "true":
        pytest.fail(words)
    pytest.skip(words)


@pytest.fixture(autouse=True)
def private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test writes to the user's store or reads the user's lab."""
    monkeypatch.setenv("EDGEKIT_DATA_DIR", str(tmp_path / "edgekit-data"))
    monkeypatch.setenv("EDGEKIT_CONFIG_DIR", str(tmp_path / "edgekit-config"))
    return tmp_path


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of toolchains alone, in which nobody else's workers are."""
    own = tmp_path / "edgekit-cache"
    own.mkdir()
    (own / "toolchains").symlink_to(cache_dir() / "toolchains")
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(own))
    return own


@pytest.fixture(autouse=True)
def toolchains_are_there(request: pytest.FixtureRequest) -> None:
    """Tests marked `toolchain` need the three environments."""
    if request.node.get_closest_marker("toolchain") is None:
        return
    for name in names():
        try:
            there = toolchain(name).installed
        except SetupError:
            there = False
        if not there:
            missing(f"toolchain {name!r}", "run `edgekit toolchains install --all`")
