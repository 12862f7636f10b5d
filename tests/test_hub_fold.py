"""Folding: what depends on stored tensors or fixed shapes alone is computed; what draws or would grow is not."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
from onnx import ModelProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgekit.hub.graph import array, constants
from edgekit.hub.normalise import prepare

HEAD = '<ir_version: 8, opset_import: ["" : 18]> '


def prepared(text: str, **stored: object) -> ModelProto:
    model = onnx.parser.parse_model(HEAD + text)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items())
    return prepare(model, {})[0]


def ops(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_a_shape_computation_becomes_a_constant() -> None:
    text = """g (float[2,3,4] x) => (float[m] y) {
        s = Shape(x)  i = Constant<value_ints=[1]>()  d = Gather(s, i)  r = Constant<value_ints=[-1]>()
        t = Concat<axis=0>(r, d)  z = Reshape(x, t)  k = Constant<value_ints=[0, 1]>()  y = ReduceSum<keepdims=0>(z, k) }"""
    model = prepared(text.replace("float[m]", "float"))
    assert ops(model) == ["Reshape", "ReduceSum"]
    assert array(constants(model.graph)[model.graph.node[0].input[1]]).tolist() == [-1, 3]


def test_a_chain_of_constants_is_computed() -> None:
    model = prepared("g (float[2] x) => (float[2] y) { s = Sqrt(a)  t = Mul(s, b)  y = Add(x, t) }", a=np.float32([4, 9]), b=np.float32([10, 1]))
    assert ops(model) == ["Add"]
    assert array(constants(model.graph)["t"]).tolist() == [20, 3]


def test_random_numbers_and_quantization_stay() -> None:
    assert "RandomUniform" in ops(prepared("g (float[2] x) => (float[2] y) { r = RandomUniform<shape=[2]>()  y = Add(x, r) }"))
    text = "g (float[2] x) => (float[2] y) { w = DequantizeLinear(q, s)  y = Add(x, w) }"
    assert "DequantizeLinear" in ops(prepared(text, q=np.int8([1, 2]), s=np.float32(0.5)))


def test_what_would_grow_stays_a_node() -> None:
    text = "g (float[1,1] x) => (float[512,512] y) { z = ConstantOfShape(s)  y = Add(x, z) }"
    assert ops(prepared(text, s=np.int64([512, 512]))) == ["ConstantOfShape", "Add"]
    assert ops(prepared(text.replace("512", "4"), s=np.int64([4, 4]))) == ["Add"]


def test_an_output_that_is_constant_keeps_its_node() -> None:
    model = prepared("g (float[2] x) => (float[2] y, float[2] c) { y = Relu(x)  c = Sqrt(a) }", a=np.float32([4, 9]))
    assert sorted(ops(model)) == ["Relu", "Sqrt"]


IF = """g (float[2] x) => (float[2] y) {
    h = Relu(x)
    y = If (c) <then_branch = t () => (float[2] a) { h2 = Neg(h)  a = Neg(h2) }, else_branch = e () => (float[2] b) { h2 = Exp(h)  b = Neg(h2) }>
}"""


def test_the_taken_branch_of_a_decided_if_replaces_it() -> None:
    assert [op for op in ops(prepared(IF, c=True)) if op != "Identity"] == ["Relu", "Neg", "Neg"]
    assert [op for op in ops(prepared(IF, c=False)) if op != "Identity"] == ["Relu", "Exp", "Neg"]


def test_two_ifs_with_the_same_names_inside_do_not_meet() -> None:
    text = IF.replace("\n}", """
    z = If (c) <then_branch = t () => (float[2] a) { h2 = Exp(y)  a = Neg(h2) }, else_branch = e () => (float[2] b) { h2 = Exp(h)  b = Neg(h2) }>
}""").replace("(float[2] y)", "(float[2] z)", 1)  # fmt: skip
    model = prepared(text, c=True)
    (found,) = ReferenceEvaluator(model).run(None, {"x": np.float32([1, -1])})
    np.testing.assert_allclose(found, -np.exp(np.float32([1, 0])), rtol=1e-6)


def test_an_if_on_an_input_stays() -> None:
    model = prepared(IF.replace("(float[2] x)", "(float[2] x, bool c)"))
    assert ops(model) == ["Relu", "If"]


def test_functions_are_inlined() -> None:
    text = """g (float[2] x) => (float[2] y) { y = local.twice(x) }
    <domain: "local", opset_import: ["" : 18]> twice (a) => (b) { b = Add(a, a) }"""
    model = onnx.parser.parse_model(HEAD.replace('"" : 18', '"" : 18, "local" : 1') + text)
    found, _ = prepare(model, {})
    assert ops(found) == ["Add"]
    assert [entry.domain for entry in found.opset_import] == [""]
