"""Small ONNX models with named open axes: a depthwise CNN, an attention network over tokens, an LSTM, and one that lies about its batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.lab.onnx_cases import FLOAT, INT64, draw

Value = tuple[str, int, Sequence[int | str]]


def integers(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def open_model(nodes: Sequence[NodeProto], inputs: Sequence[Value], outputs: Sequence[Value], constants: Sequence[TensorProto]) -> onnx.ModelProto:
    """A model as exporters write it: names for open axes."""
    for index, node in enumerate(nodes):
        node.name = f"{node.op_type}_{index}"
    taken, given = ([helper.make_tensor_value_info(name, kind, list(shape)) for name, kind, shape in values] for values in (inputs, outputs))
    made = helper.make_model(helper.make_graph(list(nodes), "g", taken, given, list(constants)), opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def cnn(batch: int | str = "n", height: int | str = "h", width: int | str = "w") -> onnx.ModelProto:
    """image [n,3,h,w] → scores [n,5]: a strided convolution, a depthwise one, a pointwise one, a global mean, a Gemm."""
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "a"], ["1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["1"], ["2"]),
        node("Conv", ["2", "b"], ["3"], group=8, pads=[1, 1, 1, 1]),
        node("Conv", ["3", "c"], ["4"]),
        node("Relu", ["4"], ["5"]),
        node("GlobalAveragePool", ["5"], ["6"]),
        node("Flatten", ["6"], ["7"]),
        node("Gemm", ["7", "d"], ["scores"]),
    ]
    constants = [draw("a", 8, 3, 3, 3), draw("b", 8, 1, 3, 3, seed=1), draw("c", 64, 8, 1, 1, seed=2), draw("d", 64, 5, seed=3)]
    return open_model(nodes, [("image", FLOAT, [batch, 3, height, width])], [("scores", FLOAT, [batch, 5])], constants)


def attention() -> onnx.ModelProto:
    """ids [n,t] → y [n,t,8]: embedding and position (the first t of 32), one head of self-attention and a residual."""
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("Shape", ["ids"], ["size"], start=1, end=2),
        node("Slice", ["positions", "zero", "size", "zero"], ["p"]),
        node("Add", ["e", "p"], ["x"]),
        *(node("MatMul", ["x", f"w{name}"], [name]) for name in "qkv"),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["s"]),
        node("Softmax", ["s"], ["share"], axis=-1),
        node("MatMul", ["share", "v"], ["o"]),
        node("Add", ["x", "o"], ["y"]),
    ]
    weights = [draw(f"w{name}", 8, 8, seed=seed) for seed, name in enumerate("qkv")]
    constants = [draw("table", 20, 8, seed=4), draw("positions", 32, 8, seed=5), integers("zero", 0), *weights]
    return open_model(nodes, [("ids", INT64, ["n", "t"])], [("y", FLOAT, ["n", "t", 8])], constants)


def lstm() -> onnx.ModelProto:
    """x [t,1,4] → y [t,1,1,6]."""
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=6)]
    return open_model(nodes, [("x", FLOAT, ["t", 1, 4])], [("y", FLOAT, ["t", 1, 1, 6])], [draw("w", 1, 24, 4), draw("r", 1, 24, 6, seed=1)])


def baked() -> onnx.ModelProto:
    """x [n,4] → y [1,4]: it says that its batch is open, and its reshape has one row."""
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Reshape", ["a", "shape"], ["y"])]
    return open_model(nodes, [("x", FLOAT, ["n", 4])], [("y", FLOAT, [1, 4])], [integers("shape", 1, 4)])
