"""Models that were quantized by others: weights alone become float again, arithmetic on integers stays and is told."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekit.hub.quantized import dequantize_weights

SCALE = [numpy_helper.from_array(np.float32(0.5), "s"), numpy_helper.from_array(np.uint8(128), "z")]
WEIGHTS = numpy_helper.from_array(np.array([[128, 130], [126, 129], [128, 128]], np.uint8), "w")


def model(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", [1, 3]), ("y", [1, 2])))
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], [*SCALE, WEIGHTS]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_stored_integers_become_the_numbers_that_they_stand_for() -> None:
    made = model([helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"]), helper.make_node("MatMul", ["x", "d"], ["y"])])
    assert dequantize_weights(made) == ["weights stored as integers are the float32 that they stand for"]
    assert [node.op_type for node in made.graph.node] == ["MatMul"]
    (weights,) = [tensor for tensor in made.graph.initializer if tensor.name == "d"]
    np.testing.assert_array_equal(numpy_helper.to_array(weights), np.array([[0, 1], [-1, 0.5], [0, 0]], np.float32))


def test_arithmetic_on_integers_is_kept_and_told() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="first"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["r", "d"], ["y"]),
    ]
    made = model(nodes)
    (note,) = dequantize_weights(made)
    assert "QuantizeLinear node 'first'" in note
    assert "give the float model" in note
    assert len(made.graph.node) == 4
