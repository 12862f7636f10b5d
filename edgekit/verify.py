"""An artifact's file and the source model's outputs in, parity and accuracy out: judged before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from edgekit.hub.bounds import judge
from edgekit.model import spec_json
from edgekit.records import Accuracy, Model, Parity, Samples
from edgekit.samples import Reference
from edgekit.toolchains.jobs import Job, Progress, run
from edgekit.toolchains.workers import VERIFY
from edgekit.write.format import Format


class ParityResult(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    max_abs: float
    max_rel: float
    cosine: float
    sqnr_db: float
    top1_agreement: float | None
    has_nan: bool
    all_zero: bool
    n: int


class AccuracyResult(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    metric: str
    value: float
    baseline: float
    n: int
    network: float | None


class VerifyResult(BaseModel):
    """What convert/verify gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    parity: ParityResult
    agreement: ParityResult | None
    accuracy: AccuracyResult | None
    boundary: str | None
    delegate: str
    first_wrong: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What checking one file on this machine found; `wrong` is one sentence, or None if the file is right."""

    parity: Parity
    accuracy: Accuracy | None
    delegate: str
    wrong: str | None
    outputs: Path
    """The file's outputs on this machine, as a folder of tensors."""
    agreement: Parity | None = None
    """With the compressed network that the file is of; `parity` is with the source model."""


def verify(
    file: Path,
    fmt: Format,
    recipe: str,
    model: Model,
    samples: Samples,
    reference: Reference,
    progress: Progress,
    quantization: Mapping[str, Any] | None = None,
    layout: Mapping[str, Any] | None = None,
    source: Reference | None = None,
) -> Verdict:
    """Run a file on this machine on all evaluation samples and compare with the source's own outputs.

    Args:
        recipe: whose bounds the outputs have to keep against the reference.
        source: the model's own outputs, where `reference` has those of the compressed network that the file is of.
        quantization: scale, zero point and dtype of `inputs` and `outputs` that are integers in the file.
        layout: the model's axes in the file's order, of `inputs` and `outputs`, where any is not the model's.

    Raises:
        ConvertError: the runtime could not load or run the file.
    """
    inputs = {"artifact": file, "samples": samples.evaluation, "reference": reference.folder, "hub": model.hub, **fmt.runner_inputs}
    if source is not None:
        inputs["source"] = source.folder
    if samples.labels is not None:
        inputs["labels"] = samples.labels
    options: dict[str, Any] = {
        "format": fmt.name,
        "recipe": recipe,
        "inputs": spec_json(model.inputs),
        "outputs": spec_json(model.outputs),
        "dtypes": dict(fmt.dtypes),
    }
    options |= ends(quantization, layout)
    outcome = run(Job(fmt.toolchain, VERIFY, inputs, options), progress)
    found = VerifyResult.model_validate(outcome.result)
    parity = Parity(**found.parity.model_dump())
    accuracy = Accuracy(**found.accuracy.model_dump()) if found.accuracy else None
    agreement = Parity(**found.agreement.model_dump()) if found.agreement else None
    return Verdict(parity, accuracy, found.delegate, wrong(found, recipe), outcome.folder / "outputs", agreement)


def ends(quantization: Mapping[str, Any] | None, layout: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a worker has to know of a file whose inputs and outputs are not the model's own."""
    found: dict[str, Any] = {}
    if quantization is not None:
        found["quantization"] = dict(quantization)
    if layout is not None and any(order != sorted(order) for side in ("inputs", "outputs") for order in layout[side]):
        found["layout"] = {side: layout[side] for side in ("inputs", "outputs")}
    return found


def wrong(found: VerifyResult, recipe: str) -> str | None:
    """What is wrong with a file, in one sentence, or None."""
    if found.boundary is not None:
        return found.boundary
    words = judge((found.agreement or found.parity).model_dump(), recipe)
    if words is not None and found.agreement is not None:
        words = words.replace("the source model's", "the compressed model's")
    if words is None or found.first_wrong is None:
        return words
    where = ", ".join(f"{key} {value}" for key, value in found.first_wrong.items())
    return f"{words}; first wrong: {where}"
