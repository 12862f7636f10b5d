"""Which toolchains a command needs; installs them where --install allows it, before any work."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.cli.toolchains import install_all
from edgekit.device import Device
from edgekit.model import recognise
from edgekit.read.source import Source
from edgekit.recipe import Recipe
from edgekit.toolchains.catalog import ready, toolchain
from edgekit.write.format import Format


def toolchains(source: Source | None, formats: Sequence[Format], install: bool, recipes: Sequence[Recipe] = ()) -> None:
    """See that what reads the source, tunes and writes the formats is there.

    Raises:
        SetupError: a toolchain is missing and may not be installed.
    """
    tuners = [name for one in recipes for name in one.asks_for] + [recognise(path).toolchain for one in recipes for path in one.students]
    needed = dict.fromkeys(["convert", *([source.toolchain] if source else []), *(fmt.toolchain for fmt in formats), *tuners])
    if install and (missing := [toolchain(name) for name in needed if not toolchain(name).installed]):
        install_all(missing)
    for name in needed:
        ready(name)


def native(device: Device, runner: str | None, install: bool) -> None:
    """See that the native runner's toolchain is there where a phone needs it; where a board might, only --install brings it.

    Raises:
        SetupError: it is missing and may not be installed.
    """
    asked = runner or device.runner
    if (device.address == "local:" and asked != "native") or asked in ("python", "benchmark_model"):
        return
    if install and not toolchain("native").installed:
        install_all([toolchain("native")])
    if asked == "native" or device.address.startswith("adb:"):
        ready("native")
