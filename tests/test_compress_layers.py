"""The layers of a hub: what their axes mean, against networks written out."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest
from onnx import ModelProto, numpy_helper

from edgekit.compress.layers import distinct, layers, rows, unrows
from edgekit.hub.shapes import infer


def hub(text: str, **weights: tuple[int, ...]) -> ModelProto:
    """A graph in ONNX's own words with random weights of these shapes."""
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g ' + text)
    rng = np.random.default_rng(0)
    for name, shape in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    infer(model)
    return model


@pytest.mark.parametrize(
    ("text", "weights", "expected"),
    [
        ("(float[1,4,5,5] x) => (float[1,6,5,5] y) { y = Conv<group=2, pads=[1,1,1,1]>(x, w, b) }", {"w": (6, 2, 3, 3), "b": (6,)}, [("w", 0, 1, 2, 2700)]),
        ("(float[1,4,5,5] x) => (float[1,3,10,10] y) { y = ConvTranspose<strides=[2,2]>(x, w) }", {"w": (4, 3, 2, 2)}, [("w", 1, 0, 1, 1200)]),
        ("(float[2,5] x) => (float[2,3] y) { y = Gemm(x, w) }", {"w": (5, 3)}, [("w", 1, 0, 1, 30)]),
        ("(float[2,5] x) => (float[2,3] y) { y = Gemm<transB=1>(x, w) }", {"w": (3, 5)}, [("w", 0, 1, 1, 30)]),
        ("(float[2,4,5] x) => (float[2,4,3] y) { y = MatMul(x, w) }", {"w": (5, 3)}, [("w", 1, 0, 1, 120)]),
        ("(float[5,4] x) => (float[3,4] y) { y = MatMul(w, x) }", {"w": (3, 5)}, [("w", 0, 1, 1, 60)]),
        (
            "(float[7,1,5] x) => (float[7,1,1,3] y) { y = LSTM<hidden_size=3>(x, w, r, b) }",
            {"w": (1, 12, 5), "r": (1, 12, 3), "b": (1, 24)},
            [("w", 1, 2, 1, 420), ("r", 1, 2, 1, 252)],
        ),
        ("(int64[4] x) => (float[4,3] y) { y = Gather(w, x) }", {"w": (9, 3)}, [("w", 0, 1, 1, 0)]),
        ("(float[2,5] x) => (float[2,5] y) { a = Add(x, b) y = Mul(a, s) }", {"b": (5,), "s": (5,)}, []),
    ],
)
def test_axes_and_costs(text: str, weights: dict[str, tuple[int, ...]], expected: list[tuple[str, int, int, int, int]]) -> None:
    found = layers(hub(text, **weights))
    assert [(layer.weight, layer.output_axis, layer.input_axis, layer.groups, layer.macs) for layer in found] == expected
    assert [layer.is_table for layer in found] == ["Gather" in text] * len(found)


def test_weights_read_as_something_else_are_no_layer() -> None:
    tied = hub("(int64[4] x) => (float[4,9] y) { e = Gather(w, x) y = Gemm<transB=1>(e, w) }", w=(9, 3))
    assert layers(tied) == []


def test_weights_read_twice_are_two_layers_and_one_distinct() -> None:
    twice = hub("(float[2,5] x) => (float[2,5] y) { a = Gemm(x, w) y = Gemm(a, w) }", w=(5, 5))
    assert len(layers(twice)) == 2
    assert [layer.weight for layer in distinct(layers(twice))] == ["w"]


def test_depthwise_is_told_from_grouped() -> None:
    text = "(float[1,4,5,5] x) => (float[1,C,5,5] y) { y = Conv<group=GROUPS, pads=[1,1,1,1]>(x, w) }"
    (deep,) = layers(hub(text.replace("GROUPS", "4").replace("C,", "8,"), w=(8, 1, 3, 3)))
    (grouped,) = layers(hub(text.replace("GROUPS", "2").replace("C,", "8,"), w=(8, 2, 3, 3)))
    assert deep.is_depthwise
    assert not grouped.is_depthwise


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rows_and_back(axis: int) -> None:
    values = np.arange(24).reshape(2, 3, 4)
    flat = rows(values, axis)
    assert flat.shape == (values.shape[axis], 24 // values.shape[axis])
    assert (flat[1] == np.take(values, 1, axis).reshape(-1)).all()
    assert (unrows(flat, axis, values.shape) == values).all()
