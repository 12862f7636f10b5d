"""One file and a Device in, a Run of one variant out.

A file that edgekit made has its lineage beside it: where its source model is still there, the file's outputs on the device are
compared with the model's own. Any other file is compared with itself on this machine: that finds a device that computes
something else, and says nothing of how right the file is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edgekit.deflate import download_bytes
from edgekit.device import Device, match_profile
from edgekit.errors import InputError
from edgekit.files import sha256_tree, size_bytes
from edgekit.hub.bounds import BOUNDS, Bound
from edgekit.model import ReadResult, Shapes, open_model, spec_json, tensor_spec
from edgekit.protocol import PROTOCOLS, Protocol, Settings, Subject
from edgekit.recipe import CALIBRATED
from edgekit.records import Artifact, FlexibleAxis, Quantization, Samples, TensorSpec, Variant
from edgekit.records_json import from_json
from edgekit.samples import prepare_for, reference
from edgekit.store import open_store
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Job, Progress, run
from edgekit.toolchains.workers import DESCRIBE, EVALUATE
from edgekit.transport import connect
from edgekit.verbs.deploy import Deployment, new_run, runs, runs_there
from edgekit.verbs.lineage import lineage_path
from edgekit.verbs.measured import Plan, measured, protocol_for, settings_for, with_integers
from edgekit.verify import verify
from edgekit.workbench import Bench
from edgekit.write.format import Format, formats

UNKNOWN_RECIPE = "as given"


class Origin(BaseModel):
    """The model in a lineage file."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    path: Path
    sha256: str


class Compressed(BaseModel):
    """What a lineage file tells of a compressed network, as far as it is needed here."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    numbers: str


class Made(BaseModel):
    """The artifact in a lineage file."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    path: Path
    recipe: str
    sha256: str
    layout: dict[str, Any] | None = None
    quantization: dict[str, Any] | None = None
    compression: Compressed | None = None
    flexible: tuple[FlexibleAxis, ...] = ()


class Data(BaseModel):
    """The samples in a lineage file."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    origin: str
    """A sentence that begins with the file that was given, if one was."""

    @property
    def file(self) -> str:
        return self.origin.partition(", split once")[0]


class Lineage(BaseModel):
    """What edgekit wrote beside a file, as far as it is needed here."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    model: Origin
    samples: Data
    artifact: Made


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What a file's outputs on the device are held against."""

    recipe: str
    model_path: Path
    model_sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    samples: Samples
    expected: Path
    """Tensor folder of the outputs."""
    note: str
    integers: Quantization | None = None
    flexible: tuple[FlexibleAxis, ...] = ()
    bound: Bound | None = None
    """None: the recipe's."""
    held_to: Path | None = None


def bench(
    file: Path,
    device: Device,
    *,
    data: Path | None = None,
    protocol: Protocol = PROTOCOLS["quick"],
    settings: Settings = Settings(),  # noqa: B008 (frozen)
    threads: int | None = None,
    cores: str | None = None,
    progress: Progress,
) -> Deployment:
    """Measure one file on a device and keep the Run in the store.

    Raises:
        InputError: no such file, not one that runs, or the device does not run its format.
        DeviceError: the device could not be reached.
    """
    started = time.monotonic()
    fmt = format_of(file)
    sha256 = sha256_tree(file)
    found = lineage_of(file, sha256)
    if found is not None and found.model.path.exists():  # else it is compared with itself, on any inputs
        refuse_uncalibrated(found, data)
    settings = settings_for(device, settings, threads, cores)
    progress(f"connecting to {device.address}", None)
    with connect(device.address) as transport, Bench.open(transport, device, settings, verb="bench") as opened:
        protocol = protocol_for(opened, protocol)
        profile = device.profile or match_profile(opened.told.identity)
        lacking = opened.platform.description.lacking(opened.told.machine, fmt.name)
        if lacking:
            raise InputError(f"{device.name}: {lacking}")
        if not runs(fmt.name, profile):
            raise InputError(f"{device.name} does not run {fmt.title} files: give one of {', '.join(runs_there(profile))}")
        held = yardstick(file, sha256, fmt, data, progress)
        artifact = Artifact(
            model_sha256=held.model_sha256,
            recipe=held.recipe,
            format=fmt.name,
            path=file.absolute(),
            sha256=sha256,
            size_bytes=size_bytes(file),
            download_bytes=download_bytes(file),
            route=(),
            tools={package: toolchain(fmt.toolchain).version(package) or "" for package in fmt.verify_tools},
            parity=None,
            accuracy=None,
            notes=(held.note, *([f"measured at its default size, {size_text(held.inputs)}"] if held.flexible else [])),
            flexible=held.flexible,
        )
        subject = Subject(
            path=artifact.path,
            sha256=sha256,
            format=fmt.name,
            recipe=held.recipe,
            inputs=held.inputs,
            outputs=held.outputs,
            samples=held.samples.evaluation,
            reference=held.expected,
            labels=held.samples.labels,
            bound=held.bound,
            held_to=held.held_to,
        )
        subject = with_integers(subject, held.integers, progress)
        begun = new_run(held.model_path, held.model_sha256, device, profile, opened)
        with open_store() as store:
            store.begin(begun)
            variant = Variant(held.recipe, fmt.name, "ok", None, artifact, None)
            done = measured(opened, store, begun, [Plan(variant, subject)], profile, protocol, settings, progress)
            finished = replace(begun, variants=done.variants)  # there was nothing to choose from
            store.finish(finished, whole=done.whole)
        return Deployment(finished, opened.pushed_bytes, time.monotonic() - started, opened.agent_s, opened.waited_s, done.whole)


def format_of(file: Path) -> Format:
    """The format of a file, by its suffix.

    Raises:
        InputError: nothing there, or no format of that suffix.
    """
    if not file.exists():
        raise InputError(f"there is no file {file}: check the path")
    for fmt in formats().values():
        if file.suffix == fmt.suffix:
            return fmt
    raise InputError(f"{file} has no suffix of a format: give a file that ends in {', '.join(fmt.suffix for fmt in formats().values())}")


def yardstick(file: Path, sha256: str, fmt: Format, data: Path | None, progress: Progress) -> Yardstick:
    """The source model's outputs where the file's lineage leads to it, else the file's own on this machine."""
    found = lineage_of(file, sha256)
    if found is not None and found.model.path.exists():
        shapes: Shapes = {spec["name"]: spec["shape"] for spec in json.loads(lineage_path(file).read_text())["inputs"]}
        model = open_model(found.model.path, shapes, progress)
        if model.sha256 == found.model.sha256:
            samples = prepare_for(model.inputs, model.hub, data, False, progress)
            expected = reference(model, samples, progress)
            note = f"compared with {expected.runtime} on {samples.origin}"
            how = found.artifact.quantization
            ends = None if how is None else from_json(Quantization, how)
            made = found.artifact
            bound = held_to = None
            if made.compression is not None:  # it need not be near its source model; it was right when it was made, and has to be so there
                bound = BOUNDS[made.compression.numbers]
                held_to = verify(file, fmt, made.compression.numbers, model, samples, expected, progress, how, made.layout).outputs
                note = f"held to its own outputs on this machine, for its network is not its model's; {note}"
            yours = (model.path, model.sha256, model.inputs, model.outputs, samples, expected.folder, note, ends, made.flexible)
            return Yardstick(made.recipe, *yours, bound=bound, held_to=held_to)
    described = ReadResult.model_validate(run(Job(fmt.toolchain, DESCRIBE, {"artifact": file, **fmt.runner_inputs}, {"format": fmt.name}), progress).result)
    inputs, outputs = (tuple(tensor_spec(spec) for spec in specs) for specs in (described.inputs, described.outputs))
    samples = prepare_for(inputs, None, data, False, progress)
    options: dict[str, Any] = {"format": fmt.name, "inputs": spec_json(inputs), "outputs": spec_json(outputs)}
    outcome = run(Job(fmt.toolchain, EVALUATE, {"artifact": file, "samples": samples.evaluation, **fmt.runner_inputs}, options), progress)
    note = f"compared with this file's own outputs on this machine, for its source model is not known, on {samples.origin}"
    return Yardstick(UNKNOWN_RECIPE, file.absolute(), sha256, inputs, outputs, samples, outcome.folder, note, bound=BOUNDS["w8a8"])


def lineage_of(file: Path, sha256: str) -> Lineage | None:
    """The lineage beside a file, if there is one and it is about these bytes."""
    try:
        found = Lineage.model_validate_json(lineage_path(file).read_text())
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
    return found if found.artifact.sha256 == sha256 else None


def refuse_uncalibrated(lineage: Lineage | None, data: Path | None) -> None:
    """Refuse to hold a file with calibrated activations against its model on random inputs: they lie outside of the ranges that it has.

    Raises:
        InputError: no data is given, and the lineage tells of a calibrated recipe.
    """
    if data is None and lineage is not None and numbers_of(lineage.artifact) in CALIBRATED:
        name, of = lineage.artifact.path.name, lineage.samples.file
        raise InputError(f"{name} was calibrated on {of}, and random inputs lie outside of what it knows: give that data with --data")


def numbers_of(made: Made) -> str:
    """The recipe whose bounds a file keeps."""
    return made.recipe if made.compression is None else made.compression.numbers


def size_text(inputs: Sequence[TensorSpec]) -> str:
    """`x=1x3x224x224`."""
    return " ".join(f"{spec.name}={'x'.join(map(str, spec.shape))}" for spec in inputs)
