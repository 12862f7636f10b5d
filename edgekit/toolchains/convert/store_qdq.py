"""model.onnx of a hub whose integers were learned and what is known of them in; the same with QuantizeLinear/DequantizeLinear pairs out.

For formats that are written from such a file: weights lie there as int8, whatever fewer bytes ONNX could hold them in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx

from edgekit.hub.compressed import load_spec
from edgekit.toolchains.convert.onnx_store.activations import quantize
from edgekit.toolchains.convert.quantize.onnx_qdq import slim
from edgekit.toolchains.convert.store_onnx import compared

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """`float` (model.onnx), `spec` (compress.json) with grids of activations → `out/model.onnx`; what has no grid stays float32."""
    job.progress("storing weights")
    target, model = job.out / "model.onnx", onnx.load(job.inputs["float"])
    _, notes = quantize(model, load_spec(job.inputs["spec"]))
    slim(model)
    onnx.save(model, target)
    compared(job, target, exact=False, ends=None)
    return {"route": ["learned scales"], "notes": notes}
