"""What a format is, as data: its file, which recipes it carries and by what steps, and why it refuses the others.

A format is a plug-in of the entry-point group `edgekit.formats`; the built-in ones enter the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from edgekit.nearest import unknown


@dataclass(frozen=True, slots=True)
class Steps:
    """How one recipe reaches one format: options for the writer, then the quantizer's recipe, if one follows."""

    write_options: Mapping[str, Any] = field(default_factory=dict)
    quantize: str | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """One file format that edgekit writes."""

    name: str
    title: str
    suffix: str
    toolchain: str
    write_verb: str
    """Worker verb: hub → float file."""
    quantize_verb: str
    """Worker verb: float file (and calibration samples) → quantized file."""
    recipes: Mapping[str, Steps]
    refusals: Mapping[str, str]
    """Recipe → why this format cannot carry it and what to use."""
    write_tools: tuple[str, ...]
    """Packages of the toolchain that take part in writing."""
    quantize_tools: tuple[str, ...]
    verify_tools: tuple[str, ...]


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
