"""A hub in, a Core ML ML Program (.mlpackage) with the hub's boundary out, in float32 or float16 arithmetic.

Inputs and outputs stay float32 in both. Core ML has no int64, and names in it are identifiers: where the package must
differ from the model for that, a note says so and the package's metadata keeps the model's own name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

import coremltools as ct
import onnx
from coreml_limits import unsupported  # type: ignore[import-not-found]
from coreml_lowerings import LOWERINGS  # type: ignore[import-not-found]
from coreml_precision import float16_selector  # type: ignore[import-not-found]
from mlpackage import save  # type: ignore[import-not-found]
from onnx2coreml import ConversionError, Converter, Onnx2CoreMLError, UnsupportedOpError, supported_ops

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

TARGET = ct.target.iOS17  # what onnx2coreml's lowerings are written for
NARROWED = {onnx.TensorProto.INT64: "int64", onnx.TensorProto.DOUBLE: "float64", onnx.TensorProto.BOOL: "bool"}


def run(job: Job) -> dict[str, Any]:
    """`hub`, option `precision` (`fp32`, `fp16`) → out/model.mlpackage, {"route", "notes"}."""
    job.progress("reading the hub")
    model = onnx.load(str(job.inputs["hub"]))
    refuse_unsupported(job, model)
    half = job.options["precision"] == "fp16"
    constants = ct.precision.FLOAT16 if half else ct.precision.FLOAT32  # for float16, onnx2coreml keeps them in its range
    arithmetic = ct.transform.FP16ComputePrecision(float16_selector()) if half else ct.precision.FLOAT32
    job.progress("writing Core ML")
    try:
        converter = Converter()
        for op_type, lowering in LOWERINGS.items():
            converter.register(op_type)(lowering)
        program = converter.to_mil(model, target=TARGET, precision=constants)
        package = ct.convert(program, convert_to="mlprogram", minimum_deployment_target=TARGET, compute_precision=arithmetic, skip_model_load=True)
    except UnsupportedOpError as exc:
        op_type, names = next(iter(exc.missing.items()))
        refuse_op(job, op_type, names[0], "has no counterpart in Core ML")
    except ConversionError as exc:
        refuse_op(job, exc.op_key, exc.node_name, f"cannot be written for Core ML ({first_line(exc.cause)})")
    except (Onnx2CoreMLError, NotImplementedError, RuntimeError, ValueError) as exc:
        job.refuse(f"the model cannot be written for Core ML ({first_line(exc)}): write another format, or change that part of the model")
    spec = package.get_spec()
    notes = keep_boundary(spec, model)
    save(package, spec, job.out / "model.mlpackage")
    return {"route": ["onnx2coreml", "coremltools"], "notes": notes}


def refuse_unsupported(job: Job, model: onnx.ModelProto) -> None:
    """Refuse, before any work, an operator without a lowering or one that would come out wrong."""
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


def keep_boundary(spec: Any, model: onnx.ModelProto) -> list[str]:
    """Give the features the model's names; where that cannot be, keep the name in the metadata. Returns what differs."""
    constants = {i.name for i in model.graph.initializer}
    notes = []
    sides = (
        ("input", spec.description.input, [v for v in model.graph.input if v.name not in constants]),
        ("output", spec.description.output, list(model.graph.output)),
    )
    for side, features, values in sides:
        for feature, value in zip(features, values, strict=True):
            if feature.name != value.name and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value.name):
                ct.utils.rename_feature(spec, feature.name, value.name, rename_inputs=side == "input", rename_outputs=side == "output")
            if feature.name != value.name:
                spec.description.metadata.userDefined[f"edgekit.name.{feature.name}"] = value.name
                notes.append(f"{side} {value.name!r} is called {feature.name!r}: names in Core ML are identifiers")
            was = NARROWED.get(value.type.tensor_type.elem_type)
            if was:
                now = ct.proto.FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.Name(feature.type.multiArrayType.dataType).lower()
                notes.append(f"{side} {value.name!r} is {now} for {was}, which Core ML does not have")
    return notes
