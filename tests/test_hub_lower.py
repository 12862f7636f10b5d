"""Rules rewrite a node into operators that compute the same; definitions of onnx.defs replace what they define."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgekit.hub.graph import Refusal
from edgekit.hub.lower import Lowering, expand, lower

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
