"""A Source and a recipe with steps of the hub in, the compressed network out: each step in turn, the same for all formats, kept as jobs are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from edgekit.errors import ConvertError, InputError
from edgekit.model import open_model, spec_json
from edgekit.recipe import DISTILL, LEFT_ALONE, NUMBERS, WITHOUT, Recipe, hub_step
from edgekit.recipe_rules import TUNE
from edgekit.records import Compression, Model, Samples
from edgekit.records_compression import Counts, Shrunk
from edgekit.samples import Reference
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Job, Outcome, Progress, digests, run
from edgekit.toolchains.workers import script_of
from edgekit.verbs.source import Source
from edgekit.write.wishes import Tuning

TUNING_S = 24 * 3600.0
"""A tuning ends by itself; one that does not within a day never will."""


class CompressResult(BaseModel):
    """What convert/compress gives: figures as (before, after), and what holds of some tensor in the end."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    notes: tuple[str, ...]
    parameters: tuple[int, int]
    nonzero: tuple[int, int]
    macs: tuple[int, int]
    held: frozenset[str]

    def counts(self, which: int) -> Counts:
        return Counts(self.parameters[which], self.nonzero[which], self.macs[which])


class TuneResult(BaseModel):
    """What torch/tune gives, as far as it is needed here."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """A compressed network, in the place of the model's own."""

    model: Model
    """The model, with the compressed hub; its sizes are fixed."""
    spec: Path
    """`compress.json`."""
    held: frozenset[str]
    """What holds of some of its tensors: `sparse`, `palette`, `grid`."""
    reference: Reference
    """Its own outputs on the evaluation samples: what files of it have to give."""
    compression: Compression


@dataclass
class Going:
    """The hub on its way through the steps."""

    hub: Path
    spec: Path | None = None
    done: list[Shrunk] = field(default_factory=list)
    first: Counts | None = None
    last: CompressResult | None = None
    since_tuned: list[str] = field(default_factory=list)

    def take(self, outcome: Outcome) -> CompressResult:
        """Go on with what a worker left."""
        self.last = CompressResult.model_validate(outcome.result)
        self.first = self.first or self.last.counts(0)
        self.hub, self.spec = outcome.folder / "hub.onnx", outcome.folder / "compress.json"
        return self.last


def compress(source: Source, recipe: Recipe, tuning: Tuning, progress: Progress) -> Network:
    """Do the hub's steps of a recipe, tunings among them.

    Raises:
        ConvertError: a step was refused, in its technique's words, or failed.
        InputError: the recipe names a layer that there is not, or the student is no model.
        SetupError: a toolchain is missing.
    """
    if any(axis.asked for axis in source.model.flexible):
        raise ConvertError(f"{recipe.name} changes the network at one size of its inputs: give fixed sizes with --shape")
    going = Going(source.model.hub)
    for step in recipe.steps:
        if step == TUNE:
            tune(source, recipe, tuning, going, progress)
        elif step in NUMBERS:
            going.since_tuned.append(step)
        else:
            one_step(source, recipe, step, tuning, going, progress)
            going.since_tuned.append(step)
    last, first = going.last, going.first
    assert last is not None
    assert first is not None
    assert going.spec is not None
    sha256, *_ = digests(going.hub)
    model = replace(source.model, hub=going.hub, hub_sha256=sha256, flexible=())
    samples = source.samples
    record = Compression(tuple(going.done), first, last.counts(1), bounds_of(recipe), tuning.seed, recipe.layers, recipe.tune)
    if recipe.tunes and samples.training is not None:
        (trained,) = digests(samples.training)
        record = replace(record, training=samples.origin, training_sha256=trained, n_training=samples.n_training)
    return Network(model, going.spec, last.held, outputs_of(model, source, progress), record)


def one_step(source: Source, recipe: Recipe, step: str, tuning: Tuning, going: Going, progress: Progress) -> None:
    """One technique's pass."""
    inputs = {"hub": going.hub, **({"spec": going.spec} if going.spec is not None else {})}
    options: dict[str, Any]
    weighed: tuple[str, ...] = ()
    if step.startswith(DISTILL):
        options = {"technique": "distill", "strength": ""}
        inputs["student"] = open_model(Path(step.removeprefix(DISTILL)), {}, progress).hub
    else:
        read = hub_step(step)
        assert read is not None
        own = [(layer, hub_step(text)) for layer, text in recipe.layers]
        options = {
            "technique": read.technique.name,
            "strength": read.strength,
            "per_layer": recipe.per_layer,
            "overrides": {layer: mine.strength for layer, mine in own if mine is not None and mine.technique == read.technique},
            "skip": [layer for layer, text in recipe.layers if text in (LEFT_ALONE, WITHOUT + read.technique.name)],
            "seed": tuning.seed,
            "known": list(dict(own)) if all(one.step.startswith(DISTILL) for one in going.done) else [],
        }
        inputs |= {} if read.technique.file is None else {"technique": read.technique.file}
        if read.technique.weighs_channels:
            more, weighed = importance(source.samples, tuning.seed, going.hub, progress)
            inputs |= more
    found = going.take(run(Job("convert", "compress", inputs, options), progress))
    going.done.append(Shrunk(step, (*weighed, *found.notes), found.counts(1)))


def importance(samples: Samples, seed: int, hub: Path, progress: Progress) -> tuple[dict[str, Path], tuple[str, ...]]:
    """How much each channel matters on samples, as a further input, and a note; no input where there are none, or the network has no gradients."""
    folder = samples.training or samples.calibration
    if folder is None or not toolchain("torch").installed:
        cures = [*(["give --data"] if folder is None else []), *([] if toolchain("torch").installed else ["install the toolchain torch"])]
        return {}, (f"channels are weighed by their magnitudes: {' and '.join(cures)}, to weigh them by what the outputs lose",)
    try:
        outcome = run(Job("torch", "importance", {"hub": hub, "samples": folder}, {"seed": seed}), progress)
    except (InputError, ConvertError) as exc:
        return {}, (f"channels are weighed by their magnitudes: {exc}",)
    return {"importance": outcome.folder / "importance.npz"}, tuple(outcome.result["notes"])


def tune(source: Source, recipe: Recipe, tuning: Tuning, going: Going, progress: Progress) -> None:
    """Train what stands before it, taught by the model."""
    if not script_of("torch", "tune").exists():
        raise ConvertError("this version of edgekit cannot tune: leave out tune")
    samples = source.samples
    if samples.training is None:
        raise InputError("tune trains on samples: give some with --data or --train")
    inputs = {"hub": going.hub, "teacher": source.model.hub, "training": samples.training}
    inputs |= {"spec": going.spec} if going.spec is not None else {}
    inputs |= {"labels": samples.training_labels} if samples.training_labels is not None else {}
    number = next((step for step in going.since_tuned if step in NUMBERS), None)
    said = dict(recipe.tune)
    loss = {name: value for name, value in said.items() if name not in ("lr", "batch")}
    options = {
        "steps_before": [step for step in going.since_tuned if step not in NUMBERS],
        "quant": None if number is None else {"recipe": number},
        "seed": tuning.seed,
        "epochs": tuning.epochs or recipe.epochs,
        "seconds": tuning.seconds,
        "lr": said.get("lr"),
        "batch": said.get("batch"),
        "loss": loss or None,
    }
    job = Job("torch", "tune", inputs, {name: value for name, value in options.items() if value is not None}, resumes=True)
    try:
        outcome = run(job, progress, deadline_s=TUNING_S)
    except InputError as exc:  # a network that cannot be trained: other recipes of the run can still be made
        raise ConvertError(str(exc)) from exc
    told = TuneResult.model_validate(outcome.result)
    tuned = {"hub": outcome.folder / "hub.onnx", "spec": outcome.folder / "compress.json"}
    found = going.take(run(Job("convert", "compress", tuned, {"technique": None}), progress))
    going.done.append(Shrunk(TUNE if number is None else f"{number}+{TUNE}", told.notes, found.counts(1)))
    going.since_tuned.clear()


def outputs_of(model: Model, source: Source, progress: Progress) -> Reference:
    """The network's own outputs on the evaluation samples, by ONNX Runtime."""
    options = {"inputs": spec_json(model.inputs), "outputs": spec_json(model.outputs)}
    outcome = run(Job("convert", "reference_onnx", {"model": model.hub, "samples": source.samples.evaluation}, options), progress)
    return Reference(outcome.folder, f"{outcome.result['runtime']} {outcome.result['version']}")


def bounds_of(recipe: Recipe) -> str:
    """The recipe whose bounds a file has to keep against the compressed network, whose weights, if learned, are the file's own already."""
    if not recipe.learned:
        return recipe.numbers
    return "w8a8" if "a" in recipe.numbers else "fp16"
