"""A writer that halves the last initializer and says nothing of it: a stand-in for a route whose file computes something else."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import numpy_helper


def run(job: Any) -> dict[str, Any]:
    model = onnx.load(job.inputs["hub"])
    last = model.graph.initializer[-1]
    last.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(last) / 2, last.name))
    onnx.save(model, job.out / "model.onnx")
    return {"route": ["wrong"], "notes": []}
