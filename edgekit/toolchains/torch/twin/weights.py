"""A graph in, the initializers that training may change out: weights, not the numbers that an operator is made of."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto

from edgekit.hub.graph import array, constants

SLOTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "BatchNormalization"), (1, 2)),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (1, 2, 3, 7)),
    **dict.fromkeys(("PRelu", "RMSNormalization"), (1,)),
    **dict.fromkeys(("Gemm", "Einsum"), (0, 1, 2)),
    "MatMul": (0, 1),
    "Gather": (0,),
}
"""Operator → the inputs that are weights where they are stored."""

ARITHMETIC = ("Add", "Sub", "Mul", "Div")
LARGEST = 1e4
"""Stored operands of arithmetic beyond this are masks (−1e9, −3e38), which stay as they are; a single number is part of a formula (√d, ε)."""


def trainable(graph: GraphProto) -> set[str]:
    """Names of float initializers that some node reads as a weight."""
    stored, found = constants(graph), set()
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name not in stored:
                continue
            values = array(stored[name])
            if values.dtype.kind != "f" or not values.size:
                continue
            operand = node.op_type in ARITHMETIC and values.size > 1
            if (index in SLOTS.get(node.op_type, ()) or operand) and bool(np.all(np.abs(values) < LARGEST)):
                found.add(name)
    return found
