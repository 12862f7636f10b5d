"""A data file and a Model in, Samples and the source model's own outputs out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgekit.errors import InputError
from edgekit.model import source_of, spec_json
from edgekit.records import Model, Samples, TensorSpec
from edgekit.toolchains.jobs import Job, Progress, run

SEED = 0
MAX_LABELLED = 2000
MAX_UNLABELLED = 16
"""Evaluation samples at the most: with labels for the metric, without for parity alone."""


class SamplesResult(BaseModel):
    """What convert/samples gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n_calibration: int
    n_evaluation: int
    origin: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The source framework's outputs on the evaluation samples: what every file is compared with."""

    folder: Path
    runtime: str
    """Such as `tensorflow 2.21.0`."""


def prepare(model: Model, data: Path | None, need_calibration: bool, progress: Progress) -> Samples:
    """Samples for a model: see `prepare_for`."""
    return prepare_for(model.inputs, model.hub, data, need_calibration, progress)


def prepare_for(inputs: Sequence[TensorSpec], hub: Path | None, data: Path | None, need_calibration: bool, progress: Progress) -> Samples:
    """Read and split the user's data, or make seeded random inputs for parity.

    Args:
        hub: bounds random indices by the tables that they look up.
        data: `.npz` (arrays named as the model's inputs, optional `labels`) or `.npy` (models of one input), or None.
        need_calibration: whether a recipe quantizes activations.

    Raises:
        InputError: wrong names, shapes or dtypes, NaN, empty, or too few samples.
    """
    if data is not None and not data.is_file():
        what = "a folder, and folders of images are not supported by this version" if data.is_dir() else "not there"
        raise InputError(f"the data {data} is {what}: give a .npz or .npy file")
    files = {"data": data} if data is not None else {"hub": hub} if hub is not None else {}
    options = {
        "inputs": spec_json(inputs),
        "need_calibration": need_calibration and data is not None,
        "max_evaluation": MAX_LABELLED,
        "max_unlabelled": MAX_UNLABELLED,
        "seed": SEED,
    }
    outcome = run(Job("convert", "samples", files, options), progress)
    found = SamplesResult.model_validate(outcome.result)
    labels = outcome.folder / "labels.npy"
    return Samples(
        calibration=outcome.folder / "calibration" if found.n_calibration else None,
        evaluation=outcome.folder / "evaluation",
        labels=labels if labels.exists() else None,
        n_calibration=found.n_calibration,
        n_evaluation=found.n_evaluation,
        origin=found.origin,
    )


def reference(model: Model, samples: Samples, progress: Progress) -> Reference:
    """Run the model in its own framework on the evaluation samples."""
    source = source_of(model)
    inputs = {"model": model.path, "samples": samples.evaluation, **source.other_files(model.path)}
    options = {"inputs": spec_json(model.inputs), "outputs": spec_json(model.outputs)}
    outcome = run(Job(source.toolchain, source.reference_verb, inputs, options), progress)
    return Reference(outcome.folder, f"{outcome.result['runtime']} {outcome.result['version']}")
