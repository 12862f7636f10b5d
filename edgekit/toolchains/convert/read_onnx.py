"""An ONNX model in, the hub out: checked, normalised, and simplified without loss by onnxslim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
from onnx import ModelProto

from edgekit.hub.graph import Refusal, output_names, spec
from edgekit.hub.load import load
from edgekit.hub.normalise import finish, prepare

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """`model` (.onnx), option `shapes` (input name → sizes) → `out/hub.onnx`; `inputs`, `outputs` (specs) and `notes`."""
    try:
        job.progress("reading the model")
        model, notes = prepare(load(job.inputs["model"]), job.options.get("shapes", {}))
        job.progress("simplifying")
        hub = finish(simplify(model), model)
    except Refusal as refusal:
        job.refuse(str(refusal), kind=refusal.kind, op=refusal.op, node=refusal.node)
    onnx.save(hub, str(job.out / "hub.onnx"))
    return {"inputs": [spec(value) for value in hub.graph.input], "outputs": [spec(value) for value in hub.graph.output], "notes": notes}


def simplify(model: ModelProto) -> ModelProto:
    """What onnxslim makes of the model: batch norms, pads and biases fused into convolutions, duplicates merged.

    Shapes and constants are the hub's own work, so that neither sympy nor ONNX Runtime has to run here. Where onnxslim fails, or
    loses an output, the model stays as it is.
    """
    import onnxslim

    original = ModelProto()
    original.CopyFrom(model)
    try:
        slim: ModelProto = onnxslim.slim(model, no_shape_infer=True, skip_optimizations=["constant_folding"])
    except Exception:  # noqa: BLE001  pattern code of another package, optional here: whatever it raises, the model is right without it
        return original
    return slim if output_names(slim.graph) == output_names(original.graph) else original
