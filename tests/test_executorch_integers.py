"""The forms that XNNPACK takes for integer kernels hold the same values as the QuantizeLinear/DequantizeLinear pairs that they are made of."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgekit.hub.graph import array, constants, makers, readers
from edgekit.toolchains.executorch.integers import RUN_TIME, has_pairs, prepare
from tests.lab.onnx_cases import FLOAT, Array, model

RNG = np.random.default_rng(0)
node = helper.make_node


def pair(name: str, scale: float, zero: int = 0, kind: type = np.int8) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """`name` on a grid: `name:on`."""
    ends = [f"{name}:scale", f"{name}:zero"]
    nodes = [node("QuantizeLinear", [name, *ends], [f"{name}:whole"]), node("DequantizeLinear", [f"{name}:whole", *ends], [f"{name}:on"])]
    return nodes, [numpy_helper.from_array(np.float32(scale), ends[0]), numpy_helper.from_array(kind(zero), ends[1])]


def weights(name: str, *shape: int, axis: int, kind: type = np.int8) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """Integers with a scale for each slice along the axis, and the node that gives `name`."""
    whole = RNG.integers(-127, 128, shape).astype(kind)
    scale = RNG.uniform(0.001, 0.01, shape[axis]).astype(np.float32)
    tensors = [numpy_helper.from_array(whole, f"{name}:whole"), numpy_helper.from_array(scale, f"{name}:scale")]
    return node("DequantizeLinear", [one.name for one in tensors], [name], axis=axis), tensors


def network() -> onnx.ModelProto:
    """A convolution read by three, a sum, a join of two grids, and a product with its bias added behind it."""
    made = [pair("x", 0.02), pair("b", 0.01, -128), pair("c", 0.03, 5), pair("d", 0.04, -7), pair("g", 0.02, 3), pair("y", 0.05)]
    pairs = {nodes[0].input[0]: nodes for nodes, _ in made}
    layers = [weights("w", 4, 3, 1, 1, axis=0), weights("bias", 4, axis=0, kind=np.int32), weights("v", 8, 5, axis=1)]
    nodes = [
        *(one for one, _ in layers),
        *pairs["x"],
        node("Conv", ["x:on", "w", "bias"], ["a"]),
        node("Relu", ["a"], ["b"]),
        *pairs["b"],
        node("Add", ["b:on", "b:on"], ["c"]),
        *pairs["c"],
        node("Concat", ["c:on", "b:on"], ["d"], axis=1),
        *pairs["d"],
        node("GlobalAveragePool", ["d:on"], ["e"]),
        node("Flatten", ["e"], ["g"]),
        *pairs["g"],
        node("MatMul", ["g:on", "v"], ["h"]),
        node("Add", ["h", "more"], ["y"]),
        *pairs["y"],
    ]
    tensors = [one for _, held in [*made, *layers] for one in held]
    tensors.append(numpy_helper.from_array(RNG.normal(size=5).astype(np.float32), "more"))
    return model(nodes, [("x", FLOAT, [1, 3, 4, 4])], [("y:on", FLOAT, [1, 5])], tensors)


def outputs(made: onnx.ModelProto) -> list[Array]:
    made.opset_import[0].version = 21  # from which on the evaluator knows the pairs
    samples = np.random.default_rng(1).normal(size=(4, 1, 3, 4, 4)).astype(np.float32)
    return [ReferenceEvaluator(made).run(None, {"x": sample})[0] for sample in samples]


@pytest.fixture
def both() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    before = network()
    after = copy.deepcopy(before)
    prepare(after)
    return before, after


def test_values_stay(both: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    before, after = map(outputs, both)
    assert len({one.tobytes() for one in before}) == 4
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_each_reader_has_its_own_conversion(both: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    graph = both[1].graph
    read = Counter(name for one in graph.node for name in one.input)
    assert {read[one.output[0]] for one in graph.node if one.op_type == "DequantizeLinear" and one.output[0] != "y:on"} == {1}


def test_what_is_joined_has_one_grid(both: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    graph = both[1].graph
    (join,) = (one for one in graph.node if one.op_type == "Concat")
    assert {tuple(makers(graph)[name].input[1:]) for name in join.input} == {("d:scale", "d:zero")}


def test_a_product_is_a_linear_layer_with_its_bias(both: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    graph = both[1].graph
    (product,) = (one for one in graph.node if one.op_type == "Gemm")
    assert product.input[2] == "more"
    assert readers(graph)[product.output[0]][0].op_type == "QuantizeLinear"
    held = makers(graph)[product.input[1]]
    assert array(constants(graph)[held.input[0]]).shape == (5, 8)


def test_biases_and_what_is_left_are_floats(both: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    assert {array(constants(both[1].graph)[name]).dtype for name in ("bias",)} == {np.dtype(np.float32)}
    weight = makers(both[1].graph)["w"].input[0]
    after = copy.deepcopy(both[0])
    prepare(after, {weight})
    assert "w" in constants(after.graph)
    np.testing.assert_allclose(outputs(after), outputs(both[0]), atol=1e-6)


def test_a_bias_that_int32_has_no_room_for_keeps_its_layer_in_float() -> None:
    made = network()
    (scale,) = (tensor for tensor in made.graph.initializer if tensor.name == "v:scale")
    scale.CopyFrom(numpy_helper.from_array(np.full(5, 1e-12, np.float32), scale.name))
    after = copy.deepcopy(made)
    prepare(after)
    held = constants(after.graph)
    assert ("v" in held, "w" in held) == (True, False)
    np.testing.assert_allclose(outputs(after), outputs(made), atol=1e-6)


@pytest.mark.parametrize(("kind", "taken"), [(np.int8, True), (np.uint8, False)])
def test_pairs_are_those_of_int8(kind: type, taken: bool) -> None:
    nodes, tensors = pair("x", 0.1, kind=kind)
    assert has_pairs(model(nodes, [("x", FLOAT, [1, 4])], [("x:on", FLOAT, [1, 4])], tensors)) is taken
    assert not has_pairs(model([node("Relu", ["x"], ["y"])], [("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 4])]))


def test_linear_layers_take_rows_that_are_quantized_at_run_time() -> None:
    values = {"v": RNG.normal(size=(16, 32)).astype(np.float32), "u": RNG.normal(size=(8, 32)).astype(np.float32), "few": np.ones((8, 2), np.float32)}
    nodes = [node("MatMul", ["x", "v"], ["a"]), node("Gemm", ["a", "u"], ["b"], transB=1), node("MatMul", ["b", "few"], ["y"])]
    made = model(nodes, [("x", FLOAT, [1, 16])], [("y", FLOAT, [1, 2])], [numpy_helper.from_array(value, name) for name, value in values.items()])
    prepare(made, dynamic=True)
    graph = made.graph
    first, second, last = (one for one in graph.node if one.op_type in ("Gemm", "MatMul"))
    for layer, expected in ((first, values["v"].T), (second, values["u"])):
        assert makers(graph)[layer.input[0]].op_type == RUN_TIME
        held = [array(constants(graph)[name]) for name in makers(graph)[layer.input[1]].input]
        assert held[0].dtype == np.int8
        np.testing.assert_allclose(held[0] * held[1].reshape(-1, 1), expected, atol=float(held[1].max()) / 2)
    assert list(last.input) == ["b", "few"]
