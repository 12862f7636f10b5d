"""A .tflite file in, its ONNX graph out: boundary and layout as the file has them, weights as the float32 that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from edgekit.hub.graph import Refusal
from edgekit.hub.shapes import choose, flexible_axes
from edgekit.toolchains.convert.from_tflite import convolution, elementwise, lookup, reduction, shape
from edgekit.toolchains.convert.from_tflite.graph import OPSET, Graph, Op
from edgekit.toolchains.convert.from_tflite.model import Node, Source, nodes_of, open_shapes, open_source

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

RULES = {**convolution.RULES, **elementwise.RULES, **lookup.RULES, **reduction.RULES, **shape.RULES}


def run(job: Job) -> dict[str, Any]:
    """`model` (.tflite), option `shapes` → `out/raw.onnx` at fixed `shapes`; `source`, `notes` and `flexible` (axes)."""
    job.progress("reading the TFLite file")
    try:
        nodes = nodes_of(job.inputs["model"])
        declared, wanted = open_shapes(open_source(job.inputs["model"], nodes, None)), job.options.get("shapes", {})
        fixed, notes = choose(declared, wanted)
        source = open_source(job.inputs["model"], nodes, fixed)
        model, more = translate(source)
    except Refusal as refusal:
        job.refuse(str(refusal), kind=refusal.kind, op=refusal.op, node=refusal.node)
    onnx.save(model, str(job.out / "raw.onnx"))
    return {"source": "tflite", "notes": notes + more, "shapes": fixed, "flexible": flexible_axes(declared, wanted)}


def translate(source: Source) -> tuple[ModelProto, list[str]]:
    """The file's graph in ONNX, and notes.

    Raises:
        Refusal: an operator that no rule reads.
    """
    graph, notes = Graph(), list[str]()
    names = {index: name for name, index in source.inputs.items()}
    made = {index for node in source.nodes for index in node.outputs}
    shapes: dict[int, tuple[int, ...]] = {}

    def name_of(index: int) -> str:
        """The ONNX name of a tensor; one that no operator makes is a constant."""
        if index < 0:
            return ""
        if index not in names:
            names[index] = graph.constant(as_float(source.values(index)), hint=f"stored{index}")
        return names[index]

    for node in source.nodes:
        if is_constant(node, names, graph, made):
            for index in node.outputs:
                names[index] = graph.constant(as_float(source.values(index)), hint=f"stored{index}")
            if node.kind in ("DEQUANTIZE", "DENSIFY"):
                notes.append(words_of(source, node))
            continue
        if node.kind not in RULES:
            raise Refusal(
                f"operator {node.kind} ({node.title!r}) is not read from TFLite: give the model that the file was made from",
                kind="convert", op=node.kind, node=node.title,
            )  # fmt: skip
        for index in (*node.inputs, *node.outputs):
            if index >= 0 and index not in shapes:
                shapes[index] = tuple(source.values(index).shape)
        op = Op(
            kind=node.kind,
            inputs=tuple(name_of(index) for index in node.inputs),
            shapes=tuple(shapes[index] if index >= 0 else () for index in node.inputs),
            output_shapes=tuple(shapes[index] for index in node.outputs),
            output_dtypes=tuple(source.values(index).dtype for index in node.outputs),
            options=node.options,
            title=node.title,
        )
        results = RULES[node.kind](graph, op)
        for index, result in zip(node.outputs, [results] if isinstance(results, str) else results, strict=True):
            names[index] = result
    return assemble(source, graph, [name_of(index) for index in source.outputs.values()]), list(dict.fromkeys(notes))


def is_constant(node: Node, names: dict[int, str], graph: Graph, made: set[int]) -> bool:
    """Whether a node's results are the same whatever the model is given: LiteRT has computed them already."""
    if node.kind in ("SHAPE", "RANK", "ZEROS_LIKE"):
        return True
    return all(index < 0 or names.get(index) in graph.values or (index not in names and index not in made) for index in node.inputs)


def as_float(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """float16, which is a way to store here, as float32."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def words_of(source: Source, node: Node) -> str:
    """What a note says of stored weights that were decoded."""
    if node.kind == "DENSIFY":
        return "sparse weights were made dense"
    dtype = source.values(node.inputs[0]).dtype
    return "weights stored as float16 are float32 here" if dtype == np.float16 else f"weights stored as {dtype} are the float32 that they stand for"


def assemble(source: Source, graph: Graph, results: list[str]) -> ModelProto:
    """The model with the file's own input and output names."""
    inputs, outputs = [], []
    for name, index in source.inputs.items():
        values = source.values(index)
        inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape))
    taken = set(source.inputs)
    inner = {name: f"inner/{name}" for name in {*graph.initializers, *(out for node in graph.nodes for out in node.output)}}
    for name, index, result in zip(source.outputs, source.outputs.values(), results, strict=True):
        values = source.values(index)
        while name in taken:
            name += "_out"
        taken.add(name)
        graph.nodes.append(helper.make_node("Identity", [result], [name], name=name))
        outputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape))
    for node in graph.nodes:
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    stored: list[TensorProto] = list(graph.initializers.values())
    for tensor in stored:
        tensor.name = inner[tensor.name]
    made = helper.make_graph(graph.nodes, "tflite", inputs, outputs, stored)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
