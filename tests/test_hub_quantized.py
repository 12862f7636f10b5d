"""Models that were quantized by others: weights alone become float again, arithmetic on integers stays and is told."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.hub.graph import Refusal
from edgekit.hub.load import check_operators
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


def test_integers_that_are_cast_and_scaled_are_told_too() -> None:
    nodes = [helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), helper.make_node("MatMul", ["x", "c"], ["y"])]
    made = model(nodes)
    assert dequantize_weights(made) == ["weights stored as integers are the float32 that they stand for"]
    assert len(made.graph.node) == 2  # constants are folded later
    assert dequantize_weights(model([helper.make_node("Identity", ["x"], ["y"])])) == []


def test_a_file_with_operators_of_onnx_runtimes_quantizer_is_no_source() -> None:
    made = model([helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=3, N=2)])
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(Refusal, match=r"^net\.onnx is a file quantized for ONNX Runtime, not a source: .*MatMulNBits; give the float model"):
        check_operators("net.onnx", made)
    made.graph.node[0].op_type = "FusedMatMul"
    with pytest.raises(Refusal, match="custom operator that no mobile format carries"):
        check_operators("net.onnx", made)
