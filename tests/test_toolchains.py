"""Toolchains as data: each is described and locked, and a Python is found that starts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgekit.toolchains.catalog import HERE, locked_versions, names, toolchain
from edgekit.toolchains.install import find_python, version_of, within


def test_every_toolchain_is_locked_for_every_host() -> None:
    assert names() == ["armv7l", "convert", "executorch", "native", "tensorflow", "torch"]
    for name in names():
        hosts = {path.stem.removeprefix("lock-") for path in (HERE / name).glob("lock-*.txt")}
        assert hosts == {"linux-aarch64", "linux-x86_64", "macos-arm64"}


def test_locks_pin_every_requirement() -> None:
    for name in names():
        one = toolchain(name)
        for requirement in one.description.requirements:
            package, _, version = requirement.partition(";")[0].strip().partition("==")
            assert one.version(package) == version


def test_locks_name_no_host_and_hold_hashes_where_the_resolver_gives_them() -> None:
    for lock in HERE.glob("*/lock-*.txt"):
        text = lock.read_text()
        assert "://" not in text
        if lock.parent.name not in ("torch", "executorch"):  # several builds of torch satisfy one lock
            assert text.count("--hash=sha256:") >= len(locked_versions(lock))


@pytest.mark.parametrize(("version", "inside"), [((3, 11), False), ((3, 12), True), ((3, 13), True), ((3, 14), False)])
def test_ranges(version: tuple[int, int], inside: bool) -> None:
    assert within(version, ">=3.12,<3.14") is inside


def test_this_python_is_preferred() -> None:
    assert find_python(">=3.11,<3.14") == sys.executable


def test_where_no_python_fits_the_range_is_left_to_uv() -> None:
    assert find_python(">=3.98,<3.99") == ">=3.98,<3.99"


def test_a_program_that_does_not_start_is_no_python(tmp_path: Path) -> None:
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    assert version_of(shim) is None
    assert version_of(tmp_path / "absent") is None
