"""Models that were quantized by others: weights alone become float again, arithmetic on integers stays and is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.hub.graph import Refusal
from edgekit.hub.load import check_operators, load
from edgekit.hub.normalise import prepare
from edgekit.hub.quantized import dequantize_weights, widen
from edgekit.toolchains.convert.onnx_store.pack import pack
from tests.lab.onnx_cases import inputs_for, outputs_for

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


def four_bits(name: str, kind: int, *shape: int) -> onnx.TensorProto:
    low, high = (-8, 8) if kind in (TensorProto.INT4, TensorProto.INT2) else (0, 16)
    low, high = (low, high) if kind in (TensorProto.INT4, TensorProto.UINT4) else (max(low, -2), 2)
    return helper.make_tensor(name, kind, shape, np.random.default_rng(0).integers(low, high, shape).reshape(-1).tolist())


def floats(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(1).normal(size=shape).astype(np.float32), name)


UNPACKED = {
    "for each channel": ([helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=1)], TensorProto.INT4, [floats("s", 10)]),
    "for each block": ([helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=0, block_size=32)], TensorProto.INT4, [floats("s", 2, 10)]),
    "from a zero": (
        [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0, block_size=32)],
        TensorProto.UINT4,
        [floats("s", 2, 10), four_bits("z", TensorProto.UINT4, 2, 10)],
    ),
    "a product": (
        [helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), helper.make_node("Mul", ["c", "s"], ["d"])],
        TensorProto.INT2,
        [floats("s", 1, 10)],
    ),
    "a palette": (
        [helper.make_node("Cast", ["w"], ["c"], to=TensorProto.INT32), helper.make_node("Gather", ["s", "c"], ["d"])],
        TensorProto.UINT4,
        [floats("s", 16)],
    ),
}


@pytest.mark.parametrize("how", UNPACKED)
def test_weights_of_few_bits_are_read_as_the_floats_that_they_stand_for(how: str, tmp_path: Path) -> None:
    nodes, kind, constants = UNPACKED[how]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", [1, 40]), ("y", [1, 10])))
    noted = helper.make_tensor_value_info("w", kind, [40, 10])  # of its type, before it is widened
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["x", "d"], ["y"])], "g", [x], [y], [four_bits("w", kind, 40, 10), *constants], value_info=[noted]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)
    onnx.save(made, tmp_path / "net.onnx")
    (expected,) = outputs_for(made, (fed := inputs_for(made, 2)))
    read = load(tmp_path / "net.onnx")
    assert dequantize_weights(read) == ["weights stored as integers are the float32 that they stand for"]
    hub, notes = prepare(read, {})
    assert ([node.op_type for node in hub.graph.node], hub.opset_import[0].version, notes) == (["MatMul"], 18, [])
    np.testing.assert_allclose(outputs_for(hub, fed)[0], expected, rtol=1e-5, atol=1e-5)


def test_four_bits_that_the_model_computes_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], [SCALE[0], four_bits("z", TensorProto.INT4)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "net.onnx")
    with pytest.raises(Refusal, match="tensor 'z' is int4, which edgekit cannot carry"):
        load(tmp_path / "net.onnx")


RNG = np.random.default_rng(0)
PALETTE = RNG.normal(size=16).astype(np.float32)
SPARSE = RNG.random(20_001)


@pytest.mark.parametrize("four", [False, True])
@pytest.mark.parametrize("values", [PALETTE[RNG.integers(0, 16, 20_001)], np.where(SPARSE < 0.6, 0, PALETTE[3]), np.where(SPARSE < 0.95, 0, SPARSE)])
def test_packed_weights_are_read_as_they_were(values: np.ndarray, four: bool) -> None:  # type: ignore[type-arg]
    values = values.astype(np.float32).reshape(1, -1)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [numpy_helper.from_array(values, "w")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21 if four else 18)])
    assert pack(made, four) > 0
    widen(made)
    assert dequantize_weights(made)
    assert [node.op_type for node in made.graph.node] == ["Add"]
    np.testing.assert_array_equal(next(numpy_helper.to_array(tensor) for tensor in made.graph.initializer if tensor.name == "w"), values)


def test_a_model_without_stored_integers_is_as_it_was() -> None:
    made = model([helper.make_node("Neg", ["s"], ["c"]), helper.make_node("Mul", ["x", "c"], ["y"])])
    assert dequantize_weights(made) == []
    assert len(made.graph.node) == 2


def test_a_file_with_operators_of_onnx_runtimes_quantizer_is_no_source() -> None:
    made = model([helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=3, N=2)])
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(Refusal, match=r"^net\.onnx is a file quantized for ONNX Runtime, not a source: .*MatMulNBits; give the float model"):
        check_operators("net.onnx", made)
    made.graph.node[0].op_type = "FusedMatMul"
    with pytest.raises(Refusal, match="custom operator that no mobile format carries"):
        check_operators("net.onnx", made)
