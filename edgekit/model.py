"""A path in, a Model out: recognised, read in a worker, and normalised to the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from edgekit.errors import InputError
from edgekit.files import parts, size_bytes
from edgekit.hub.axes import Wanted
from edgekit.read import keras, onnx, pt2, savedmodel, tflite
from edgekit.read.origin import made_from
from edgekit.read.source import Source
from edgekit.records import FlexibleAxis, Model, TensorSpec
from edgekit.toolchains.jobs import Job, Progress, digests, is_cached, run

SOURCES: tuple[Source, ...] = (onnx.SOURCE, keras.SOURCE, savedmodel.SOURCE, pt2.SOURCE, tflite.SOURCE)

READING_S, READING_S_PER_BYTE = 300.0, 2e-6
"""How long a framework may take to read its own file: damaged ones send some loaders round in circles."""

Shapes = Mapping[str, Wanted]
"""Input name → its axes: sizes, or the forms of a flexible one (`edgekit.hub.axes`)."""

NOT_SOURCES = {
    ".mlpackage": "is a Core ML package, which edgekit does not read as a source: give the model it was made from",
    ".mlmodel": "is a Core ML model, which edgekit does not read as a source: give the model it was made from",
    ".pt": "may hold any pickle, which edgekit never loads: save it with torch.export.save as .pt2, or call edgekit.from_torch",
    ".pth": "may hold any pickle, which edgekit never loads: save it with torch.export.save as .pt2, or call edgekit.from_torch",
    ".pkl": "is a pickle, which edgekit never loads: export the model as .onnx, .keras or .pt2",
}


class Spec(BaseModel):
    """A tensor's description as workers give it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    dtype: str
    shape: tuple[int, ...]


class ReadResult(BaseModel):
    """What convert/read_onnx gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    notes: tuple[str, ...]
    flexible: tuple[FlexibleAxis, ...] = ()


def nothing() -> None:
    """Nothing to do before reading."""


def open_model(path: Path, shapes: Shapes, progress: Progress, *, before_reading: Callable[[], object] = nothing) -> Model:
    """Read a trained network.

    Args:
        path: an ONNX, Keras, `.pt2` or TFLite file, or a SavedModel folder.
        shapes: input name → the full shape, of sizes and flexible axes; needed where dimensions other than the batch are dynamic.
        before_reading: called if the model was not read before, and will likely be converted for the first time.

    Raises:
        InputError: not a model, a truncated one, or one whose shapes are not fixed; the message says what to give.
        ConvertError: the framework's own reader failed.
        SetupError: a toolchain is missing.
    """
    try:
        return read(path, recognise(path), shapes, progress, before_reading)
    except InputError as exc:
        known = made_from(path)
        if not known or known in str(exc):
            raise
        raise InputError(f"{exc}{known}") from exc


def read(path: Path, source: Source, shapes: Shapes, progress: Progress, before_reading: Callable[[], object]) -> Model:
    """Read a file of a known kind in its framework, then bring it into the form of the hub."""
    others = source.other_files(path)
    options = {"shapes": {name: list(shape) for name, shape in shapes.items()}}
    raw, raw_notes, raw_options, kept = path, [], options, None
    ranges: Mapping[str, Sequence[int | None]] = {}
    if source.read_verb is not None:
        deadline_s = READING_S + size_bytes(path) * READING_S_PER_BYTE
        job = Job(source.toolchain, source.read_verb, {"model": path}, options if source.fixes_shapes else {})
        framework = run(job, progress, deadline_s=deadline_s)
        raw, raw_notes = framework.folder / "raw.onnx", framework.result["notes"]
        ranges = framework.result.get("ranges", {})
        if source.fixes_shapes:
            raw_options, kept = {"shapes": framework.result["shapes"]}, framework.result["flexible"]
    job = Job("convert", "read_onnx", {"model": raw, **others}, raw_options)
    if not is_cached(job):
        before_reading()
    outcome = run(job, progress)
    found = ReadResult.model_validate(outcome.result if kept is None else {**outcome.result, "flexible": kept})
    hub = outcome.folder / "hub.onnx"
    return Model(
        path=path.absolute(),
        source=source.name,
        sha256=content_digest(path, others),
        hub=hub,
        hub_sha256=content_digest(hub, {part.name: part for part in parts(hub)[1:]}),
        inputs=tuple(tensor_spec(spec) for spec in found.inputs),
        outputs=tuple(tensor_spec(spec) for spec in found.outputs),
        notes=(*raw_notes, *found.notes),
        flexible=tuple(within(axis, ranges) for axis in found.flexible),
    )


def within(axis: FlexibleAxis, ranges: Mapping[str, Sequence[int | None]]) -> FlexibleAxis:
    """An axis of any size, within the sizes that its framework says are possible.

    Raises:
        InputError: larger ones were asked for.
    """
    low, high = ranges.get(axis.symbol, (None, None))
    if axis.high is None:
        return replace(axis, low=min(max(axis.low, low or 1), axis.default), high=high)
    if high is not None and axis.high > high:
        raise InputError(f"--shape asks for {axis.high} along axis {axis.axis} of {axis.input!r}, which the model takes up to {high}: ask for no more")
    return axis


def recognise(path: Path) -> Source:
    """The kind of model at a path.

    Raises:
        InputError: nothing there, or nothing that edgekit reads.
    """
    if not path.exists():
        raise InputError(f"there is no file {path}: check the path")
    if words := NOT_SOURCES.get(path.suffix.lower()):
        raise InputError(f"{path} {words}{made_from(path)}")
    for source in SOURCES:
        if source.recognises(path):
            return source
    kind = "folder without saved_model.pb" if path.is_dir() else "file of an unknown kind"
    raise InputError(f"{path} is a {kind}: give .onnx, .keras, .h5, .hdf5, .pt2, .tflite or a SavedModel folder")


def source_of(model: Model) -> Source:
    """The kind of an opened model."""
    return next(source for source in SOURCES if source.name == model.source)


def content_digest(path: Path, others: Mapping[str, Path]) -> str:
    """SHA-256 of the model; with external files, of all their names and digests together."""
    own = digests(path)[0]
    if not others:
        return own
    lines = [own, *(f"{name}\0{digests(file)[0]}" for name, file in sorted(others.items()))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def tensor_spec(spec: Spec) -> TensorSpec:
    return TensorSpec(spec.name, spec.dtype, spec.shape)


def spec_json(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    """Tensor descriptions as workers and agents take them."""
    return [{"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} for spec in specs]
