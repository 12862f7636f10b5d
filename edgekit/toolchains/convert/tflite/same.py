"""An onnx2tf ModelIR in, the same with a PAD before a convolution made part of it where TFLite's SAME says the same.

A file of Keras pads the lower right by one and then convolves with a stride of 2. As an operator of its own the PAD writes the whole
tensor again, which an int8 MobileNetV2 felt by a quarter of its time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def fold_padding(graph: Any) -> int:
    """Fold what can be; changes the graph in place and returns how many PADs are gone."""
    made = {op.outputs[0]: op for op in graph.operators if op.op_type == "PAD"}
    reads = [name for op in graph.operators for name in op.inputs]
    folded = 0
    for op in graph.operators:
        pad = made.get(op.inputs[0]) if op.op_type in CONVOLUTIONS else None
        if pad is None or reads.count(pad.outputs[0]) > 1 or pad.outputs[0] in graph.outputs:
            continue
        if op.options["padding"] == "VALID" and is_same(graph, pad, op):
            op.inputs = [pad.inputs[0], *op.inputs[1:]]
            op.options = {**op.options, "padding": "SAME"}
            graph.operators = [one for one in graph.operators if one is not pad]
            folded += 1
    return folded


def is_same(graph: Any, pad: Any, op: Any) -> bool:
    """Whether a PAD adds what SAME would: the total that keeps ceil(size / stride) outputs, the smaller half before."""
    pads = graph.tensors[pad.inputs[1]].data
    if pads is None or np.shape(pads) != (4, 2):
        return False
    sizes, kernel = graph.tensors[pad.inputs[0]].shape, graph.tensors[op.inputs[1]].shape
    expected = [[0, 0], [0, 0], [0, 0], [0, 0]]
    for axis, letter in ((1, "H"), (2, "W")):
        stride, dilation = op.options[f"stride{letter}"], op.options.get(f"dilation{letter}Factor", 1)
        span = (kernel[axis] - 1) * dilation + 1
        total = max((-(-sizes[axis] // stride) - 1) * stride + span - sizes[axis], 0)
        expected[axis] = [total // 2, total - total // 2]
    return bool(np.array_equal(pads, expected))
