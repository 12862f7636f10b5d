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
    n_training: int
    origin: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The source framework's outputs on the evaluation samples: what every file is compared with."""

    folder: Path
    runtime: str
    """Such as `tensorflow 2.21.0`."""


def prepare(model: Model, data: Path | None, need_calibration: bool, progress: Progress, *, training: bool = False, train: Path | None = None) -> Samples:
    """Samples for a model: see `prepare_for`."""
    return prepare_for(model.inputs, model.hub, data, need_calibration, progress, outputs=model.outputs, training=training, train=train)


def prepare_for(
    inputs: Sequence[TensorSpec],
    hub: Path | None,
    data: Path | None,
    need_calibration: bool,
    progress: Progress,
    *,
    outputs: Sequence[TensorSpec] = (),
    training: bool = False,
    train: Path | None = None,
) -> Samples:
    """Read and split the user's data, or make seeded random inputs for parity.

    Args:
        hub: bounds random indices by the tables that they look up.
        data: `.npz` (arrays named as the model's inputs, optional `labels`) or `.npy` (models of one input), or None.
        need_calibration: whether a recipe quantizes activations.
        outputs: what labels have to fit.
        training: whether a recipe is tuned: out of `train`, else out of a part of `data` that nothing else uses.
        train: as `data`; where it is the only file, or the same one, it serves all ends.

    Raises:
        InputError: wrong names, shapes or dtypes, NaN, empty, labels that do not fit, or too few samples.
    """
    if train is not None and (data is None or data.resolve() == train.resolve()):
        data, train = train, None
    for file in filter(None, (data, train)):
        if not file.is_file():
            what = "a folder, and folders of images are not supported by this version" if file.is_dir() else "not there"
            raise InputError(f"the data {file} is {what}: give a .npz or .npy file")
    files = {"data": data} if data is not None else {"hub": hub} if hub is not None else {}
    options = {
        "inputs": spec_json(inputs),
        "outputs": spec_json(outputs),
        "need_calibration": need_calibration and data is not None,
        "need_training": training,
        "max_evaluation": MAX_LABELLED,
        "max_unlabelled": MAX_UNLABELLED,
        "seed": SEED,
    }
    outcome = run(Job("convert", "samples", {**files, **({"train": train} if train is not None else {})}, options), progress)
    found = SamplesResult.model_validate(outcome.result)
    labels, training_labels = (path if path.exists() else None for path in (outcome.folder / "labels.npy", outcome.folder / "training_labels.npy"))
    return Samples(
        calibration=outcome.folder / "calibration" if found.n_calibration else None,
        evaluation=outcome.folder / "evaluation",
        labels=labels,
        n_calibration=found.n_calibration,
        n_evaluation=found.n_evaluation,
        origin=found.origin,
        training=outcome.folder / "training" if found.n_training else None,
        training_labels=training_labels,
        n_training=found.n_training,
    )


def reference(model: Model, samples: Samples, progress: Progress) -> Reference:
    """Run the model in its own framework on the evaluation samples."""
    source = source_of(model)
    inputs = {"model": model.path, "samples": samples.evaluation, **source.other_files(model.path)}
    options = {"inputs": spec_json(model.inputs), "outputs": spec_json(model.outputs)}
    outcome = run(Job(source.toolchain, source.reference_verb, inputs, options), progress)
    return Reference(outcome.folder, f"{outcome.result['runtime']} {outcome.result['version']}")
