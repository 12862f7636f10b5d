"""A hub as compressed so far, the original model and training samples in; the hub fine-tuned, with all that compression made of it still holding, out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import torch
from onnx import ModelProto

from edgekit.hub.compressed import NAME, Spec, Tensor, load_spec
from edgekit.hub.figures import figures
from edgekit.hub.graph import Refusal, output_names
from edgekit.hub.save import save
from edgekit.toolchains.torch.tuning import defaults
from edgekit.toolchains.torch.tuning.constraints import Bits, Constrained, bits_of
from edgekit.toolchains.torch.tuning.loop import Loop, out_of_memory
from edgekit.toolchains.torch.tuning.losses import Loss, features, heads, variance
from edgekit.toolchains.torch.tuning.samples import Samples, divide, read
from edgekit.toolchains.torch.tuning.sites import sites
from edgekit.toolchains.torch.tuning.student import Student, weighed
from edgekit.toolchains.torch.tuning.teacher import Teacher
from edgekit.toolchains.torch.twin import Twin

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

NO_ROOM = "memory ran out in tuning, even with one sample at once: close other programs, use a machine with more memory, or use steps without tune"

SPREAD_SAMPLES = 256
"""From so many the variance of the teacher's tensors is taken."""


def run(job: Job) -> dict[str, Any]:
    """`hub`, `teacher` (.onnx), `spec`? (compress.json), `training` (tensor folder), `labels`? (.npy), `validation`?, `validation_labels`?
    → `out/hub.onnx`, `out/compress.json`.

    Options, all but the first two with defaults: `steps_before` (the steps of the recipe since the last tune), `quant` (null or {"recipe": "w4"}),
    `epochs` or `seconds`, `lr`, `batch`, `seed`, `loss` ({"temperature", "task", "feature", "match"}).

    Returns `notes`, `history` (epoch, loss, validation, metric), `stopped` (why), `metric` (what the metric is). With a folder `kept`, a run that was
    killed goes on where it was, to the same weights.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(int(job.options.get("seed", 0)))
    try:
        return tuned(job)
    except Refusal as refusal:
        job.refuse(str(refusal), kind=refusal.kind, op=refusal.op, node=refusal.node)
    except (MemoryError, RuntimeError) as exc:  # torch's allocator has no error of its own
        if not out_of_memory(exc):
            raise
        job.refuse(NO_ROOM, kind="convert")


def tuned(job: Job) -> dict[str, Any]:
    options = job.options
    hub, teacher_hub, spec = onnx.load(str(job.inputs["hub"])), onnx.load(str(job.inputs["teacher"])), load_spec(job.inputs.get("spec"))
    bits = wanted_bits(options.get("quant"))
    training, validation = samples_of(job, hub)
    job.progress("building the network that is trained", 0.0)
    original, twin = Twin(teacher_hub), Twin(hub)
    student = Student(twin, hub, constraints_of(hub, spec, bits, twin, original))
    if bits is not None and bits.activations is not None:
        student.put_on_grids(sites(hub, student.floating(training)), training, bits.activations)
    teacher = Teacher(original, output_names(teacher_hub.graph))
    loss = loss_of(hub, teacher_hub, teacher, training, options)
    size = figures(hub)
    settings = defaults.settings(options, size["macs"], size["parameters"], len(training), shared=student.shares_values, prunes=student.prunes)
    loop = Loop(student, teacher, loss, training, validation, settings, key(job), job.kept, job.progress, defaults.at_once(hub))
    doubt = loss.doubt(loop.targets, list(validation.batches(loop.chunk)))
    done = loop.run()
    student.write_back(hub, spec)
    stopped = "it was stopped" if done.stopped in done.notes else done.stopped
    notes = [*doubt, *done.notes, told(done.history, done.best_epoch, len(training), len(validation), training.labels is not None, stopped)]
    spec.notes += notes
    save(hub, job.out / "hub.onnx")
    spec.save(job.out / NAME)
    return {"notes": notes, "history": done.history, "stopped": done.stopped, "metric": loss.metric(training.labels is not None)}


def wanted_bits(quant: dict[str, Any] | None) -> Bits | None:
    if quant is None:
        return None
    found = bits_of(quant["recipe"])
    if found is None:
        raise Refusal(f"the numbers of {quant['recipe']!r} are not learned by tuning: put it after tune, or take one of w8 w4 w4b32 w3 w2 w8a8 w4a8")
    return found


def samples_of(job: Job, hub: ModelProto) -> tuple[Samples, Samples]:
    """Training and validation samples: the ones given, or a part of the training samples."""
    stored = {tensor.name for tensor in hub.graph.initializer}
    names = [value.name for value in hub.graph.input if value.name not in stored]
    training = read(job.inputs["training"], names, job.inputs.get("labels"))
    if "validation" in job.inputs:
        return training, read(job.inputs["validation"], names, job.inputs.get("validation_labels"))
    return divide(training, int(job.options.get("seed", 0)))


def constraints_of(hub: ModelProto, spec: Spec, bits: Bits | None, twin: Twin, original: Twin) -> dict[str, Constrained]:
    """Every weight that must hold something, with the original's values to begin with where it has the same weight."""
    found, layers = {}, weighed(hub)
    for name, weight in twin.weights.items():
        held = spec.tensors.get(name, Tensor())
        quantized = bits is not None and name in layers
        if not (held.sparse or held.palette or held.grid or quantized):
            continue
        values = weight.detach().clone()
        before = original.weights.get(name)
        found[name] = Constrained(values, held, bits if quantized else None, layers.get(name), None if before is None else dense(values, before.detach(), held))
    return found


def dense(values: Any, before: Any, held: Tensor) -> Any:
    """The original's weights, where these were made of them by setting some to zero or by sharing values; else None."""
    if before.shape != values.shape or not (held.sparse or held.palette):
        return None
    left = values != 0
    if held.palette is None and not torch.equal(values[left], before[left]):
        return None
    close = float((values - before)[left].square().sum()) < float(before[left].square().sum())
    return before.clone() if close else None


def loss_of(hub: ModelProto, teacher_hub: ModelProto, teacher: Teacher, training: Samples, options: dict[str, Any]) -> Loss:
    """What is made small, with the variances by which its parts are divided."""
    said = {**defaults.LOSS, **(options.get("loss") or {})}
    if training.labels is None and (options.get("loss") or {}).get("task"):
        raise Refusal(f"task = {said['task']:g} is a share of the labels, and the samples have none: give labels, or leave task out")
    found = heads(hub, teacher_hub, training.labels)
    between = features(hub, teacher_hub, said.get("match")) if said["feature"] else ()
    names = tuple(dict.fromkeys([*(head.theirs for head in found), *between]))
    some = teacher(training.rows(torch.arange(min(SPREAD_SAMPLES, len(training)))), names)
    spread = {name: variance(values) for name, values in some.items()}
    return Loss(tuple(found), between, spread, said["temperature"], said["task"], said["feature"])


def told(history: list[dict[str, Any]], best: int, training: int, validation: int, labelled: bool, stopped: str) -> str:
    taught = "the original model and the labels" if labelled else "the original model"
    if best < 0:
        return f"tuned on {training} samples, taught by {taught}: no epoch was better in validation ({validation} samples) than before; {stopped}"
    found = history[best]["metric"]
    metric = "" if found is None else f", {found:.1%} {'right' if labelled else 'as the original'}"
    epoch = f"epoch {best + 1} of {len(history)} was the best in validation ({validation} samples{metric})"
    return f"tuned on {training} samples, taught by {taught}: {epoch}; {stopped}"


def key(job: Job) -> str:
    """What a run is made of: a checkpoint of another one is not gone on with."""
    digest = hashlib.sha256(json.dumps(job.options, sort_keys=True).encode())
    for name, path in sorted(job.inputs.items()):
        digest.update(name.encode())
        for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
            digest.update(contents(part))
    return digest.hexdigest()


def contents(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
