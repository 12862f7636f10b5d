"""An ONNX model in, the hub out: checked, normalised, and simplified without loss by onnxslim."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from onnx import ModelProto

from edgekit.hub.graph import Refusal, constants, dims, output_names, spec
from edgekit.hub.load import load
from edgekit.hub.names import name_fused
from edgekit.hub.normalise import finish, prepare
from edgekit.hub.quantized import dequantize_weights
from edgekit.hub.save import save
from edgekit.hub.shapes import flexible_axes

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

ROUNDS = 5
"""One fusion makes room for another; real models settle in two."""


def run(job: Job) -> dict[str, Any]:
    """`model` (.onnx), option `shapes` (input name → axes as asked for) → `out/hub.onnx`; `inputs`, `outputs` (specs), `notes` and `flexible` (axes)."""
    try:
        job.progress("reading the model")
        loaded, shapes = load(job.inputs["model"]), job.options.get("shapes", {})
        declared = {value.name: dims(value) for value in loaded.graph.input if value.name not in constants(loaded.graph)}
        stored = dequantize_weights(loaded)
        model, notes = prepare(loaded, shapes)
        job.progress("simplifying")
        hub = finish(simplify(model), model)
    except Refusal as refusal:
        job.refuse(str(refusal), kind=refusal.kind, op=refusal.op, node=refusal.node)
    save(hub, job.out / "hub.onnx")
    boundary = {"inputs": [spec(value) for value in hub.graph.input], "outputs": [spec(value) for value in hub.graph.output]}
    return {**boundary, "notes": stored + notes, "flexible": flexible_axes(declared, shapes)}


def simplify(model: ModelProto) -> ModelProto:
    """What onnxslim makes of the model: batch norms, pads and biases fused into convolutions, duplicates merged.

    Folding and shapes are the hub's own work. Where onnxslim fails, or loses an output, the model stays as it is.
    """
    optimize = onnxslim_passes()
    slim = ModelProto()
    slim.CopyFrom(model)
    try:
        for _ in range(ROUNDS):
            before = [node.op_type for node in slim.graph.node]
            slim = optimize(slim)
            if [node.op_type for node in slim.graph.node] == before:
                break
    except Exception:  # noqa: BLE001  pattern code of another package, optional here: whatever it raises, the model is right without it
        return model
    if output_names(slim.graph) != output_names(model.graph):
        return model
    name_fused(slim, model)
    return slim


def onnxslim_passes() -> Callable[[ModelProto], ModelProto]:
    """One round of onnxslim's passes but constant folding, which would start ONNX Runtime.

    onnxslim imports its symbolic shape inference, and with it sympy (0.2 s), even where it is not used: an empty module takes its place.
    """
    unused = types.ModuleType("onnxslim.third_party.symbolic_shape_infer")
    unused.__dict__["SymbolicShapeInference"] = None
    sys.modules.setdefault(unused.__name__, unused)
    from onnxslim.core import OptimizationSettings, optimize

    OptimizationSettings.reset(["constant_folding"])
    passes: Callable[[ModelProto], ModelProto] = optimize
    return passes
