"""A hub, samples and steps in; out, for each layer and step, how far the outputs go when that layer alone is compressed so."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto

from edgekit.compress import channels
from edgekit.compress.layers import distinct, layers, rows
from edgekit.compress.steps import read_step
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Palette, Spec, integers
from edgekit.hub.graph import Refusal, array
from edgekit.hub.parity import NO_ERROR_DB, is_scores
from edgekit.hub.save import PROTOBUF_BYTES, stored_bytes
from edgekit.toolchains.convert.reference_onnx import ERRORS
from edgekit.toolchains.convert.runtime.runners import CannotRunError

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

Array = np.ndarray[Any, Any]

LEAST, MOST, MACS = 16, 256, 4_000_000_000
"""Samples where none are asked for: as many as take so many MACs each time, within these limits. A few percent of the error is noise of the choice."""


@dataclass(frozen=True, slots=True)
class Found:
    """One layer under one list of steps."""

    layer: int
    """Its place in `layers`."""
    steps: str
    sqnr_db: float | None
    """10·log10(Σ reference² / Σ error²) of the worst output; None where it was refused, or the outputs are no numbers any more."""
    agreement: float | None
    """Share of samples with the same top-1 as before; None where the outputs are no scores."""
    top1: float | None
    """Share of samples with the label on top; None without labels."""
    saved_bytes: int
    """Of the weights, entropy coded as a download is: an estimate."""
    macs: int
    """Multiply-accumulates that are left in the whole network."""
    refused: str | None = None


def run(job: Job) -> dict[str, Any]:
    """`hub`, `samples` (tensor folder), `labels`? with `steps` (recipes of hub steps, such as `prune50+bits8`), `most` samples? → `layers`,
    `found` (see Found), `weights_bytes`, `samples`, `top1` of the hub itself.

    A hub of more than 2 GB is refused: each attempt is a session of its own.
    """
    model = onnx.load(job.inputs["hub"])
    if stored_bytes(model) > PROTOBUF_BYTES // 2:
        job.refuse("the model's weights take more than 1 GB, which is more than sensitivity can try layer by layer: give a smaller model", kind="input")
    there = [layer for layer in distinct(layers(model)) if not layer.is_table]
    if not there:
        job.refuse("the model has no layer with weights, so there is nothing to compress: give a trained network", kind="input")
    trial = Trial(model, job)
    found: list[Found] = []
    for place, layer in enumerate(there):
        others = frozenset(one.weight for one in there if one is not layer)
        for number, steps in enumerate(job.options["steps"]):
            job.progress(f"{layer.name} {steps}", (place + number / len(job.options["steps"])) / len(there))
            found.append(trial.judged(place, layer.weight, steps, others))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    told = [{"name": one.name, "weight": one.weight, "kind": one.kind, "parameters": int(np.prod(weights[one.weight].dims)), "macs": one.macs} for one in there]
    return {"layers": told, "found": [asdict(one) for one in found], "weights_bytes": sum(trial.bytes.values()), "samples": trial.n, "top1": trial.top1}


class Trial:
    """The hub's own outputs on the samples; each attempt is compared with them."""

    def __init__(self, model: ModelProto, job: Job) -> None:
        self.model = model
        arrays = [np.load(job.inputs["samples"] / f"{index}.npy", mmap_mode="r", allow_pickle=False) for index in range(len(model.graph.input))]
        most = job.options["most"] or min(max(MACS // max(sum(one.macs for one in layers(model)), 1), LEAST), MOST)
        self.n = min(int(most), *(len(one) for one in arrays)) if arrays else 1
        names = [value.name for value in model.graph.input]
        self.feeds = [{name: np.asarray(one[index]) for name, one in zip(names, arrays, strict=True)} for index in range(self.n)]
        try:
            self.expected = self.outputs(model)
        except CannotRunError as exc:
            job.refuse(f"the model does not run: {exc}")
        self.labels = np.load(job.inputs["labels"], allow_pickle=False)[: self.n] if "labels" in job.inputs else None
        self.scores = is_scores(self.expected[0])
        self.top1 = self.hits(self.expected)
        self.bytes = {tensor.name: coded_bytes(tensor, Spec()) for tensor in weights_of(model)}

    def judged(self, place: int, weight: str, steps: str, others: frozenset[str]) -> Found:
        """Compress one layer and run the whole."""
        changed, spec = ModelProto(), Spec()
        changed.CopyFrom(self.model)
        try:
            for text in steps.split("+"):
                compress_alone(changed, spec, text, weight, others)
            outputs = self.outputs(changed)
        except (Refusal, CannotRunError) as exc:
            return Found(place, steps, None, None, None, 0, 0, str(exc))
        saved = sum(self.bytes.values()) - sum(self.coded(changed, spec))
        macs = sum(one.macs for one in layers(changed))
        return Found(place, steps, worst_db(self.expected, outputs), self.agreement(outputs), self.hits(outputs), saved, macs)

    def coded(self, changed: ModelProto, spec: Spec) -> Iterator[int]:
        """Bytes of each tensor; those that did not change are known."""
        before = {tensor.name: tensor.raw_data for tensor in self.model.graph.initializer}
        for tensor in weights_of(changed):
            same = tensor.name not in spec.tensors and before.get(tensor.name) == tensor.raw_data
            yield self.bytes[tensor.name] if same else coded_bytes(tensor, spec)

    def outputs(self, model: ModelProto) -> list[Array]:
        """One array [n, *shape] for each output."""
        session = open_session(model)
        try:
            rows = [session.run(None, feed) for feed in self.feeds]
        except ERRORS as exc:
            raise CannotRunError(" ".join(str(exc).split())[:300]) from exc
        return [np.stack([np.asarray(row[index]) for row in rows]) for index in range(len(rows[0]))]

    def agreement(self, outputs: list[Array]) -> float | None:
        """Share of samples with the same top-1 as before."""
        return float(np.mean(places(self.expected[0]) == places(outputs[0]))) if self.scores else None

    def hits(self, outputs: list[Array]) -> float | None:
        """Share of samples with the label on top."""
        return float(np.mean(places(outputs[0]) == self.labels)) if self.labels is not None and self.scores else None


def compress_alone(model: ModelProto, spec: Spec, text: str, weight: str, others: frozenset[str]) -> None:
    """One step for one layer; channels go with all that is tied to them, in other layers too."""
    step = read_step(text)
    assert step is not None, text
    if step.technique.name == "channels":
        channels.remove(model, spec, channels.fraction(step.strength), Wish(per_layer=True), only=weight)
        return
    wish = Wish(per_layer=True, overrides={weight: step.strength}, skip=others)
    importlib.import_module(f"edgekit.compress.{step.technique.name}").apply(model, spec, step.strength, wish)


def open_session(model: ModelProto) -> Any:
    """ONNX Runtime on one thread, its graph left as it is: it is run a few times only."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except ERRORS as exc:
        raise CannotRunError(" ".join(str(exc).split())[:300]) from exc


def places(scores: Array) -> Array:
    """[n, …, classes] → [n], the place of the largest score."""
    return np.asarray(scores.reshape(len(scores), -1).argmax(axis=1))


def worst_db(expected: list[Array], found: list[Array]) -> float | None:
    """SQNR of the worst output over all samples; None where some value is no number."""
    worst = NO_ERROR_DB
    for a, b in zip(expected, found, strict=True):
        a, b = a.astype(np.float64), b.astype(np.float64)
        known = np.isfinite(a)
        if not np.isfinite(b[known]).all():
            return None
        error, power = float(np.sum((a - b)[known] ** 2)), float(np.sum(a[known] ** 2))
        if error > 0:
            worst = min(worst, 10 * float(np.log10(power / error)) if power > 0 else -NO_ERROR_DB)
    return worst


def weights_of(model: ModelProto) -> Iterator[TensorProto]:
    """The initializers that count as weights: floats with an axis."""
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    return (tensor for tensor in model.graph.initializer if tensor.data_type in kinds and len(tensor.dims) > 0)


def coded_bytes(tensor: TensorProto, spec: Spec) -> int:
    """What a tensor takes as its own symbols coded at their entropy (Shannon 1948), which is near to what a deflated file takes.

    Symbols are the integers of a grid or the values of a palette; of plain floats, the ones that are not zero are stored as they are.
    """
    values, held = array(tensor), spec.tensors.get(tensor.name)
    if held is not None and held.grid is not None:
        whole = integers(values, held.grid)
        return entropy_bytes(np.bincount((whole - whole.min()).reshape(-1))) + 4 * len(held.grid.scale)
    if held is not None and held.palette is not None:
        return sum(palette_bytes(one, held.palette.scaled) for one in slices(values, held.palette))
    some = int(np.count_nonzero(values))
    return some * values.itemsize + entropy_bytes(np.array([some, values.size - some]))


def slices(values: Array, palette: Palette) -> Iterator[Array]:
    """The parts of a tensor that have a palette each; one that is a pattern times a scale is coded by its pattern, over the whole tensor."""
    if palette.axis is None or palette.scaled:
        yield values
        return
    flat = rows(values, palette.axis)
    yield from (flat[start : start + palette.group] for start in range(0, len(flat), palette.group))


def palette_bytes(values: Array, scaled: bool) -> int:
    """Which of the palette's values each one is, and the palette; of a pattern its signs, and a scale for each slice."""
    different, counts = np.unique(np.sign(values) if scaled else values, return_counts=True)
    return entropy_bytes(counts) + values.itemsize * (values.shape[0] if scaled else len(different))


def entropy_bytes(counts: Array) -> int:
    """Bytes for symbols that occur so often."""
    counts = counts[counts > 0].astype(np.float64)
    return int(np.ceil(float(-(counts * np.log2(counts / counts.sum())).sum()) / 8))
