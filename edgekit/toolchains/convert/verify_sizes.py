"""A flexible artifact, samples and the source model's outputs at several sizes in, what is wrong at one of them out.

One session is resized back and forth: to each size, back to the default, and once more to each: what a delegate keeps from one size must
not be seen at another.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.hub import bounds, parity
from edgekit.toolchains.convert.runtime.runners import Array, CannotRunError, Runner, load_runtime
from edgekit.toolchains.convert.verify import opened

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def warm(format_: str) -> None:
    """Load the runtime of a format before there is a file."""
    load_runtime(format_)


def run(job: Job) -> dict[str, Any]:
    """`artifact`, `samples` and `reference` (a folder for each size, the default first) with `format`, `recipe`, `inputs`, `outputs` (specs)
    and `sizes` (a text for each) → `wrong`: a sentence, or None."""
    options, inputs = job.options, job.inputs
    default, *others = [(inputs["samples"] / str(i), inputs["reference"] / str(i), text) for i, text in enumerate(options["sizes"])]
    order = [each for other in others for each in (other, default)] + others
    try:
        runner = opened(inputs, options)
        for position, (samples, reference, text) in enumerate(order):
            job.progress(f"running the file at {text}", position / len(order))
            if words := wrong(runner, samples, reference, options, job.out / str(position)):
                return {"wrong": f"at {text}, {words}"}
    except CannotRunError as exc:
        return {"wrong": f"at {text}, it does not run: {exc}"}
    return {"wrong": None}


def wrong(runner: Runner, samples: Path, reference: Path, options: dict[str, Any], out: Path) -> str | None:
    """What is wrong with the outputs at one size."""
    out.mkdir()
    feeds = [np.load(samples / f"{index}.npy", mmap_mode="r") for index in range(len(options["inputs"]))]
    expected = [np.load(reference / f"{index}.npy", mmap_mode="r") for index in range(len(options["outputs"]))]
    rows = [runner.run([in_dtype(array[index], spec["dtype"]) for array, spec in zip(feeds, runner.inputs, strict=True)]) for index in range(len(feeds[0]))]
    for index, (wanted, spec) in enumerate(zip(expected, options["outputs"], strict=True)):
        made = np.stack([row[index] for row in rows])
        if made.shape != wanted.shape:
            return f"output {spec['name']!r} has the shape {list(made.shape[1:])}, and the model's {list(wanted.shape[1:])}"
        np.save(out / f"{index}.npy", made.astype(spec["dtype"]))
    return bounds.judge(parity.compare(reference, out, len(expected)), options["recipe"])


def in_dtype(array: Array, dtype: str) -> Array:
    return np.ascontiguousarray(array).astype(dtype)
