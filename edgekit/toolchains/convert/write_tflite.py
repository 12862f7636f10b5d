"""hub.onnx in, model.tflite out: float32, with the hub's own inputs and outputs, by onnx2tf's direct flatbuffer writer.

onnx2tf's stages are called one by one: its command also simplifies again, writes a float16 file that no CPU runs, reports and
compiles its schema from source, which costs as much as the conversion.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated
from onnx2tf.tflite_builder.core.validation import run_model_ir_validation_pipeline
from onnx2tf.tflite_builder.lower_from_onnx2tf import lower_onnx_to_ir
from onnx2tf.tflite_builder.model_writer import write_model_file
from onnx2tf.tflite_builder.preprocess import register_default_preprocess_rules, run_preprocess_pipeline

from edgekit.hub.form import form
from edgekit.hub.graph import Refusal
from edgekit.hub.layout import images, turn
from edgekit.hub.lower import lower
from edgekit.hub.lower.dtypes import compute_in_float32
from edgekit.toolchains.convert.tflite.boundary import BoundaryError, inputs_of, outputs_of, pin, settle, unpin
from edgekit.toolchains.convert.tflite.direct import register
from edgekit.toolchains.convert.tflite.file import read, share_buffers
from edgekit.toolchains.convert.tflite.file import write as write_file
from edgekit.toolchains.convert.tflite.loops import for_while
from edgekit.toolchains.convert.tflite.lowerings import LOWERINGS
from edgekit.toolchains.convert.tflite.same import fold_padding
from edgekit.toolchains.convert.tighten import tighten

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.toolchains.worker import Job

# onnx2tf has no error of its own: an op or attribute that it does not take ends in any of these.
REFUSALS = (NotImplementedError, ValueError, RuntimeError, KeyError, IndexError, TypeError, AttributeError, AssertionError)
WORTH_SHARING = 0.95
"""Rewriting the file costs a tenth of the conversion: done where it saves a twentieth of the constants."""

STATEFUL = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN")


def run(job: Job) -> dict[str, Any]:
    """Write out/model.tflite; option `layout`? `nhwc`: images have their channels last.

    Refuses a model with an op that onnx2tf does not carry, naming the op and its node.
    """
    job.progress("writing TFLite")
    hub = onnx.load(job.inputs["hub"])
    turned = images(hub) if job.options.get("layout") == "nhwc" else {}
    made_of = form(hub, "nhwc", turned)
    turn(hub, turned)
    notes: list[str] = []
    try:
        inputs, outputs = inputs_of(hub), outputs_of(hub)
        notes += compute_in_float32(hub)
        lower(hub, LOWERINGS)
        for_while(hub)
        pins = pin(hub)
        graph = convert(hub)
        notes += unroll(graph)
        unpin(graph, pins)
        settle(graph, inputs, outputs)
        fold_padding(graph)  # before a transpose can come between a PAD and its convolution
        tighten(graph)
        fold_padding(graph)
    except Refusal as refusal:
        job.refuse(f"cannot write TFLite: {refusal}", op=refusal.op, node=refusal.node)
    except BoundaryError as exc:
        job.refuse(f"cannot write TFLite: {exc}")
    except REFUSALS as exc:
        op, node, words = culprit(exc)
        named = f"the operator {op} (node {node!r})" if op else "this graph"
        job.refuse(f"TFLite cannot carry {named}: {words}; choose another format, or replace that part of the model", op=op, node=node)
    refuse_placeholders(job, graph)
    write(graph, job.out / "model.tflite")
    return {"route": [f"onnx2tf {version('onnx2tf')}"], "notes": notes, **made_of([op.op_type for op in graph.operators])}


def convert(hub: onnx.ModelProto) -> Any:
    """The hub as onnx2tf's ModelIR; inputs keep their shapes, custom operators are refused."""
    register()
    register_default_preprocess_rules()
    hub, _ = run_preprocess_pipeline(onnx_graph=hub)
    graph = lower_onnx_to_ir(onnx_graph=hub, output_file_name="main", allow_custom_ops=False, transpose_inputs_to_nhwc=False)
    run_model_ir_validation_pipeline(graph)
    return graph


def unroll(graph: Any) -> list[str]:
    """Write recurrent layers out step by step: TFLite's fused ones keep their state from one call to the next."""
    found = sorted({op.op_type for op in graph.operators if op.op_type in STATEFUL})
    if not found:
        return []
    from onnx2tf.tflite_builder.split_planner import rewrite_model_ir_unroll_recurrent_ops

    unrolled, _ = rewrite_model_ir_unroll_recurrent_ops(model_ir=graph)
    graph.operators, graph.tensors = unrolled.operators, unrolled.tensors
    graph.inputs, graph.outputs = unrolled.inputs, unrolled.outputs
    return [f"{', '.join(found)} written out step by step, so that no state is kept between calls"]


def culprit(exc: Exception) -> tuple[str | None, str | None, str]:
    """The ONNX op and node that a refusal of onnx2tf names, and its reason."""
    named = re.search(r"op=(\S+) node=(\S*) .*?message=(.*)", str(exc), re.DOTALL)
    if named:
        op, node, words = named.groups()
        if "custom-op candidate" in words:
            words = "TFLite has no operator for it with these attributes and shapes"
        return op, node, words.replace("flatbuffer_direct", "onnx2tf")
    return None, None, f"onnx2tf says: {type(exc).__name__}: {str(exc)[:300]}"


def refuse_placeholders(job: Job, graph: Any) -> None:
    """Custom operators that stand for an ONNX one are a file that no runtime loads."""
    for op in graph.operators:
        if op.op_type == "CUSTOM":
            name, node = op.onnx_op_type or op.options.get("customCode", "?"), op.onnx_node_name
            job.refuse(
                f"TFLite cannot carry the operator {name} (node {node!r}): onnx2tf leaves a placeholder for it that no runtime has; "
                "choose another format, or replace that part of the model",
                op=name,
                node=node,
            )


def write(graph: Any, path: Path) -> None:
    """Write the file with the signature `serving_default`; constants that occur several times are stored once, no two tensors share a name."""
    graph.description = "edgekit"
    write_model_file(schema_tflite=vars(schema_py_generated), model_ir=graph, output_tflite_path=str(path))
    constants = [np.asarray(tensor.data).tobytes() for tensor in graph.tensors.values() if tensor.data is not None]
    shared = sum(map(len, set(constants))) < sum(map(len, constants)) * WORTH_SHARING
    if shared or graph.subgraphs:
        model = read(path)
        for number, body in enumerate(model.table.subgraphs[1:], 1):  # the quantizer wants no two tensors of one name
            for tensor in body.tensors:
                tensor.name = f"{number}/".encode() + (tensor.name or b"")
        share_buffers(model.table)
        write_file(model, path)
