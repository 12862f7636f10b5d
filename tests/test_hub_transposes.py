"""Transposes and views in the normal form: fewer of them, and the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_hub_rewrite import normal_form, ops

SAME = "(float[2,3,4,5] x) => (float[2,3,4,5] y)"
THERE, BACK = "t = Transpose<perm=[0,2,3,1]>(x)", "y = Transpose<perm=[0,3,1,2]>(u)"
BETWEEN = {
    "unary": "u = Relu(t)",
    "two that join": "s = Sigmoid(x)  v = Transpose<perm=[0,2,3,1]>(s)  u = Mul(t, v)",
    "a constant row": "u = Add(t, row)",
    "a constant of all axes": "u = Sub(full, t)",
    "a scalar": "u = Max(t, one)",
    "padding": "p = Pad(t, pads)  u = Slice(p, start, end, axes)",
    "a kept mean": "m = ReduceMean<keepdims=1>(t, axes)  u = Sub(t, m)",
}


@pytest.mark.parametrize("between", BETWEEN)
def test_a_transpose_goes_down_until_it_meets_its_inverse(between: str) -> None:
    # given x transposed there and back, with an operator between
    stored = {
        "row": np.arange(3, dtype=np.float32),
        "full": np.arange(120, dtype=np.float32).reshape(2, 4, 5, 3),
        "one": np.float32(0.5),
        "pads": np.int64([0, 0, 0, 1, 0, 0, 0, 2]),
        "start": np.int64([1]),
        "end": np.int64([4]),
        "axes": np.int64([3]),
    }
    used = {name: value for name, value in stored.items() if name in BETWEEN[between].replace("(", " ").replace(")", " ").replace(",", " ").split()}
    # when it is brought into normal form, then no transpose is left; where x is read twice, no more than there were
    found = ops(normal_form(f"{SAME} {{ {THERE}  {BETWEEN[between]}  {BACK} }}", **used))
    assert found.count("Transpose") == (2 if between == "a kept mean" else 0)


def test_concatenated_transposes_are_one() -> None:
    both = "a = Relu(x) t = Transpose<perm=[0,2,3,1]>(a) b = Exp(x) u = Transpose<perm=[0,2,3,1]>(b)"
    text = f"(float[1,2,3,4] x) => (float[1,3,4,4] y) {{ {both} y = Concat<axis=3>(t, u) }}"
    assert ops(normal_form(text)) == ["Relu", "Exp", "Concat", "Transpose"]


def test_a_reduction_that_drops_axes_leaves_the_rest_in_order() -> None:
    text = "(float[2,3,4,5] x) => (float[5,2] y) { t = Transpose<perm=[3,0,2,1]>(x) y = ReduceMax<keepdims=0>(t, axes) }"
    assert ops(normal_form(text, axes=np.int64([2, 3]))) == ["ReduceMax", "Transpose"]


def test_softmax_stays_over_the_last_axis() -> None:
    text = "(float[2,3,4] x) => (float[2,4,3] y) { t = Transpose<perm=[0,2,1]>(x) y = Softmax(t) }"
    assert ops(normal_form(text)) == ["Transpose", "Softmax"]


def test_a_transpose_that_others_read_stays() -> None:
    text = "(float[2,3] x) => (float[3,2] y, float[3,2] z) { t = Transpose(x) y = Relu(t) z = Exp(t) }"
    assert ops(normal_form(text)).count("Transpose") == 1


def test_views_of_views_are_one() -> None:
    text = "(float[1,6,1,4] x) => (float[1,2,3,4] y) { s = Squeeze(x, two) u = Unsqueeze(s, zero) r = Reshape(u, shape) y = Reshape(r, last) }"
    stored = {"two": np.int64([2]), "zero": np.int64([0]), "shape": np.int64([4, 6]), "last": np.int64([1, 2, 3, 4])}
    assert ops(normal_form(text, **stored)) == ["Reshape"]


def test_a_view_to_the_same_shape_is_gone() -> None:
    text = "(float[1,6] x) => (float[1,6] y) { s = Unsqueeze(x, zero) u = Squeeze(s, zero) y = Relu(u) }"
    assert ops(normal_form(text, zero=np.int64([0]))) == ["Relu"]


def test_views_that_move_single_elements_merge_with_transposes() -> None:
    text = "(float[1,6,1,4] x) => (float[1,4,6,1] y) { t = Transpose<perm=[0,2,3,1]>(x) r = Reshape(t, shape) y = Relu(r) }"
    assert ops(normal_form(text, shape=np.int64([1, 4, 6, 1]))) == ["Relu", "Transpose"]


def test_a_negation_goes_into_the_weights_before_it() -> None:
    weights, bias = np.float32([[[2.0]], [[-3.0]]])[..., None], np.float32([0.5, 0.0])
    text = "(float[1,1,2,2] x) => (float[1,2,2,2] y) { c = Conv(x, w, b) y = Neg(c) }"
    assert ops(normal_form(text, w=weights, b=bias)) == ["Conv"]


def test_an_output_that_is_a_view_of_another_tensor_to_its_own_shape_is_that_tensor() -> None:
    text = "(float[1,6] x) => (float[1,6] y, float[2,3] z) { a = Relu(x) y = Reshape(a, same) z = Reshape(y, other) }"
    assert ops(normal_form(text, same=np.int64([1, 6]), other=np.int64([2, 3]))) == ["Relu", "Reshape"]
