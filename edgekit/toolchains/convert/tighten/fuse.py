"""An onnx2tf ModelIR in, the same with activations, biases, reshapes and transposes as part of the layers beside them out."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.toolchains.convert.tighten.edit import constant, drop_unread, make, makers, readers, reshape, shape, store

ACTIVATED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "DIV")
DENSE = {"fusedActivationFunction": "NONE", "weightsFormat": "DEFAULT", "keepNumDims": True, "asymmetricQuantizeInputs": False}


def only_reader(graph: Any, read: dict[str, list[Any]], op: Any, kinds: tuple[str, ...]) -> Any:
    """The operator of one of these kinds that alone reads a result, or None."""
    found = read.get(op.outputs[0], [None])
    return found[0] if len(found) == 1 and found[0] is not None and found[0].op_type in kinds and found[0].inputs[0] == op.outputs[0] else None


def activations(graph: Any) -> bool:
    """A layer, then RELU or RELU6 → the layer with that activation."""
    read = readers(graph)
    gone = []
    for op in graph.operators:
        if op.op_type not in ACTIVATED or op.options.get("fusedActivationFunction") != "NONE" or graph.tensors[op.outputs[0]].dtype != "FLOAT32":
            continue
        after = only_reader(graph, read, op, ("RELU", "RELU6"))
        if after is not None:
            op.options = {**op.options, "fusedActivationFunction": after.op_type}
            op.outputs = list(after.outputs)
            gone.append(after)
    graph.operators = [op for op in graph.operators if not any(op is one for one in gone)]
    return bool(gone)


def matmuls(graph: Any) -> bool:
    """BATCH_MATMUL by one stored matrix, then ADD of a stored row → FULLY_CONNECTED: int8 kernels have weights per channel for this one only."""
    read = readers(graph)
    gone = []
    changed = False
    for op in graph.operators:
        weights = constant(graph, op.inputs[1]) if op.op_type == "BATCH_MATMUL" else None
        if weights is None or weights.ndim != 2 or weights.dtype != np.float32 or op.options.get("adjX") or len(shape(graph, op.inputs[0])) < 2:
            continue
        matrix = weights if op.options.get("adjY") else weights.T
        bias = np.zeros(len(matrix), np.float32)
        after = read.get(op.outputs[0], [None])
        if len(after) == 1 and after[0] is not None and after[0].op_type == "ADD":
            row = next((values for name in after[0].inputs if (values := constant(graph, name)) is not None), None)
            sizes = shape(graph, op.outputs[0])
            if row is not None and row.size == len(matrix) == row.shape[-1] and shape(graph, after[0].outputs[0]) == sizes and row.dtype == np.float32:
                bias = row.reshape(-1)
                op.outputs = list(after[0].outputs)
                activation = after[0].options.get("fusedActivationFunction", "NONE")
                gone.append(after[0])
            else:
                activation = "NONE"
        else:
            activation = "NONE"
        name = op.inputs[1]
        op.inputs = [op.inputs[0], store(graph, f"{name}/dense", np.ascontiguousarray(matrix)), store(graph, f"{name}/bias", np.ascontiguousarray(bias))]
        op.op_type, op.options = "FULLY_CONNECTED", {**DENSE, "fusedActivationFunction": activation}
        changed = True
    graph.operators = [op for op in graph.operators if not any(op is one for one in gone)]
    return changed


def dense_of_any_rank(graph: Any) -> bool:
    """RESHAPE to rows, then FULLY_CONNECTED → FULLY_CONNECTED over the last axis, then RESHAPE."""
    made, read = makers(graph), readers(graph)
    operators = []
    changed = False
    for op in graph.operators:
        operators.append(op)
        before = made.get(op.inputs[0]) if op.op_type == "FULLY_CONNECTED" else None
        if before is None or before.op_type != "RESHAPE" or read[before.outputs[0]] != [op]:
            continue
        sizes, width = shape(graph, before.inputs[0]), shape(graph, op.inputs[1])
        if len(sizes) < 3 or sizes[-1] != width[1] or sizes[0] == 0:
            continue
        result = op.outputs[0]
        inner = make(graph, f"{result}/dense", graph.tensors[result].dtype, [*sizes[:-1], width[0]])
        op.inputs = [before.inputs[0], *op.inputs[1:]]
        op.outputs = [inner]
        op.options = {**op.options, "keepNumDims": True}
        operators.append(reshape(graph, inner, result))
        changed = True
    graph.operators = operators
    if changed:
        drop_unread(graph)
    return changed


def means(graph: Any) -> bool:
    """MEAN that keeps its axes, then RESHAPE without them → MEAN that drops them."""
    read = readers(graph)
    gone = []
    for op in graph.operators:
        after = only_reader(graph, read, op, ("RESHAPE",)) if op.op_type == "MEAN" and op.options.get("keepDims") else None
        axes = constant(graph, op.inputs[1]) if after is not None else None
        if after is None or axes is None:
            continue
        sizes = shape(graph, op.inputs[0])
        dropped = {int(axis) % len(sizes) for axis in axes.reshape(-1)}
        if [size for axis, size in enumerate(sizes) if axis not in dropped] == shape(graph, after.outputs[0]):
            op.options = {**op.options, "keepDims": False}
            op.outputs = list(after.outputs)
            gone.append(after)
    graph.operators = [op for op in graph.operators if not any(op is one for one in gone)]
    return bool(gone)


def turned_weights(graph: Any) -> bool:
    """TRANSPOSE of all but the samples, RESHAPE to rows, FULLY_CONNECTED → RESHAPE, then FULLY_CONNECTED with its weights in the other order."""
    made, read = makers(graph), readers(graph)
    changed = False
    for op in graph.operators:
        rows = made.get(op.inputs[0]) if op.op_type == "FULLY_CONNECTED" else None
        turn = made.get(rows.inputs[0]) if rows is not None and rows.op_type == "RESHAPE" else None
        if rows is None or turn is None or turn.op_type != "TRANSPOSE" or read[rows.outputs[0]] != [op] or read[turn.outputs[0]] != [rows]:
            continue
        perm, weights = constant(graph, turn.inputs[1]), constant(graph, op.inputs[1])
        turned, flat = shape(graph, turn.outputs[0]), shape(graph, rows.outputs[0])
        if perm is None or weights is None or weights.dtype != np.float32 or perm[0] != 0 or flat != [turned[0], weights.shape[1]]:
            continue
        order = np.argsort(perm)
        values = weights.reshape(len(weights), *turned[1:]).transpose(order).reshape(weights.shape)
        op.inputs = [op.inputs[0], store(graph, f"{op.inputs[1]}/turned", np.ascontiguousarray(values)), *op.inputs[2:]]
        rows.inputs = [turn.inputs[0], *rows.inputs[1:]]
        changed = True
    if changed:
        drop_unread(graph)
    return changed
