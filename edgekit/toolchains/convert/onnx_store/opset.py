"""An ONNX model in; whether opset 21, which has tensors of 4-bit integers, says the same of it, and the model under that number, out."""

from __future__ import annotations

import onnx
from onnx.defs import SchemaError, get_schema

from edgekit.hub.graph import DEFAULT_DOMAINS, attribute, opset, walk
from edgekit.toolchains.convert.onnx_store.pack import FOUR_BITS

OPSET, IR_VERSION = 21, 10
"""The first with INT4 and UINT4 (ONNX 1.16); ONNX Runtime casts them from 1.23 on."""

NEEDS = "it has 4-bit integers (opset 21), which ONNX Runtime takes from 1.23 on"
"""What a person has to know of a model that rose."""

LEAST_OPSET = 18

TYPES_ONLY = ("Constant", "ConstantOfShape", "Equal", "Flatten", "Identity", "IsInf", "IsNaN", "Reshape", "Shape", "Size", "Squeeze", "Transpose", "Unsqueeze")
CHOICES = ("Cast", "CastLike", "DequantizeLinear", "Pad", "QLinearMatMul", "QuantizeLinear", "ReduceMax", "ReduceMin", "Resize")
BODIES = ("If", "Loop", "Scan")
WIDENED = frozenset((*TYPES_ONLY, *CHOICES, *BODIES))
"""What opsets 19 to 21 gave more types, and attributes whose default is what was before; of others with a new version the words mean something
else (GridSample, DFT, GroupNormalization)."""


def may_rise(model: onnx.ModelProto) -> bool:
    """Whether each node means in opset 21 what it means now."""
    version = opset(model)
    return version >= OPSET or (version >= LEAST_OPSET and all(same(node, version) for node in walk(model.graph.node)))


def same(node: onnx.NodeProto, version: int) -> bool:
    if node.domain not in DEFAULT_DOMAINS or node.op_type in WIDENED:
        return True
    if node.op_type == "AveragePool" and not attribute(node, "ceil_mode", 0):  # 19 lets go of a window that begins in the padding
        return True
    try:
        ours, theirs = (get_schema(node.op_type, one, "") for one in (version, OPSET))
    except SchemaError:
        return False
    return bool(ours.since_version == theirs.since_version)


def rise(model: onnx.ModelProto) -> bool:
    """Say that the model is in opset 21 where it has 4-bit integers, and so needs it; whether it has."""
    if not any(tensor.data_type in FOUR_BITS for tensor in model.graph.initializer):
        return False
    for entry in model.opset_import:
        if entry.domain in DEFAULT_DOMAINS:
            entry.version = max(entry.version, OPSET)
    model.ir_version = max(model.ir_version, IR_VERSION)
    return True
