"""Figures of a hub, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgekit.hub.figures import figures, macs
from edgekit.hub.graph import static_shapes
from edgekit.hub.shapes import infer


def test_a_small_network() -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]> g (float[1,4,8,8] x) => (float[1,6] y) {
        c = Conv<pads=[1,1,1,1], group=2, kernel_shape=[3,3]>(x, k, b)  p = GlobalAveragePool(c)  f = Flatten(p)  y = Gemm<transB=1>(f, w) }""")
    for name, shape in (("k", (10, 2, 3, 3)), ("b", (10,)), ("w", (6, 10))):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    model.graph.initializer.append(numpy_helper.from_array(np.int64([1, 2, 3]), "indices"))
    infer(model)
    found = figures(model)
    assert found["ops"] == {"Conv": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert found["parameters"] == 10 * 2 * 9 + 10 + 60
    assert found["weights_bytes"] == 4 * found["parameters"]
    assert found["macs"] == 8 * 8 * 10 * 2 * 9 + 60
    assert found["depthwise_macs"] == 0
    assert found["opset"] == 18
    assert found["outputs"] == [{"name": "y", "dtype": "float32", "shape": [1, 6]}]


def test_a_depthwise_convolution_counts_apart() -> None:
    text = "(float[1,4,5,5] x, float[4,1,3,3] d, float[6,4,1,1] p) => (float[1,6,3,3] y) { a = Conv<group=4>(x, d) y = Conv(a, p) }"
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g ' + text)
    infer(model)
    found = figures(model)
    assert (found["depthwise_macs"], found["macs"]) == (9 * 4 * 9, 9 * 4 * 9 + 9 * 6 * 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(float[1,4,5,5] x, float[4,3,2,2] w) => (float[1,3,10,10] y) { y = ConvTranspose<strides=[2,2]>(x, w) }", 4 * 25 * 3 * 4),
        ("(float[2,3,4] x, float[2,4,5] w) => (float[2,3,5] y) { y = MatMul(x, w) }", 2 * 3 * 5 * 4),
        ("(float[3,2] x, float[3,5] w) => (float[2,5] y) { y = Gemm<transA=1>(x, w) }", 2 * 5 * 3),
        ("(float[7,1,5] x, float[1,12,5] w, float[1,12,3] r) => (float[7,1,1,3] y) { y = LSTM<hidden_size=3>(x, w, r) }", 7 * 12 * (5 + 3)),
        ("(float[7,1,5] x, float[1,9,5] w, float[1,9,3] r) => (float[7,1,1,3] y) { y = GRU<hidden_size=3>(x, w, r) }", 7 * 9 * (5 + 3)),
        ("(float[7] x, float[7] w) => (float[7] y) { y = Add(x, w) }", 0),
    ],
)
def test_multiply_accumulates(text: str, expected: int) -> None:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g ' + text)
    infer(model)
    assert macs(model.graph.node[0], static_shapes(model.graph)) == expected
