"""A hub, a float package of it and the grids of the hub's tensors in, the integers of the package's tensors out.

A float32 package calls a tensor as the hub does. A float16 one has names of its own: there a tensor is known by its values on made-up samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgekit.hub.compressed import Grid
from edgekit.hub.mlpackage import identifiers
from edgekit.toolchains.convert.calibration import CalibrationSet
from edgekit.toolchains.convert.coreml_ranges import Integers
from edgekit.toolchains.convert.coreml_runner import CoreMl
from edgekit.toolchains.convert.runners import Array, OnnxRuntime

ALIKE = 0.02
"""Of a tensor's norm: how far float16 may take it from the hub's; another tensor of its shape is farther."""

DTYPES = {True: "int8", False: "uint8"}


def integers(hub: Path, runner: CoreMl, grids: Mapping[str, Grid]) -> tuple[dict[str, Integers], list[str]]:
    """Tensor of the package → its integers; and the tensors of the hub that are not in it, or whose grid Core ML does not have.

    Core ML has integers of 8 bits for a whole tensor.
    """
    known = {name: grid for name, grid in grids.items() if grid.bits == 8 and len(grid.scale) == 1}
    places = by_name(runner, known) if half(runner) is False else by_values(hub, runner, known)
    found = {place: Integers(known[name].scale[0], known[name].zero_point[0], DTYPES[known[name].signed]) for name, place in places.items()}
    return found, [name for name in grids if name not in places]


def half(runner: CoreMl) -> bool:
    """Whether a program computes in float16."""
    return any(one.dtype == np.float16 for one in runner.program.results.values())


def by_name(runner: CoreMl, grids: Mapping[str, Grid]) -> dict[str, str]:
    """Tensor of the hub → the package's, which has its name as an identifier."""
    names = identifiers(list(grids))
    there = {one.name for step in runner.program.steps for one in step.writes} | {feature.name for feature in runner.program.inputs}
    return {name: identifier for name, identifier in names.items() if identifier in there}


def by_values(hub: Path, runner: CoreMl, grids: Mapping[str, Grid]) -> dict[str, str]:
    """Tensor of the hub → the first float16 tensor of the package that has its shape and, nearly, its values."""
    sample = CalibrationSet(None, runner.inputs).judges()[0]
    wanted = {**OnnxRuntime(hub).tensors(sample), **dict(zip((one["name"] for one in runner.inputs), sample, strict=True))}
    dtypes = runner.program.results
    there = {name: array for name, array in runner.tensors(sample).items() if name in dtypes and dtypes[name].dtype == np.float16}
    computed = [one.name for step in runner.program.steps for one in step.writes if one.name in there]
    found: dict[str, str] = {}
    for name in grids:
        if name not in wanted:
            continue
        distances = {place: distance(wanted[name], there[place]) for place in computed if place not in found.values()}
        nearest = min(distances, key=lambda place: distances[place], default=None)
        if nearest is not None and distances[nearest] <= ALIKE:
            found[name] = nearest
    return found


def distance(hub: Array, other: Array) -> float:
    """How far values are from the hub's, as a share of their norm; infinite for another shape."""
    if hub.shape != other.shape:
        return float("inf")
    exact = hub.astype(np.float64)
    return float(np.linalg.norm(other - exact)) / max(float(np.linalg.norm(exact)), 1e-12)
