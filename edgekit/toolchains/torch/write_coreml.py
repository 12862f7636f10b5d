"""A PyTorch program (`.pt2`) and its hub in; model.mlpackage out: by coremltools from torch, with the hub's boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from edgekit.hub.form import form
from edgekit.hub.graph import spec
from edgekit.hub.mlpackage import boundary_notes, identifiers, operators, save
from edgekit.toolchains.torch.source import input_names, load, output_names, torch

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

NARROW = {"int64": np.int32, "int32": np.int32, "float32": np.float32, "float16": np.float16, "float64": np.float32}
"""What Core ML has at a boundary for a model's dtype."""

# coremltools has no error of its own: an op or attribute that it does not take ends in any of these.
REFUSALS = (ValueError, RuntimeError, NotImplementedError, TypeError, KeyError, IndexError, AttributeError, AssertionError)


def run(job: Job) -> dict[str, Any]:
    """`model`, `hub`, option `precision` (`fp32`, `fp16`) → out/model.mlpackage, {"route", "notes", "layout", "ops", "transposes"}."""
    try:
        import coremltools as ct
    except ImportError:
        job.refuse("coremltools has no build for this machine: take the route through the hub")
    job.progress("loading the program in PyTorch")
    hub = onnx.load(str(job.inputs["hub"]))
    inputs, outputs = [spec(value) for value in hub.graph.input], [spec(value) for value in hub.graph.output]
    program = load(job)
    if input_names(program) != [one["name"] for one in inputs] or output_names(program) != [one["name"] for one in outputs]:
        job.refuse("the program gives or takes other tensors than the hub: take the route through the hub")
    missing = next((one["dtype"] for one in inputs if one["dtype"] not in NARROW), None)
    if missing is not None:
        job.refuse(f"Core ML has no {missing} at a model's boundary: make it float32 or int32")
    names = identifiers([*(one["name"] for one in inputs), *(one["name"] for one in outputs)])
    settings = {
        "convert_to": "mlprogram",
        # Without a dtype, outputs of a float16 program are float16.
        "outputs": [ct.TensorType(names[one["name"]], dtype=NARROW.get(one["dtype"])) for one in outputs],
        "minimum_deployment_target": ct.target.iOS17,
        "compute_precision": ct.precision.FLOAT16 if job.options["precision"] == "fp16" else ct.precision.FLOAT32,
        "skip_model_load": True,
    }
    types = [ct.TensorType(names[one["name"]], shape=one["shape"], dtype=NARROW[one["dtype"]]) for one in inputs]
    job.progress("writing Core ML")
    route = "torch.export"
    try:
        package = ct.convert(program.run_decompositions({}), inputs=types, **settings)
    except REFUSALS as exc:
        job.progress("writing Core ML from a trace")
        route = "torch.jit.trace"
        try:
            package = ct.convert(traced(program, inputs), inputs=types, **settings)
        except REFUSALS as second:
            first, last = (" ".join(str(one).split())[:150] for one in (exc, second))
            job.refuse(f"coremltools cannot write this program ({first}; from a trace: {last}): take the route through the hub, or write another format")
    described = package.get_spec()
    notes = boundary_notes(described, names, [*inputs, *outputs])
    save(package, described, job.out / "model.mlpackage")
    return {"route": [f"coremltools from {route} of torch {torch.__version__.partition('+')[0]}"], "notes": notes, **form(hub, "nchw")(operators(described))}


def traced(program: Any, inputs: list[dict[str, Any]]) -> Any:
    """The program as TorchScript, traced on zeros: recurrent layers stay whole there."""
    samples = tuple(torch.zeros(one["shape"], dtype=getattr(torch, one["dtype"])) for one in inputs)
    with torch.no_grad():
        return torch.jit.trace(program.module(), samples, check_trace=False)
