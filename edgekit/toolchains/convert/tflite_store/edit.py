"""A .tflite file's tables in; the same with constants of another type, and the operators that make float32 of them, out."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from edgekit.toolchains.convert.runtime.runners import Array
from edgekit.toolchains.convert.tflite.file import TfliteFile

VERSIONS = {"DEQUANTIZE": 5, "DENSIFY": 1}
"""Operator → the version that has what is used here (TFLite op_version.cc): signed integers, a scale for each channel."""


def new_tensor(model: TfliteFile, like: int, content: Array | None, dtype: int, scale: Array | None = None, axis: int = 0, sparsity: Any = None) -> int:
    """A tensor of the shape of another; its index.

    Args:
        content: values to store; None where an operator computes it.
        scale: float32, one, or one for each slice along `axis`; zero points are 0.
    """
    from ai_edge_litert.schema_py_generated import BufferT, QuantizationParametersT

    graph = model.table.subgraphs[0]
    made = copy.copy(graph.tensors[like])
    made.name = (made.name or b"") + b"/%d" % len(graph.tensors)
    made.type, made.sparsity, made.quantization, made.buffer = dtype, sparsity, None, 0
    if scale is not None:
        made.quantization = QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = scale.reshape(-1), np.zeros(scale.size, np.int64)
        made.quantization.quantizedDimension = axis
    if content is not None:
        buffer = BufferT()
        buffer.data = np.frombuffer(content.tobytes(), np.uint8)
        made.buffer = len(model.table.buffers)
        model.table.buffers.append(buffer)
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def compute(model: TfliteFile, kind: str, source: int, target: int) -> Any:
    """An operator of one operand, to be put before all others; its target holds no constant any more."""
    from ai_edge_litert.schema_py_generated import OperatorT

    made = OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code(model, kind), [source], [target]
    model.table.subgraphs[0].tensors[target].buffer = 0
    return made


def code(model: TfliteFile, kind: str) -> int:
    """The index of an operator's code, added where the file has none of that version."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator, OperatorCodeT

    number, version = getattr(BuiltinOperator, kind), VERSIONS[kind]
    for index, one in enumerate(model.table.operatorCodes):
        if max(one.builtinCode, one.deprecatedBuiltinCode) == number and one.version >= version:
            return index
    made = OperatorCodeT()
    made.builtinCode, made.deprecatedBuiltinCode, made.version = number, min(number, 127), version
    model.table.operatorCodes.append(made)
    return len(model.table.operatorCodes) - 1
