"""A Keras file or a SavedModel and samples in, its outputs by TensorFlow itself out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.hub.sets import sets
from edgekit.toolchains.tensorflow.source import load, tf

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """`model`, `samples` (tensor folder, or one of several) → `out/*.npy`, one array [n, *shape] for each output; `runtime`, `version`."""
    program = load(job)
    names = [spec["name"] for spec in job.options["inputs"]]
    wanted = [program.outputs.index(spec["name"]) for spec in job.options["outputs"]]
    function = tf.function(lambda *flat: program.call(list(flat)), reduce_retracing=True)
    for folder, out in sets(job.inputs["samples"], job.out):
        samples = dict(zip(names, (np.load(folder / f"{index}.npy") for index in range(len(names))), strict=True))
        n = len(next(iter(samples.values()))) if samples else 1
        outputs = []
        for index in range(n):
            try:
                found = function(*(tf.constant(samples[name][index]) for name in program.inputs))
            except (ValueError, TypeError, tf.errors.OpError) as exc:
                job.refuse(f"the model does not run in TensorFlow ({' '.join(str(exc).split())[:300]}): check that it is whole and that --shape fits it")
            outputs.append([found[position].numpy() for position in wanted])
            job.progress("running the source model", (index + 1) / n)
        for position in range(len(wanted)):
            np.save(out / f"{position}.npy", np.stack([output[position] for output in outputs]))
    return {"runtime": "tensorflow", "version": tf.__version__}
