"""The TFLite file has no RESHAPE, TRANSPOSE or activation of its own where a layer beside it can take it in; and computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from onnx import ModelProto, numpy_helper

from edgekit.hub.normalise import prepare
from tests.lab.convert import do, verified
from tests.lab.onnx_cases import save
from tests.test_write_tflite import operators

pytestmark = pytest.mark.toolchain
DRAW = np.random.default_rng(0)


def graph(text: str, **sizes: tuple[int, ...]) -> ModelProto:
    made = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g ' + text)
    made.graph.initializer.extend(numpy_helper.from_array(DRAW.normal(size=size).astype(np.float32), name) for name, size in sizes.items())
    return prepare(made, {})[0]


def tightened(made: ModelProto, tmp_path: Path) -> list[str]:
    """The operators of its file, which computes what the model does and counts them so."""
    done = do("write_tflite", {"hub": save(made, tmp_path / "hub.onnx")})
    file = done.folder / "model.tflite"
    found = verified(tmp_path, made, file, "tflite")
    assert found["boundary"] is None
    assert found["parity"]["max_rel"] < 1e-5
    kinds = operators(file)
    assert (done.result["ops"], done.result["transposes"][1]) == (len(kinds), kinds.count("TRANSPOSE"))
    return kinds


def test_a_sequence_network_stays_in_one_order(tmp_path: Path) -> None:
    # given convolutions over a sequence, with a pool, an activation and padding between them, and a dense layer behind
    text = """(float[1,4,16] x) => (float[1,3] y) {
        one = Constant<value = int64[1] {2}>()  pads = Constant<value = int64[6] {0,0,2,0,0,0}>()  flat = Constant<value = int64[2] {1,24}>()
        a = Unsqueeze(x, one)  b = Conv<pads=[0,1,0,1]>(a, w)  c = Squeeze(b, one)  d = Relu(c)  e = Unsqueeze(d, one)
        f = MaxPool<kernel_shape=[1,2], strides=[1,2]>(e)  g = Squeeze(f, one)  h = Pad(g, pads)  i = Unsqueeze(h, one)
        j = Conv<strides=[1,2]>(i, v)  k = Reshape(j, flat)  y = Gemm<transB=1>(k, u)
    }"""
    kinds = tightened(graph(text, w=(6, 4, 1, 3), v=(6, 6, 1, 3), u=(3, 24)), tmp_path)
    # then only the input is turned, into the order that the convolutions have
    assert kinds.count("TRANSPOSE") <= 1
    assert "RELU" not in kinds
    assert len(kinds) <= 8


def test_a_stored_matrix_is_a_dense_layer_with_its_bias_and_activation(tmp_path: Path) -> None:
    text = "(float[2,5,4] x) => (float[2,5,3] y) { m = MatMul(x, w)  a = Add(m, b)  y = Relu(a) }"
    assert tightened(graph(text, w=(4, 3), b=(3,)), tmp_path) == ["FULLY_CONNECTED"]


def test_rows_taken_apart_for_a_dense_layer_stay_together(tmp_path: Path) -> None:
    text = """(float[2,5,4] x) => (float[2,5,3] y) {
        rows = Constant<value = int64[2] {10,4}>()  back = Constant<value = int64[3] {2,5,3}>()
        r = Reshape(x, rows)  g = Gemm<transB=1>(r, w, b)  y = Reshape(g, back)
    }"""
    assert tightened(graph(text, w=(3, 4), b=(3,)), tmp_path) == ["FULLY_CONNECTED"]


def test_an_image_taken_apart_needs_no_transpose_but_weights_in_its_order(tmp_path: Path) -> None:
    text = "(float[1,1,6,6] x) => (float[1,3] y) { c = Conv(x, w)  r = Relu(c)  f = Flatten(r)  y = Gemm<transB=1>(f, u, b) }"
    assert tightened(graph(text, w=(4, 1, 3, 3), u=(3, 64), b=(3,)), tmp_path) == ["RESHAPE", "CONV_2D", "RESHAPE", "FULLY_CONNECTED"]


def test_branches_in_another_order_are_joined_before_they_are_turned(tmp_path: Path) -> None:
    text = """(float[1,6,6,2] x) => (float[1,6,6,8] y) {
        t = Transpose<perm=[0,3,1,2]>(x)
        a = Conv<pads=[1,1,1,1]>(t, w)  b = Conv<pads=[1,1,1,1]>(t, v)  c = Concat<axis=1>(a, b)  s = Sigmoid(c)  y = Transpose<perm=[0,2,3,1]>(s)
    }"""
    kinds = tightened(graph(text, w=(4, 2, 3, 3), v=(4, 2, 3, 3)), tmp_path)
    assert sorted(kinds) == ["CONCATENATION", "CONV_2D", "CONV_2D", "LOGISTIC"]
