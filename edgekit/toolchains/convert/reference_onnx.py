"""The user's own ONNX model and samples in, its outputs by ONNX Runtime out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from edgekit.hub.sets import sets

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

ERRORS = (ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.InvalidProtobuf, ort.NotImplemented, ort.RuntimeException, RuntimeError, ValueError)
"""ONNX Runtime's exceptions have no base of their own."""


def run(job: Job) -> dict[str, Any]:
    """`model` (.onnx), `samples` (tensor folder, or one of several) → `out/*.npy`, one array [n, *shape] for each output; `runtime`, `version`.

    One session on one thread runs sample by sample, as a device does.
    """
    names = [spec["name"] for spec in job.options["inputs"]]
    wanted = [spec["name"] for spec in job.options["outputs"]]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")  # products with 4-bit weights in float32, as ONNX says, not in int8
    try:
        session = onnxruntime.InferenceSession(str(job.inputs["model"]), options, providers=["CPUExecutionProvider"])
        declared = {value.name for value in session.get_inputs()}
        for folder, out in sets(job.inputs["samples"], job.out):
            samples = [np.load(folder / f"{index}.npy", mmap_mode="r") for index in range(len(names))]
            n = len(samples[0]) if samples else 1
            outputs: list[list[Any]] = []
            for index in range(n):
                feed = {name: array[index] for name, array in zip(names, samples, strict=True) if name in declared}
                outputs.append(session.run(wanted, feed))
                job.progress("running the source model", (index + 1) / n)
            for position in range(len(wanted)):
                np.save(out / f"{position}.npy", np.stack([np.asarray(output[position]) for output in outputs]))
    except ERRORS as exc:
        job.refuse(f"the model does not run in ONNX Runtime ({' '.join(str(exc).split())[:300]}): check that it is whole and that --shape fits it")
    return {"runtime": "onnxruntime", "version": onnxruntime.__version__}
