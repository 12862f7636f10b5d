"""Rules rewrite a node into operators that compute the same; definitions of onnx.defs replace what they define."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgekit.hub.graph import Refusal
from edgekit.hub.lower import Lowering, activations, expand, lower, pool, quantize, select, transform
from edgekit.hub.lower.dtypes import compute_in_float32
from edgekit.hub.lower.recurrent import unroll
from edgekit.hub.lower.resize import resize
from edgekit.hub.shapes import infer

RNG = np.random.default_rng(0)


def model(op: str, shape: list[int], stored: dict[str, np.ndarray] | None = None, version: int = 18, **attributes: object) -> onnx.ModelProto:
    """One node that reads x and stored tensors and gives y."""
    weights = [onnx.numpy_helper.from_array(values, name) for name, values in (stored or {}).items()]
    node = helper.make_node(op, ["x", *(stored or {})], ["y"], **attributes)
    x, y = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape), helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([node], "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)


def twice(graph: Lowering, node: NodeProto) -> None:
    graph.add("Add", [graph.add("Relu", [node.input[0]]), graph.add("Relu", [node.input[0]])], node.output)


def endless(graph: Lowering, node: NodeProto) -> None:
    graph.add("Relu", [node.input[0]], node.output)


def test_what_a_rule_adds_takes_the_place_of_its_node():
    made = model("Elu", [2, 3])
    lower(made, {"Elu": twice})
    assert [node.op_type for node in made.graph.node] == ["Relu", "Relu", "Add"]
    assert len({node.name for node in made.graph.node}) == 3
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    assert np.array_equal(ReferenceEvaluator(made).run(None, {"x": x})[0], 2 * np.maximum(x, 0))


def test_what_a_rule_added_is_lowered_further():
    made = model("Elu", [2, 3])
    lower(made, {"Elu": twice, "Add": lambda graph, node: graph.add("Sum", node.input, node.output) and None})
    assert [node.op_type for node in made.graph.node] == ["Relu", "Relu", "Sum"]


def test_a_rule_that_answers_itself_is_refused():
    with pytest.raises(Refusal, match="30 rounds"):
        lower(model("Relu", [2]), {"Relu": endless})


def test_a_rule_may_refuse_its_node():
    def refuse(graph: Lowering, node: NodeProto) -> None:
        graph.refuse(node, "has no counterpart")

    with pytest.raises(Refusal, match="Elu node 'y' has no counterpart"):
        lower(model("Elu", [2]), {"Elu": refuse})


@pytest.mark.parametrize(
    ("op", "stored", "attributes"),
    [
        ("LayerNormalization", {"scale": np.full(4, 2.0, np.float32), "bias": np.ones(4, np.float32)}, {"axis": -1, "epsilon": 1e-3}),
        ("Softplus", {}, {}),
        ("Celu", {}, {"alpha": 0.5}),
        ("HardSwish", {}, {}),
        ("ThresholdedRelu", {}, {}),
    ],
)
def test_a_definition_computes_what_its_operator_does(op, stored, attributes):
    made = model(op, [3, 4], stored, **attributes)
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    before = ReferenceEvaluator(made).run(None, {"x": x})[0]
    lower(made, {op: expand})
    onnx.checker.check_model(made)
    assert op not in {node.op_type for node in made.graph.node}
    assert np.allclose(ReferenceEvaluator(made).run(None, {"x": x})[0], before, atol=1e-6)


def test_an_operator_without_a_definition_stays():
    made = model("Tanh", [2])
    lower(made, {"Tanh": expand})
    assert [node.op_type for node in made.graph.node] == ["Tanh"]


def test_other_floats_are_computed_in_float32_and_kept_at_the_boundary():
    x, y = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [3]), helper.make_tensor_value_info("y", TensorProto.DOUBLE, [3])
    stored = onnx.numpy_helper.from_array(np.array([1.0, 2.0, 3.0]), "w")
    made = helper.make_model(
        helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [x], [y], [stored]), opset_imports=[helper.make_opsetid("", 18)]
    )
    assert compute_in_float32(made) == ["double is computed in float32"]
    assert [node.op_type for node in made.graph.node] == ["Cast", "Mul", "Cast"]
    onnx.checker.check_model(made, full_check=True)
    found = ReferenceEvaluator(made).run(None, {"x": np.array([1.0, 0.5, -1.0])})[0]
    assert found.dtype == np.float64
    assert np.array_equal(found, [1.0, 1.0, -3.0])


def test_a_stored_float64_beyond_float32_is_refused():
    x, y = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [1]), helper.make_tensor_value_info("y", TensorProto.DOUBLE, [1])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [x], [y], [onnx.numpy_helper.from_array(np.array([1e300]), "w")])
    with pytest.raises(Refusal, match="'w' holds float64 values that float32 cannot hold"):
        compute_in_float32(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))


def layer(kind: str, direction: str, shapes: dict[str, tuple[int, ...]], more: dict[str, int]) -> onnx.ModelProto:
    """A recurrent layer of 3 steps, 2 sequences, width 4 and 5 units, with the same weights each time."""
    draws = np.random.default_rng(1)
    stored = [onnx.numpy_helper.from_array(draws.standard_normal(shape).astype(np.float32) / 3, name) for name, shape in shapes.items()]
    node = helper.make_node(kind, ["x", "W", "R", "B"], ["y"], hidden_size=5, direction=direction, **more)
    x, y = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 2, 4]), helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 1, 2, 5])
    return helper.make_model(helper.make_graph([node], "g", [x], [y], stored), opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize(("kind", "gates", "more"), [("LSTM", 4, {}), ("GRU", 3, {"linear_before_reset": 1}), ("GRU", 3, {}), ("RNN", 1, {})])
def test_a_recurrent_layer_written_out_computes_what_it_did(kind, gates, more, direction):
    # given: ONNX's reference evaluator reads forward only, so a reversed layer is one that reads a reversed sequence
    shapes = {"W": (1, gates * 5, 4), "R": (1, gates * 5, 5), "B": (1, 2 * gates * 5)}
    x = RNG.standard_normal((3, 2, 4)).astype(np.float32)
    turn = slice(None, None, -1 if direction == "reverse" else 1)
    expected = ReferenceEvaluator(layer(kind, "forward", shapes, more)).run(None, {"x": x[turn]})[0][turn]
    # when
    made = layer(kind, direction, shapes, more)
    lower(made, {kind: unroll})
    # then
    assert kind not in {one.op_type for one in made.graph.node}
    assert np.allclose(ReferenceEvaluator(made).run(None, {"x": x})[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "rule", "shape", "stored", "attributes"),
    [
        ("Elu", activations.elu, [3, 4], {}, {"alpha": 2.0}),
        ("Mish", activations.mish, [3, 4], {}, {}),
        ("Hardmax", activations.hardmax, [3, 4], {}, {"axis": 1}),
        ("PRelu", activations.prelu, [3, 4], {"slope": np.linspace(0, 1, 4, dtype=np.float32)}, {}),
        ("Slice", select.slice_, [5, 6], {"starts": [-1], "ends": [-9], "axes": [1], "steps": [-2]}, {}),
        ("Pad", select.pad, [5, 6], {"pads": [1, 2]}, {"mode": "wrap", "axes_at": 3, "axes": [1]}),
        ("Trilu", select.trilu, [4, 5], {"k": np.array(1)}, {"upper": 0}),
        ("ArgMax", select.arg, [4, 5], {}, {"axis": 1, "select_last_index": 1}),
        ("MaxPool", pool.max_pool, [1, 2, 9, 9], {}, {"kernel_shape": [2, 3], "dilations": [2, 2]}),
        ("Resize", resize, [1, 2, 5, 6], {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 0.6, 1.7], np.float32)}, {"mode": "cubic"}),
        ("Resize", resize, [1, 2, 5, 6], {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 1.5, 2.5], np.float32)}, {"nearest_mode": "ceil"}),
        ("Einsum", transform.einsum, [3, 4], {"w": np.ones((4, 5), np.float32)}, {"equation": "ij,jk->ki"}),
        ("QuantizeLinear", quantize.quantize, [3, 4], {"scale": np.full(4, 0.1, np.float32), "zero": np.full(4, 3, np.uint8)}, {"axis": 1}),
    ],
)
def test_a_rule_computes_what_its_operator_does(op, rule, shape, stored, attributes):
    given = {name: np.asarray(values, None if isinstance(values, np.ndarray) else np.int64) for name, values in stored.items()}
    inputs = ["x", *given]
    if "axes_at" in attributes:  # an input in the middle is left out
        inputs = [*inputs, *[""] * (attributes["axes_at"] - len(inputs)), "pad_axes"]
        given["pad_axes"] = np.array(attributes["axes"])
        attributes = {name: value for name, value in attributes.items() if name not in ("axes_at", "axes")}
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    node = helper.make_node(op, inputs, ["y"], **attributes)
    kind = {"ArgMax": TensorProto.INT64, "QuantizeLinear": TensorProto.UINT8}.get(op, TensorProto.FLOAT)
    weights = [onnx.numpy_helper.from_array(values, name) for name, values in given.items()]
    graph = helper.make_graph([node], "g", [x], [helper.make_tensor_value_info("y", kind, None)], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    infer(made)
    feed = {"x": RNG.standard_normal(shape).astype(np.float32)}
    expected = ReferenceEvaluator(made).run(None, feed)[0]
    lower(made, {op: rule})
    assert [one.op_type for one in made.graph.node] != [op]
    found = ReferenceEvaluator(made).run(None, feed)[0]
    assert found.dtype == expected.dtype
    assert np.allclose(found, expected, atol=1e-5)
