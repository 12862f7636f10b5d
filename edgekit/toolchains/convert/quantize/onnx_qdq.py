"""A float ONNX model in, the same through ONNX Runtime's own quantizers out: with run-time activations, or with ranges that are given."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from edgekit.hub.graph import makers, subgraphs, walk
from edgekit.hub.order import remove_dead, sort

DYNAMIC = ("MatMul", "Gemm", "LSTM")
"""Operators that have a dynamic form worth its name; a dynamic Conv is several times slower than a float one, so it keeps int8 weights only."""


def dynamic(model: onnx.ModelProto, scratch: Path, left: frozenset[int]) -> onnx.ModelProto:
    """Matrix products and LSTMs but those at the positions in `left` with int8 weights and activations quantized at run time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    excluded = [model.graph.node[index].name for index in sorted(left)]
    kinds = list(DYNAMIC)
    quantize_dynamic(model, scratch, op_types_to_quantize=kinds, per_channel=True, weight_type=QuantType.QInt8, nodes_to_exclude=excluded)
    return onnx.load(scratch)


def static(model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], excluded: Sequence[str]) -> onnx.ModelProto:
    """QDQ pairs around all operators but those named, with these ranges of activations; weights symmetric, per channel."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    logging.getLogger().setLevel(logging.ERROR)  # it warns of every tensor that it leaves
    data = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    kinds = sorted({*QLinearOpsRegistry, *QDQRegistry})
    int8 = QuantType.QInt8
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(model),
        True,  # per channel
        False,  # the whole range of int8
        int8,
        int8,
        TensorsData(CalibrationMethod.MinMax, data),
        [],
        list(excluded),
        kinds,
        {},
    )
    quantizer.quantize_model()
    made: onnx.ModelProto = quantizer.model.model
    return made


def left_float(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """Names of nodes that w8a8 does not touch, and why: a softmax that makes an output has no room in 8 bits for small probabilities."""
    made = makers(model.graph)
    last = [made[value.name] for value in model.graph.output if value.name in made]
    kept = [node.name for node in last if node.op_type == "Softmax"]
    return kept, [f"Softmax {name!r} left in float32: int8 has no room for small probabilities" for name in kept]


def slim(model: onnx.ModelProto) -> None:
    """Put the nodes in order, and drop what no output depends on (a bias that was corrected is stored anew, and the old one read by nothing), and what
    only people and tools read: shapes, names of nodes, descriptions, long names of inner tensors.

    ONNX Runtime's quantizers put a pair of conversions at the end of the graph, behind what reads it: the file would run, but be no valid ONNX.
    """
    sort(model.graph)
    remove_dead(model.graph)
    model.producer_name, model.producer_version = "edgekit", ""
    del model.graph.value_info[:]
    sizes = [entry for entry in model.metadata_props if entry.key.startswith("edgekit.shape.")]  # at which a flexible file begins
    del model.metadata_props[:]
    model.metadata_props.extend(sizes)
    rename(model)
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
    for node in model.graph.node:
        node.name = node.doc_string = ""


def rename(model: onnx.ModelProto, ending: str = "") -> None:
    """Number the inner tensors, in hexadecimal; inputs, outputs and nodes keep their names, and so does what bodies of an If or Loop make."""
    every = list(walk(model.graph.node))
    bodies = [body for node in every for body in subgraphs(node)]
    kept = {value.name for value in [*model.graph.input, *model.graph.output]}
    for body in bodies:
        kept |= {one.name for one in [*body.input, *body.initializer]} | {name for node in body.node for name in node.output}
    made = [name for node in model.graph.node for name in node.output if name]
    inner = [name for name in [*made, *(tensor.name for tensor in model.graph.initializer)] if name not in kept]
    free = (name for name in (f"{i:x}{ending}" for i in itertools.count()) if name not in kept)
    names = dict(zip(inner, free, strict=False))
    for tensor in [*model.graph.initializer, *model.graph.value_info, *(value for body in bodies for value in body.output)]:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in every:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
