"""A Keras file or a SavedModel, and its hub, in; model.tflite out: float32, by TensorFlow's own TFLiteConverter, with the hub's boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
from tensorflow.lite.python import schema_py_generated as schema

from edgekit.hub.form import form
from edgekit.hub.graph import spec
from edgekit.toolchains.tensorflow.frozen import INPUT, frozen
from edgekit.toolchains.tensorflow.source import tf

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.toolchains.worker import Job

STATEFUL = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN")
"""Fused layers that keep their state from one call to the next."""

DTYPES = {getattr(schema.TensorType, name.upper()): name for name in ("float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")}


def run(job: Job) -> dict[str, Any]:
    """`model`, `hub` → out/model.tflite, {"route", "notes", "layout", "ops", "transposes"}.

    Refuses what TFLite's built-in operators cannot say, in the converter's words.
    """
    job.progress("loading the model in TensorFlow")
    hub = onnx.load(str(job.inputs["hub"]))
    function = frozen(job, hub)
    job.progress("writing TFLite")
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        content = converter.convert()
    except Exception as exc:  # noqa: BLE001  ConverterError derives from Exception alone and moves between TensorFlow's modules
        words = " ".join(str(exc).split())[:300]
        job.refuse(f"TFLiteConverter cannot write this model ({words}): choose another format, or replace that part of the model")
    table = schema.ModelT.InitFromPackedBuf(content, 0)
    kinds = operators(table)
    stateful = sorted({*kinds}.intersection(STATEFUL))
    if stateful:
        job.refuse(f"TFLiteConverter writes {', '.join(stateful)}, which keep their state from one call to the next: export the model with unrolled layers")
    give_boundary(job, table, hub)
    write(table, job.out / "model.tflite")
    return {"route": [f"TFLiteConverter {tf.__version__}"], "notes": [], **form(hub, "nhwc")(kinds)}


def operators(table: Any) -> list[str]:
    """The kind of every operator, those of loop bodies included."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in table.operatorCodes]
    return [codes[op.opcodeIndex] for graph in table.subgraphs for op in graph.operators]


def give_boundary(job: Job, table: Any, hub: onnx.ModelProto) -> None:
    """Name, order and sign the main graph's inputs and outputs as the hub has them; refuse another dtype or shape, and a tensor that is two of them."""
    graph = table.subgraphs[0]
    inputs = [spec(value) for value in hub.graph.input]
    outputs = [spec(value) for value in hub.graph.output]
    numbered = {graph.tensors[index].name.decode().removeprefix(INPUT).partition(":")[0]: index for index in graph.inputs}
    graph.inputs = [numbered[str(position)] for position in range(len(inputs))]
    tensors = [int(index) for index in [*graph.inputs, *graph.outputs]]
    if len(tensors) != len(inputs) + len(outputs) or len({*tensors}) < len(tensors):
        job.refuse("TFLiteConverter gives one tensor as two of the model's inputs and outputs: take the route through the hub")
    for wanted, index in zip([*inputs, *outputs], tensors, strict=True):
        tensor = graph.tensors[index]
        shape = [] if tensor.shape is None else [int(size) for size in tensor.shape]
        dtype = DTYPES.get(tensor.type)
        if (dtype, shape) != (wanted["dtype"], wanted["shape"]):
            job.refuse(f"{wanted['name']!r} is {wanted['dtype']} {wanted['shape']} in the model and {dtype} {shape} in TFLiteConverter's file")
        tensor.shapeSignature = None
    taken = {spec["name"].encode() for spec in [*inputs, *outputs]}
    for tensor in graph.tensors:
        if tensor.name in taken:
            tensor.name += b"/inner"
    for wanted, index in zip([*inputs, *outputs], tensors, strict=True):
        graph.tensors[index].name = wanted["name"].encode()
    sign(table, graph.inputs, graph.outputs)


def sign(table: Any, inputs: Any, outputs: Any) -> None:
    """The signature `serving_default`, which apps ask for tensors by name."""
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = ([named(table, index) for index in side] for side in (inputs, outputs))
    table.signatureDefs = [signature]


def named(table: Any, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = table.subgraphs[0].tensors[index].name, int(index)
    return entry


def write(table: Any, path: Path) -> None:
    """The same model gives the same bytes: the converter's metadata, such as its environment, is left out."""
    import flatbuffers

    table.description, table.metadata, table.metadataBuffer = b"edgekit", None, None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(table.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
