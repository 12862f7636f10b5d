"""What a format is, as data: its file, which recipes it carries and by what steps, and why it refuses the others.

A format is a plug-in of the entry-point group `edgekit.formats`; the built-in ones enter the same way. A package of anybody's adds one
with three files: the Format, a worker that writes it (and runs it, for verification), and an adapter that has the agent run it on a device.
`docs/formats.md` has an example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from edgekit.nearest import unknown


@dataclass(frozen=True, slots=True)
class Steps:
    """How one recipe reaches one format: options for the writer, then the quantizer's recipe, if one follows."""

    write_options: Mapping[str, Any] = field(default_factory=dict)
    quantize: str | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """How the Python agent runs files of a format on a device, where the platform itself does not say."""

    file: Path
    """Python with `RUNTIME`, a class like those of `targets/common/cpu.py`; it goes into the agent's archive as `adapter.py`."""
    title: str
    """What runs the files, such as `ExecuTorch`."""
    packages: Mapping[str, str]
    """Package → version of what is installed for the device's Python, beside numpy."""
    keep: tuple[str, ...] = ("**",)
    """Globs below site-packages of what of it is sent."""


@dataclass(frozen=True, slots=True)
class Format:
    """One file format that edgekit writes."""

    name: str
    title: str
    suffix: str
    toolchain: str
    write_verb: str | Path
    """Worker verb: hub → float file. A plug-in gives the path of its own worker file, here as elsewhere."""
    quantize_verb: str | Path
    """Worker verb: float file (and calibration samples) → quantized file; for a format whose recipes all are the writer's, its name does not matter."""
    recipes: Mapping[str, Steps]
    refusals: Mapping[str, str]
    """Recipe → why this format cannot carry it and what to use."""
    write_tools: tuple[str, ...]
    """Packages of the toolchain that take part in writing."""
    quantize_tools: tuple[str, ...]
    verify_tools: tuple[str, ...]
    flexible_verb: str | None = None
    """Worker verb: the float file of a model at two sizes → the file with flexible axes; None where the format has fixed sizes only."""
    flexible_needs_bounds: bool = False
    """Whether a flexible axis needs a largest size."""
    runner: Path | None = None
    """A file with `open_runner(path)`, which gives a Runner of `toolchains/convert/runtime/runners.py`: what verification runs the files with, in the
    format's toolchain. None: that module has it."""
    agent: Adapter | None = None
    dtypes: Mapping[str, str] = field(default_factory=dict)
    """The model's dtype → what inputs and outputs have in this format instead."""
    layouts: tuple[str, ...] = ("model",)
    """Which `--layout` it can be written in."""
    ios: tuple[str, ...] = ("float",)
    """Which `--io` its files with integer activations can have."""

    store_verb: str | Path | None = None
    """Worker verb: float file of a compressed hub, the hub and what is known of its tensors → the file with those stored small, by the same numbers."""
    stores: tuple[str, ...] = ()
    """Recipes that the store worker does too, calibrated ones included; what else follows compression is the quantizer's."""
    learned: Steps = field(default_factory=Steps)
    """How recipes whose integers were learned reach the format: options for the writer; the store worker does the rest."""
    through: Format | None = None
    """A format whose files hold a recipe's integers, where this one's writer takes such a file in the place of the hub; None: its own workers put
    them in."""
    in_all: bool = True
    """Whether `--to all`, and no `--to`, mean it too; else it is written where it is named."""
    most_bytes: int | None = None
    """What its float files can hold; None: anything."""

    def steps_of(self, numbers: str, learned: bool) -> Steps:
        """How a number format reaches this format."""
        return self.learned if learned else self.recipes[numbers]

    @property
    def stores_learned(self) -> bool:
        """Whether its files can hold integers that were learned."""
        return self.store_verb is not None or (self.through is not None and self.through.stores_learned)

    @property
    def runner_inputs(self) -> Mapping[str, Path]:
        """Further inputs of a job that runs files of this format."""
        return {} if self.runner is None else {"runner": self.runner}


@cache
def formats() -> Mapping[str, Format]:
    """All formats that are installed, by name."""
    return {point.name: point.load() for point in sorted(entry_points(group="edgekit.formats"), key=lambda point: point.name)}


def format_named(name: str) -> Format:
    """One format.

    Raises:
        InputError: unknown; the message holds the nearest valid name.
    """
    known = formats()
    if name not in known:
        raise unknown("format", name, known)
    return known[name]
