"""An artifact, samples and the source model's outputs in; the artifact's outputs, their parity and accuracy out.

All samples go through one session, with the delegate that will run on a device: a file that is right once and wrong after is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.hub import bounds, parity
from edgekit.toolchains.convert.runtime.departure import compare, first_departure, plain_figures
from edgekit.toolchains.convert.runtime.runners import Array, CannotRunError, OnnxRuntime, Runner, Spec, load_runtime, open_runner
from edgekit.toolchains.convert.runtime.trace import trace

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def warm(format_: str) -> None:
    """Load the runtime of a format before there is a file; `format_` is its name, or the path of a plug-in's runner."""
    load_runtime(format_)


def run(job: Job) -> dict[str, Any]:
    """`artifact`, `samples`, `reference`, `hub`, `labels`?, `runner`?, `source`? → `out/outputs/*.npy`.

    Options: `format`, `recipe`, `inputs`, `outputs`, `bounds`?, `dtypes`?, `quantization`?, `layout`?.
    `runner` is a plug-in's file; `dtypes` says which dtypes of the model the format's boundary has others for, `quantization`? what integers at a
    file's ends stand for, `layout`? in what order of axes they are. The file has to agree with `reference`; where that is of a compressed hub, `source`
    has the outputs that the model itself gave: `parity` and `accuracy` are then against those, and `agreement` is against `reference`.
    Refuses a file that its runtime does not load or run, and one whose inputs or outputs cannot hold the samples.
    """
    options, inputs = job.options, job.inputs
    outputs = job.out / "outputs"
    outputs.mkdir()
    name = inputs["artifact"].name
    try:
        job.progress("loading the file")
        runner = opened(inputs, options)
        if problem := misfit(runner, options["inputs"], options["outputs"]):
            job.refuse(f"{name} cannot be compared with its model: {problem}")
        run_all(job, runner, outputs)
        figures = parity.compare(inputs["reference"], outputs, len(options["outputs"]))
        told = parity.compare(inputs["source"], outputs, len(options["outputs"])) if "source" in inputs else figures
        bound = bounds.Bound(**options["bounds"]) if options.get("bounds") else bounds.BOUNDS[options["recipe"]]
        wrong = None
        if bounds.judge(figures, options["recipe"], bound):
            job.progress("looking for the first tensor that is wrong")
            wrong = search(job, runner, outputs, bound)
    except CannotRunError as exc:
        job.refuse(f"{name} does not run: {exc}; choose another recipe or format, or report the model")
    except parity.NothingToCompareError as exc:
        job.refuse(f"{name} cannot be compared with its model: {exc}; give other samples with --data")
    return {
        "parity": told,
        "agreement": figures if "source" in inputs else None,
        "accuracy": accuracy(inputs, outputs) if "labels" in inputs else None,
        "boundary": difference(runner, *(carried(options[kind], options.get("dtypes", {})) for kind in ("inputs", "outputs"))),
        "delegate": runner.delegate,
        "first_wrong": wrong,
    }


def opened(inputs: Mapping[str, Path], options: Mapping[str, Any]) -> Runner:
    """The runner of `artifact`, with the model's own dtypes and order of axes at its ends.

    Raises:
        CannotRunError: the runtime refuses the file.
    """
    runner = open_runner(inputs["artifact"], options["format"], inputs.get("runner"))
    if options.get("quantization"):
        from edgekit.toolchains.convert.runtime.integer_io import FloatBoundary

        runner = FloatBoundary(runner, options["quantization"])
    if options.get("layout"):
        from edgekit.toolchains.convert.runtime.turned_io import ModelOrder

        runner = ModelOrder(runner, options["layout"])
    return runner


def run_all(job: Job, runner: Runner, outputs: Path) -> None:
    """Run every sample through one runner and write the outputs as they come, in the model's own shapes and dtypes."""
    wanted = job.options["outputs"]
    n = samples(job, 0).shape[0] if job.options["inputs"] else 1
    shapes = [(n, *spec["shape"]) for spec in wanted]
    files = [np.lib.format.open_memmap(outputs / f"{i}.npy", "w+", spec["dtype"], shapes[i]) for i, spec in enumerate(wanted)]
    for index, feeds in enumerate(feeds_of(job, runner, n)):
        for file, spec, values in zip(files, wanted, runner.run(feeds), strict=True):
            file[index] = values.reshape(spec["shape"])
        if index % max(1, n // 50) == 0:
            job.progress("running the file", (index + 1) / n)
    for file in files:
        file.flush()


def feeds_of(job: Job, runner: Runner, n: int) -> Iterator[list[Array]]:
    """Sample by sample, the inputs in the dtype and shape that the file takes."""
    arrays = [samples(job, i) for i in range(len(runner.inputs))]
    for index in range(n):
        yield [np.asarray(a[index]).astype(spec["dtype"]).reshape(spec["shape"]) for a, spec in zip(arrays, runner.inputs, strict=True)]


def samples(job: Job, index: int) -> Array:
    """Input `index` of all samples, mapped from the disk."""
    return np.asarray(np.load(job.inputs["samples"] / f"{index}.npy", mmap_mode="r", allow_pickle=False))


def misfit(runner: Runner, inputs: list[Spec], outputs: list[Spec]) -> str | None:
    """Why samples or outputs do not fit the file at all: not as many tensors, or not as many values in one."""
    for kind, have, want in (("input", runner.inputs, inputs), ("output", runner.outputs, outputs)):
        if len(have) != len(want):
            return f"it has {len(have)} {kind}s, the model has {len(want)}"
        for a, b in zip(have, want, strict=True):
            if np.prod(a["shape"], dtype=np.int64) != np.prod(b["shape"], dtype=np.int64):
                return f"its {kind} {a['name']!r} has the shape {a['shape']}, the model's {b['name']!r} {b['shape']}"
    return None


def carried(specs: list[Spec], dtypes: dict[str, str]) -> list[Spec]:
    """The model's boundary as the format can carry it."""
    return [{**spec, "dtype": dtypes.get(spec["dtype"], spec["dtype"])} for spec in specs]


def difference(runner: Runner, inputs: list[Spec], outputs: list[Spec]) -> str | None:
    """The first way in which the file's boundary is not the model's: names, order, dtypes, shapes."""
    for kind, have, want in (("input", runner.inputs, inputs), ("output", runner.outputs, outputs)):
        for index, (a, b) in enumerate(zip(have, want, strict=True)):
            if a != b:
                return f"{kind} {index} is {written(a)} in the file and {written(b)} in the model"
    return None


def written(spec: Spec) -> str:
    return f"{spec['name']!r} {spec['dtype']} {list(spec['shape'])}"


def accuracy(inputs: Mapping[str, Path], outputs: Path) -> dict[str, Any] | None:
    """top-1 of the file, of the source model as `baseline`, and of a compressed `network`, on the same samples; None where the outputs are no scores."""
    labels, reference = inputs["labels"], inputs["reference"]
    try:
        value, held = parity.top1_accuracy(outputs, labels), parity.top1_accuracy(reference, labels)
        baseline = parity.top1_accuracy(inputs["source"], labels) if "source" in inputs else held
    except parity.NothingToCompareError:
        return None
    network = held if "source" in inputs else None
    return {"metric": "top1", "value": value, "baseline": baseline, "n": int(np.load(labels, mmap_mode="r").shape[0]), "network": network}


def search(job: Job, runner: Runner, outputs: Path, bound: bounds.Bound) -> dict[str, Any] | None:
    """`tensor`, `op`, `node` of the first wrong tensor, on the sample whose outputs are the farthest off; None where it cannot be told."""
    feeds = worst(job, runner, outputs)
    floor = bounds.floor_db(bound)
    try:
        hub = OnnxRuntime(job.inputs["hub"])
        rows = compare(trace(hub, feeds), trace(runner, feeds), floor)
        near = [plain_figures(a, b.reshape(-1))[0] for a, b in zip(hub.run(feeds), runner.run(feeds), strict=True)]
    except CannotRunError:
        return None
    first = first_departure(rows, min(near) < floor, runner.delegate)
    return {"tensor": first.tensor, "op": first.op, "node": first.node} if first else None


def worst(job: Job, runner: Runner, outputs: Path) -> list[Array]:
    """The feeds of the sample with the largest error."""
    n = samples(job, 0).shape[0] if job.options["inputs"] else 1
    errors = np.zeros(n)
    for i in range(len(job.options["outputs"])):
        expected, found = parity.open_tensor(job.inputs["reference"], i), parity.open_tensor(outputs, i)
        for index in range(n):
            error = np.abs(np.asarray(expected[index], np.float64) - np.asarray(found[index], np.float64))
            errors[index] = max(errors[index], np.max(np.nan_to_num(error, nan=np.inf), initial=0))
    chosen = int(errors.argmax())
    return next(feeds for index, feeds in enumerate(feeds_of(job, runner, n)) if index == chosen)
