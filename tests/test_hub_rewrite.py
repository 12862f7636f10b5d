"""The normal form: each rule gives the form that writers do best, and the same numbers."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import ModelProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgekit.hub.graph import attribute
from edgekit.hub.normalise import finish, prepare

DRAW = np.random.default_rng(0)


def normal_form(text: str, **stored: object) -> ModelProto:
    """The model in normal form, after a check that it computes what it did."""
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g ' + text)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items())
    before, _ = prepare(model, {})
    original = ModelProto()
    original.CopyFrom(before)
    after = finish(before, original)
    onnx.checker.check_model(after, full_check=True)
    shape = [d.dim_value for d in original.graph.input[0].type.tensor_type.shape.dim]
    feed = {"x": DRAW.normal(size=shape).astype(np.float32)}
    for want, found in zip(ReferenceEvaluator(original).run(None, feed), ReferenceEvaluator(after).run(None, feed), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    return after


def ops(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


W = DRAW.normal(size=(3, 5)).astype(np.float32)
B = DRAW.normal(size=(5,)).astype(np.float32)


def test_a_constant_matmul_is_a_gemm_with_weights_out_in() -> None:
    model = normal_form("(float[1,3] x) => (float[1,5] y) { y = MatMul(x, w) }", w=W)
    assert ops(model) == ["Gemm"]
    assert [list(tensor.dims) for tensor in model.graph.initializer] == [[5, 3]]


@pytest.mark.parametrize("bias", [B, B[None]])
def test_its_bias_goes_in(bias: object) -> None:
    assert ops(normal_form("(float[1,3] x) => (float[1,5] y) { m = MatMul(x, w)  y = Add(b, m) }", w=W, b=bias)) == ["Gemm"]


def test_a_bias_that_is_no_row_stays_outside() -> None:
    column = "(float[5,3] x) => (float[5,5] y) { m = MatMul(x, w)  y = Add(m, b) }"
    assert ops(normal_form(column, w=W, b=B[:, None])) == ["Gemm", "Add"]


def test_a_matmul_that_others_read_keeps_its_own_result() -> None:
    model = normal_form("(float[1,3] x) => (float[1,5] y, float[1,5] z) { m = MatMul(x, w)  y = Add(m, b)  z = Relu(m) }", w=W, b=B)
    assert sorted(ops(model)) == ["Add", "Gemm", "Relu"]


def test_shared_weights_are_stored_once() -> None:
    model = normal_form("(float[1,3] x) => (float[1,5] y, float[1,5] z) { y = MatMul(x, w)  r = Relu(x)  z = MatMul(r, w) }", w=W)
    assert len(model.graph.initializer) == 1


def test_a_scaled_gemm_and_a_matmul_of_rank_three_stay() -> None:
    assert attribute(normal_form("(float[1,3] x) => (float[1,5] y) { y = Gemm<alpha=2.0>(x, w) }", w=W).graph.node[0], "alpha") == 2
    assert ops(normal_form("(float[1,2,3] x) => (float[1,2,5] y) { y = MatMul(x, w) }", w=W)) == ["MatMul"]


def test_a_mean_over_an_image_is_a_global_pool() -> None:
    assert ops(normal_form("(float[1,2,3,4] x) => (float[1,2,1,1] y) { y = ReduceMean(x, a) }", a=np.int64([-1, 2]))) == ["GlobalAveragePool"]
    dropped = normal_form("(float[1,2,3,4] x) => (float[1,2] y) { y = ReduceMean<keepdims=0>(x, a) }", a=np.int64([2, 3]))
    assert ops(dropped) == ["GlobalAveragePool", "Flatten"]


def test_a_mean_over_channels_stays() -> None:
    assert ops(normal_form("(float[1,2,3,4] x) => (float[1,1,3,4] y) { y = ReduceMean(x, a) }", a=np.int64([1]))) == ["ReduceMean"]


def test_a_mean_over_a_channels_last_view_needs_no_transpose() -> None:
    text = "(float[1,2,3,4] x) => (float[1,2] y) { t = Transpose<perm=[0,2,3,1]>(x)  y = ReduceMean<keepdims=0>(t, a) }"
    assert ops(normal_form(text, a=np.int64([1, 2]))) == ["GlobalAveragePool", "Flatten"]
    turned = "(float[1,2,3,4] x) => (float[3,2] y) { t = Transpose<perm=[0,3,2,1]>(x)  y = ReduceMean<keepdims=0>(t, a) }"
    assert ops(normal_form(turned, a=np.int64([0, 1]))) == ["ReduceMean", "Transpose"]


@pytest.mark.parametrize("form", ["Squeeze(x, a)", "Reshape(x, s)"])
def test_a_row_per_sample_is_a_flatten(form: str) -> None:
    model = normal_form(f"(float[1,6,1,1] x) => (float[1,6] y) {{ y = {form} }}", a=np.int64([2, 3]), s=np.int64([1, -1]))
    assert ops(model) == ["Flatten"]


def test_other_reshapes_stay() -> None:
    assert ops(normal_form("(float[1,6,2,1] x) => (float[2,6] y) { y = Reshape(x, s) }", s=np.int64([2, 6]))) == ["Reshape"]


@pytest.mark.parametrize(("mode", "pads"), [("SAME_UPPER", [0, 1, 1, 1]), ("SAME_LOWER", [1, 1, 0, 1]), ("VALID", [0, 0, 0, 0])])
def test_automatic_padding_is_written_out(mode: str, pads: list[int]) -> None:
    kernel = DRAW.normal(size=(2, 1, 3, 3)).astype(np.float32)
    sizes = "3,7" if mode != "VALID" else "2,5"
    text = f'(float[1,1,6,7] x) => (float[1,2,{sizes}] y) {{ y = Conv<auto_pad="{mode}", strides=[2,1]>(x, k) }}'
    (node,) = normal_form(text, k=kernel).graph.node
    assert attribute(node, "pads") == pads
    assert attribute(node, "auto_pad") is None
