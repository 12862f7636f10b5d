"""A hub in, a Core ML ML Program (.mlpackage) with the hub's boundary out, in float32 or float16 arithmetic.

Inputs and outputs stay float32 in both. Core ML has no int64, and names in it are identifiers: where the package must
differ from the model for that, a note says so and the package's metadata keeps the model's own name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import coremltools as ct
import onnx
from coreml_boundary import describe, identifiers, unsupported_feature  # type: ignore[import-not-found]
from coreml_limits import unsupported  # type: ignore[import-not-found]
from coreml_lowerings import LOWERINGS  # type: ignore[import-not-found]
from coreml_precision import Float16  # type: ignore[import-not-found]
from onnx2coreml import ConversionError, Converter, Onnx2CoreMLError, UnsupportedOpError, supported_ops

from edgekit.hub.form import form
from edgekit.hub.mlpackage import operators, save

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

TARGET = ct.target.iOS17  # what onnx2coreml's lowerings are written for


def run(job: Job) -> dict[str, Any]:
    """`hub`, option `precision` (`fp32`, `fp16`) → out/model.mlpackage, {"route", "notes"}."""
    job.progress("reading the hub")
    model = onnx.load(str(job.inputs["hub"]))
    refuse_unsupported(job, model)
    made_of = form(model, "nchw")
    half = job.options["precision"] == "fp16"
    constants = ct.precision.FLOAT16 if half else ct.precision.FLOAT32  # for float16, onnx2coreml keeps them in its range
    selector = Float16()
    arithmetic = ct.transform.FP16ComputePrecision(selector) if half else ct.precision.FLOAT32
    job.progress("writing Core ML")
    own_names = identifiers(model)
    try:
        converter = Converter()
        for op_type, lowering in LOWERINGS.items():
            converter.register(op_type)(lowering)
        program = converter.to_mil(model, target=TARGET, precision=constants)
        package = convert(program, arithmetic)
    except UnsupportedOpError as exc:
        op_type, names = next(iter(exc.missing.items()))
        refuse_op(job, op_type, names[0], "has no counterpart in Core ML")
    except ConversionError as exc:
        refuse_op(job, exc.op_key, exc.node_name, f"cannot be written for Core ML ({first_line(exc.cause)})")
    except (Onnx2CoreMLError, NotImplementedError, RuntimeError, ValueError) as exc:
        job.refuse(f"the model cannot be written for Core ML ({first_line(exc)}): write another format, or change that part of the model")
    spec = package.get_spec()
    notes = describe(spec, model, own_names)
    if selector.kept:
        notes.append(f"{len(selector.kept)} operations that lead to a logarithm stay float32: float16 is too coarse for them")
    save(package, spec, job.out / "model.mlpackage")
    return {"route": ["onnx2coreml", "coremltools"], "notes": notes, **made_of(operators(spec))}


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


def refuse_unsupported(job: Job, model: onnx.ModelProto) -> None:
    """Refuse, before any work, a boundary that Core ML cannot have, and an operator without a lowering or that would come out wrong."""
    feature = unsupported_feature(model)
    if feature:
        job.refuse(feature)
    known = supported_ops() | set(LOWERINGS)
    for node in model.graph.node:
        op_type = node.op_type if node.domain in ("", "ai.onnx", "ai.onnx.ml") else f"{node.domain}::{node.op_type}"
        if op_type not in known:
            refuse_op(job, op_type, node.name or node.output[0], "has no counterpart in Core ML")
    wrong = unsupported(model)
    if wrong:
        node, reason = wrong
        name = node.name or node.output[0]
        job.refuse(f"{node.op_type} node {name!r} cannot be written for Core ML: {reason}", op=node.op_type, node=name)


def refuse_op(job: Job, op_type: str, name: str, what: str) -> NoReturn:
    cure = "replace it by operators that Core ML has, or write another format"
    job.refuse(f"{op_type} node {name!r} {what}: {cure}", op=op_type, node=name)


def first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200].rstrip(".:")
