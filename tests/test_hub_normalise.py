"""The way from a loaded model to the hub: boundary kept, order, names, one opset."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgekit.hub.graph import Refusal, opset, spec
from edgekit.hub.names import name_boundary
from edgekit.hub.normalise import finish, prepare
from edgekit.hub.order import sort


def parse(text: str, version: int = 18) -> ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {version}]> g {text}')


def hub(model: ModelProto) -> ModelProto:
    prepared, _ = prepare(model, {})
    boundary = ModelProto()
    boundary.CopyFrom(prepared)
    return finish(prepared, boundary)


def test_an_input_that_nothing_reads_stays_declared() -> None:
    found = hub(parse("(float[1,3] x, float[1,2] unused) => (float[1,3] y) { y = Relu(x) }"))
    assert [spec(value) for value in found.graph.input] == [
        {"name": "x", "dtype": "float32", "shape": [1, 3]},
        {"name": "unused", "dtype": "float32", "shape": [1, 2]},
    ]


def test_dead_nodes_and_weights_are_removed() -> None:
    model = parse("(float[1,3] x) => (float[1,3] y) { y = Relu(x)  z = Add(x, w) }")
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 3), np.float32), "w"))
    found = hub(model)
    assert [node.op_type for node in found.graph.node] == ["Relu"]
    assert not found.graph.initializer


def test_every_node_has_a_name_of_its_own() -> None:
    model = parse("(float[1,3] x) => (float[1,3] y) { a = Relu(x)  b = Exp(a)  y = Neg(b) }")
    model.graph.node[0].name = model.graph.node[1].name = "same"
    names = [node.name for node in hub(model).graph.node]
    assert names[0] == "same"
    assert len(set(names)) == 3
    assert all(names)


def test_nodes_out_of_order_are_sorted_and_the_rest_stays_put() -> None:
    model = parse("(float[1] x) => (float[1] y, float[1] z) { z = Exp(x)  b = Relu(x)  y = Neg(b) }")
    nodes = [model.graph.node[i] for i in (0, 2, 1)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    sort(model.graph)
    assert [node.op_type for node in model.graph.node] == ["Exp", "Relu", "Neg"]


def test_a_circle_and_a_tensor_from_nowhere_are_refused() -> None:
    circle = parse("(float[1] x) => (float[1] y) { a = Add(x, y)  y = Neg(a) }")
    with pytest.raises(Refusal, match="depends on its own output"):
        sort(circle.graph)
    with pytest.raises(Refusal, match="'w', which nothing in the graph gives"):
        sort(parse("(float[1] x) => (float[1] y) { y = Add(x, w) }").graph)


def test_a_stored_default_of_an_input_is_a_constant_with_a_note() -> None:
    model = parse("(float[1] x, float[1] k) => (float[1] y) { y = Add(x, k) }")
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "k"))
    found, notes = prepare(model, {})
    assert [value.name for value in found.graph.input] == ["x"]
    assert notes == ["input 'k' has a default in the model and is fixed at it"]


@pytest.mark.parametrize("version", [9, 13, 17, 20, 22])
def test_other_opsets_become_18(version: int) -> None:
    axes = "s = Squeeze<axes=[0]>(r)" if version < 13 else "s = Squeeze(r, a)"
    model = parse(f"(float[1,3] x) => (float[3] y) {{ r = Relu(x)  {axes}  y = Softmax<axis=0>(s) }}", version)
    model.graph.initializer.append(numpy_helper.from_array(np.int64([0]), "a"))
    found = hub(model)
    assert opset(found) == 18
    (y,) = ReferenceEvaluator(found).run(None, {"x": np.float32([[0, 0, 0]])})
    np.testing.assert_allclose(y, np.full(3, 1 / 3), rtol=1e-6)


def test_a_function_of_a_newer_opset_is_written_out() -> None:
    found = hub(parse("(float[1,3] x) => (float[1,3] y) { y = Gelu(x) }", 20))
    assert opset(found) == 18
    assert "Gelu" not in {node.op_type for node in found.graph.node}


def test_a_newer_opset_that_allows_more_types_is_kept_with_a_note() -> None:
    model = parse('(int16[1,3] x, int16[1,3] s) => (int16[1,3] y) { y = BitShift<direction="LEFT">(x, s) }', onnx.defs.onnx_opset_version())
    found, notes = prepare(model, {})
    assert opset(found) == onnx.defs.onnx_opset_version()
    assert "kept in opset" in notes[0]


def test_a_boundary_takes_its_names_and_an_inner_tensor_gives_way() -> None:
    model = parse("(float[1] in_0) => (float[1] out, float[1] in_0) { label = Relu(in_0)  out = Neg(label) }")
    name_boundary(model, {"in_0": "image"}, ["label", "same"])
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in [*model.graph.input, *model.graph.output]] == ["image", "label", "same"]
    label, same = ReferenceEvaluator(model).run(None, {"image": np.float32([2])})
    assert (label.tolist(), same.tolist()) == ([-2], [2])


def test_a_name_inside_a_body_follows() -> None:
    text = """(float[1] a, bool c) => (float[1] y) {
        y = If (c) <then_branch = t () => (float[1] p) { p = Relu(a) }, else_branch = e () => (float[1] q) { q = Neg(a) }> }"""
    model = parse(text)
    name_boundary(model, {"a": "image", "c": "c"}, ["label"])
    (label,) = ReferenceEvaluator(model).run(None, {"image": np.float32([2]), "c": np.bool_(False)})
    assert label.tolist() == [-2]


def test_documentation_of_the_exporter_is_not_carried() -> None:
    model = parse("(float[1] x) => (float[1] y) { y = Relu(x) }")
    model.graph.node[0].doc_string = "/home/somebody/model.py:3"
    helper.set_model_props(model, {"author": "somebody"})
    found = hub(model)
    assert b"somebody" not in found.SerializeToString()


def test_results_that_nothing_reads_are_left_out_where_the_operator_allows_it() -> None:
    # given an LSTM whose last cell nothing reads, and a Split of which one part is read
    weights = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in (("w", (1, 4, 2)), ("r", (1, 4, 1)))]
    nodes = [
        helper.make_node("Split", ["x"], ["left", "right"], axis=2),
        helper.make_node("LSTM", ["left", "w", "r"], ["y", "last", "cell"], hidden_size=1),
        helper.make_node("Relu", ["y"], ["out"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 1, 4])
    graph = helper.make_graph(nodes, "g", [x], [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    prepared, _ = prepare(model, {})

    assert [list(node.output) for node in prepared.graph.node] == [["left", "right"], ["y"], ["out"]]
