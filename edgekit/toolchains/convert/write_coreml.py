"""A hub in, a Core ML ML Program (.mlpackage) with the hub's boundary out, in float32 or float16 arithmetic.

Inputs and outputs stay float32 in both. Core ML has no int64, and names in it are identifiers: where the package must
differ from the model for that, a note says so and the package's metadata keeps the model's own name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import coremltools as ct
import onnx
from onnx import ModelProto

from edgekit.hub.bodies import CONTROL, in_bodies
from edgekit.hub.form import form
from edgekit.hub.graph import Refusal, title
from edgekit.hub.lower import expand, lower
from edgekit.hub.mlpackage import operators, save
from edgekit.toolchains.convert.coreml.boundary import describe, identifiers, unsupported_feature
from edgekit.toolchains.convert.coreml.precision import Float16
from edgekit.toolchains.convert.coreml.program import LOWERINGS, Failed, first_line, to_mil
from edgekit.toolchains.convert.coreml.ranks import fewer_axes

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

TARGET = ct.target.iOS17
CURE = "replace it by operators that Core ML has, or write another format"


def run(job: Job) -> dict[str, Any]:
    """`hub`, option `precision` (`fp32`, `fp16`) → out/model.mlpackage, {"route", "notes"}."""
    job.progress("reading the hub")
    model = onnx.load(str(job.inputs["hub"]))
    feature = unsupported_feature(model)
    if feature:
        job.refuse(feature)
    made_of = form(model, "nchw")
    half = job.options["precision"] == "fp16"
    selector = Float16()
    arithmetic = ct.transform.FP16ComputePrecision(selector) if half else ct.precision.FLOAT32
    job.progress("writing Core ML")
    try:
        in_mil_terms(model)
        own_names = identifiers(model)
        program, selector.exact = to_mil(model, TARGET, half)
        package = convert(program, arithmetic)
    except Refusal as exc:
        job.refuse(str(exc), kind=exc.kind, op=exc.op, node=exc.node)
    except Failed as exc:
        name = title(exc.node)
        job.refuse(f"{exc.node.op_type} node {name!r} cannot be written for Core ML: {cured(str(exc))}", op=exc.node.op_type, node=name)
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as exc:
        job.refuse(f"the model cannot be written for Core ML ({first_line(exc)}): write another format, or change that part of the model")
    spec = package.get_spec()
    notes = describe(spec, model, own_names)
    if selector.kept:
        notes.append(f"{len(selector.kept)} operations that lead to a logarithm stay float32: float16 is too coarse for them")
    save(package, spec, job.out / "model.mlpackage")
    return {"route": ["hub", "coremltools"], "notes": notes, **made_of(operators(spec))}


def in_mil_terms(model: ModelProto) -> None:
    """Write operators that MIL lacks, and that ONNX defines by others, out by their definition, in place; tensors of more than 5 axes, too, and in bodies."""
    lower(model, {node.op_type: expand for node in model.graph.node if node.op_type not in LOWERINGS})
    fewer_axes(model)
    for node in model.graph.node:
        if node.op_type in CONTROL:
            in_bodies(model, node, in_mil_terms)


def cured(reason: str) -> str:
    """A reason that says what to do about it."""
    return reason if ";" in reason else f"{reason}; {CURE}"


def convert(program: Any, arithmetic: Any) -> Any:
    """The MIL program as an ML Program.

    coremltools validates the program after each of its hundred passes, which takes half of their time and tells which pass
    was at fault: here it is validated once, as all passes have left it.

    Raises:
        ValueError: a pass has left the program inconsistent.
    """
    program.validate = lambda **_: None
    package = ct.convert(program, convert_to="mlprogram", minimum_deployment_target=TARGET, compute_precision=arithmetic, skip_model_load=True)
    del program.validate
    program.validate()
    return package
