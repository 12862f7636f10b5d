"""The user's own .tflite file and samples in, its outputs by LiteRT out."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.hub.sets import sets
from edgekit.toolchains.convert.from_tflite.model import named

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """`model` (.tflite), `samples` (tensor folder, or one of several) → `out/*.npy`, one array [n, *shape] for each output; `runtime`, `version`.

    One interpreter (for each size) with LiteRT's own delegate (XNNPACK) on one thread runs sample by sample, as a device does.
    """
    from ai_edge_litert.interpreter import Interpreter

    names = [spec["name"] for spec in job.options["inputs"]]
    try:
        for folder, out in sets(job.inputs["samples"], job.out):
            samples = [np.load(folder / f"{index}.npy", mmap_mode="r") for index in range(len(names))]
            n = len(samples[0]) if samples else 1
            rows: list[list[Any]] = []
            interpreter = Interpreter(str(job.inputs["model"]), num_threads=1)
            inputs = named(interpreter, "inputs")
            wanted = list(named(interpreter, "outputs").values())
            for name, array in zip(names, samples, strict=True):
                interpreter.resize_tensor_input(inputs[name], array.shape[1:])
            interpreter.allocate_tensors()
            for index in range(n):
                for name, array in zip(names, samples, strict=True):
                    interpreter.set_tensor(inputs[name], np.asarray(array[index]))
                interpreter.invoke()
                rows.append([interpreter.get_tensor(tensor) for tensor in wanted])
                job.progress("running the source model", (index + 1) / n)
            for position, column in enumerate(zip(*rows, strict=True)):
                np.save(out / f"{position}.npy", np.stack(column))
    except (RuntimeError, ValueError) as exc:
        job.refuse(f"the model does not run in LiteRT ({' '.join(str(exc).split())[:300]}): check that it is whole and that --shape fits it")
    return {"runtime": "ai-edge-litert", "version": version("ai-edge-litert")}
