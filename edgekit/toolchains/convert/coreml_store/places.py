"""A hub, a float package of it and the grids of the hub's tensors in, the integers of the package's tensors out.

A float32 package calls a tensor as the hub does. A float16 one has names of its own: there a tensor is known by its values on a made-up sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from edgekit.hub.compressed import Grid
from edgekit.toolchains.convert.coreml.boundary import inputs, names_inside, unique_identifiers
from edgekit.toolchains.convert.quantize.calibration import CalibrationSet
from edgekit.toolchains.convert.quantize.coreml_ranges import Integers
from edgekit.toolchains.convert.runtime.coreml import CoreMl
from edgekit.toolchains.convert.runtime.runners import Array, OnnxRuntime

ALIKE = 0.02
"""Of a tensor's norm: how far float16 may take it from the hub's; another tensor of its shape is farther."""

DTYPES = {True: "int8", False: "uint8"}


def called(hub: onnx.ModelProto) -> dict[str, str]:
    """Value of a hub → its name in a package of it, where it has one."""
    return unique_identifiers([*(value.name for value in [*inputs(hub), *hub.graph.output]), *names_inside(hub.graph)])


def integers(hub: Path, runner: CoreMl, grids: Mapping[str, Grid]) -> tuple[dict[str, Integers], list[str]]:
    """Tensor of the package → its integers; and the tensors of the hub that are not in it, or whose grid Core ML does not have.

    Core ML has integers of 8 bits for a whole tensor. What the model returns stays float.
    """
    model = onnx.load(str(hub), load_external_data=False)
    inner = {name: grid for name, grid in grids.items() if name not in {value.name for value in model.graph.output}}
    known = {name: grid for name, grid in inner.items() if grid.bits == 8 and len(grid.scale) == 1}
    found = by_name(model, runner, known)
    found |= by_values(hub, runner, [name for name in known if name not in found], set(found.values()))
    made = {place: Integers(known[name].scale[0], known[name].zero_point[0], DTYPES[known[name].signed]) for name, place in found.items()}
    return made, [name for name in inner if name not in found]


def computed(runner: CoreMl) -> list[str]:
    """Tensors of the dtype that the program computes in, in order, but those that it returns; its inputs first."""
    program = runner.program
    half = any(one.dtype == np.float16 for one in program.results.values())
    order = [feature.name for feature in program.inputs] + [one.name for step in program.steps for one in step.writes]
    returned = {feature.name for feature in program.outputs}
    return [name for name in order if name not in returned and program.results[name].dtype == (np.float16 if half else np.float32)]


def by_name(hub: onnx.ModelProto, runner: CoreMl, grids: Mapping[str, Grid]) -> dict[str, str]:
    """Tensor of the hub → the package's that has its name as an identifier."""
    names, there = called(hub), set(computed(runner))
    return {name: names[name] for name in grids if names.get(name) in there}


def by_values(hub: Path, runner: CoreMl, names: list[str], taken: set[str]) -> dict[str, str]:
    """Tensor of the hub → the tensor of the package that has its shape and, nearly, its values."""
    if not names:
        return {}
    sample, original = CalibrationSet(None, runner.inputs).judges()[0], OnnxRuntime(hub)
    feeds = [array.astype(one["dtype"]) for array, one in zip(sample, original.inputs, strict=True)]
    wanted = {**original.tensors(feeds), **dict(zip((one["name"] for one in original.inputs), feeds, strict=True))}
    there = runner.tensors(sample)
    free = [name for name in computed(runner) if name not in taken]
    found: dict[str, str] = {}
    for name in names:
        distances = {place: distance(wanted[name], there[place]) for place in free if name in wanted and place not in found.values()}
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
