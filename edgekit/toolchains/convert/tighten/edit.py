"""An onnx2tf ModelIR in, answers and small changes out: who makes a tensor, who reads it, a constant, an operator."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def makers(graph: Any) -> dict[str, Any]:
    return {name: op for op in graph.operators for name in op.outputs}


def readers(graph: Any) -> dict[str, list[Any]]:
    """Tensor → the operators that read it; an output of the graph is read by None too."""
    found: dict[str, list[Any]] = {name: [None] for name in graph.outputs}
    for op in graph.operators:
        for name in dict.fromkeys(op.inputs):
            found.setdefault(name, []).append(op)
    return found


def shape(graph: Any, name: str) -> list[int]:
    return [int(size) for size in graph.tensors[name].shape]


def constant(graph: Any, name: str) -> Array | None:
    """The values of a stored tensor, or None."""
    tensor = graph.tensors.get(name)
    if tensor is None or tensor.data is None or isinstance(tensor.data, bytes):
        return None
    return np.asarray(tensor.data).reshape(shape(graph, name))


def store(graph: Any, name: str, values: Array) -> str:
    """A new stored tensor; returns its name."""
    return make(graph, name, {"float32": "FLOAT32", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}[values.dtype.name], list(values.shape), values)


def make(graph: Any, name: str, dtype: str, sizes: list[int], values: Array | None = None) -> str:
    """A new tensor under that name, or the next that is free."""
    from onnx2tf.tflite_builder.ir import TensorIR

    while name in graph.tensors:
        name += "'"
    graph.tensors[name] = TensorIR(name, dtype, sizes, list(sizes), data=values)
    return name


def operator(kind: str, inputs: list[str], outputs: list[str], **options: Any) -> Any:
    from onnx2tf.tflite_builder.ir import OperatorIR

    return OperatorIR(kind, inputs, outputs, options)


def reshape(graph: Any, source: str, result: str) -> Any:
    """A RESHAPE of one tensor into another's shape."""
    sizes = shape(graph, result)
    return operator("RESHAPE", [source, store(graph, f"{result}/shape", np.array(sizes, np.int32))], [result], newShape=sizes)


def transpose(graph: Any, source: str, result: str, perm: list[int]) -> Any:
    return operator("TRANSPOSE", [source, store(graph, f"{result}/perm", np.array(perm, np.int32))], [result])


def drop_unread(graph: Any) -> None:
    """Remove operators whose results nothing reads."""
    while True:
        read = readers(graph)
        kept = [op for op in graph.operators if any(name in read for name in op.outputs)]
        if len(kept) == len(graph.operators):
            return
        graph.operators = kept
