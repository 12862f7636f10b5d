"""Two files of one model and samples in, tensor by tensor how far the second is from the first out, and the first operator that departs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgekit.errors import InputError
from edgekit.files import sha256_tree
from edgekit.hub.bounds import BOUNDS, floor_db
from edgekit.model import ReadResult, Shapes, open_model, recognise, tensor_spec
from edgekit.records import Samples, TensorSpec
from edgekit.samples import prepare_for
from edgekit.toolchains.jobs import Job, Progress, run
from edgekit.toolchains.workers import DESCRIBE, DIFF
from edgekit.verbs.bench import Lineage, lineage_of, numbers_of, refuse_uncalibrated
from edgekit.write.format import Format, format_named, formats


class Compared(BaseModel):
    """One tensor of the first file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    index: int
    op: str
    node: str
    tensor: str
    counterpart: str | None
    sqnr_db: float | None
    max_rel: float | None
    verdict: str


class Output(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    sqnr_db: float


class Found(BaseModel):
    """What convert/diff gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    tensors: tuple[Compared, ...]
    outputs: tuple[Output, ...]
    first: Compared | None
    samples: int


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: the file that is run for it, and what it is called."""

    file: Path
    format: Format
    hub: Path | None
    """The normalised graph, where the file is a model and not an artifact."""
    inputs: tuple[TensorSpec, ...]
    lineage: Lineage | None
    """Of a file that edgekit made."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What `diff` found, and by what measure."""

    found: Found
    floor_db: float
    origin: str
    """Of the samples."""


def diff(a: Path, b: Path, data: Path | None, shapes: Shapes, floor: float | None, progress: Progress) -> Difference:
    """Compare all tensors of two files of one model, each either a model or a file made from it.

    Args:
        data: samples; without, seeded random ones.
        floor: SQNR in dB below which a tensor departs; without, what the second file's recipe allows.

    Raises:
        InputError: a file that cannot be read, or two that are not of one model.
    """
    sides = [side(path, shapes, progress) for path in (a, b)]
    hub = next((one.hub for one in sides if one.hub is not None), None)
    for one in sides:
        refuse_uncalibrated(one.lineage, data)
    samples = samples_for(sides, hub, data, progress)
    recipes = [numbers_of(one.lineage.artifact) for one in sides if one.lineage is not None] or ["fp32"]
    floor = floor if floor is not None else min(floor_db(BOUNDS[recipe]) for recipe in recipes)
    options = {"formats": [one.format.name for one in sides], "floor_db": floor}
    files = {"a": sides[0].file, "b": sides[1].file, "samples": samples.evaluation}
    files |= {f"{key}_{name}": path for key, one in zip("ab", sides, strict=True) for name, path in one.format.runner_inputs.items()}
    outcome = run(Job(sides[0].format.toolchain, DIFF, files, options), progress)
    return Difference(Found.model_validate(outcome.result), floor, samples.origin)


def samples_for(sides: Sequence[Side], hub: Path | None, data: Path | None, progress: Progress) -> Samples:
    """Samples named as the inputs of either side: files of two makers may name them differently.

    Raises:
        InputError: the data fits neither; the words are about the first side.
    """
    try:
        return prepare_for(sides[0].inputs, hub, data, False, progress)
    except InputError:
        if [one.name for one in sides[0].inputs] == [one.name for one in sides[1].inputs]:
            raise
        with contextlib.suppress(InputError):
            return prepare_for(sides[1].inputs, hub, data, False, progress)
        raise


def side(path: Path, shapes: Shapes, progress: Progress) -> Side:
    """What is run for a path: a file of a format as it is, any other model as its hub."""
    if not path.exists():
        raise InputError(f"there is no file {path}: check the path")
    fmt = next((fmt for fmt in formats().values() if path.suffix == fmt.suffix), None)
    made = lineage_of(path, sha256_tree(path)) if fmt is not None else None
    if fmt is None or (fmt.name == "onnx" and made is None):
        recognise(path)
        model = open_model(path, shapes, progress)
        return Side(model.hub, format_named("onnx"), model.hub, model.inputs, None)
    described = ReadResult.model_validate(run(Job(fmt.toolchain, DESCRIBE, {"artifact": path, **fmt.runner_inputs}, {"format": fmt.name}), progress).result)
    return Side(path, fmt, None, tuple(map(tensor_spec, described.inputs)), made)
