"""Fixing shapes: what is open gets a size, or the message says which `--shape` to give."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgekit.hub.graph import Refusal, static_shapes
from edgekit.hub.shapes import LARGE_BYTES, check_static, choose, fix_inputs, infer, skeleton


def test_an_open_first_axis_begins_at_one() -> None:
    fixed, notes = choose({"x": ["n", 3, 8, 8], "y": [1, 2]}, {})
    assert fixed == {"x": [1, 3, 8, 8], "y": [1, 2]}
    assert notes == []


def test_axes_that_share_a_name_share_their_size() -> None:
    fixed, notes = choose({"a": ["n", "t"], "b": ["n", "t", 4]}, {"a": [2, 7]})
    assert fixed == {"a": [2, 7], "b": [2, 7, 4]}
    assert notes == []


@pytest.mark.parametrize(
    ("declared", "shapes", "words"),
    [
        ({"image": [None, 3, None, None]}, {}, "--shape image=1x3x224x224"),
        ({"ids": ["n", "t"]}, {}, "--shape ids=1x128"),
        ({"x": None}, {}, "no shape at all"),
        ({"image": [1, 3]}, {"imag": [1, 3]}, "did you mean 'image'? The inputs are image (1x3)"),
        ({"x": [None, 3]}, {"x": [1, 3, 1]}, "has 3 axes, and input 'x' has 2 (?x3)"),
        ({"x": [None, 3]}, {"x": [1, 4]}, "axis 1 of 'x' is fixed at 3"),
        ({"x": [None, 3]}, {"x": [0, 3]}, "an axis below 1"),
        ({"a": ["n"], "b": ["n"]}, {"a": [2], "b": [3]}, "as 2 and as 3"),
    ],
)
def test_refusals_say_what_to_give(declared: dict[str, list[int | str | None] | None], shapes: dict[str, list[int]], words: str) -> None:
    with pytest.raises(Refusal) as caught:
        choose(declared, shapes)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert caught.value.kind == "input"


def test_shapes_follow_from_the_inputs_and_stale_ones_are_forgotten() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n,3] x) => (float[n,4] y) <float[n,3] h> { h = Relu(x)  y = Concat<axis=1>(h, o) }'
    )
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((2, 1), np.float32), "o"))
    fix_inputs(model, {"x": [2, 3]})
    infer(model)
    assert static_shapes(model.graph) == {"x": [2, 3], "h": [2, 3], "o": [2, 1], "y": [2, 4]}


def test_shapes_that_contradict_each_other_are_refused() -> None:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g (float[1,3] x, float[4,2] w) => (float[1,2] y) { y = MatMul(x, w) }')
    with pytest.raises(Refusal, match="do not fit together"):
        infer(model)


def test_a_shape_that_depends_on_the_data_is_refused_with_its_node() -> None:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g (float[4] x) => (int64[1,k] y) { y = NonZero(x) }')
    infer(model)
    with pytest.raises(Refusal) as caught:
        check_static(model)
    assert (caught.value.op, caught.value.kind) == ("NonZero", "convert")


def test_inference_does_not_copy_the_weights() -> None:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }')
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(LARGE_BYTES, np.float32), "w"))
    thin = skeleton(model)
    assert thin.ByteSize() < LARGE_BYTES
    assert [value.name for value in thin.graph.input] == ["x", "w"]


def test_a_computed_tensor_says_its_own_shape_whatever_was_noted_before() -> None:
    nodes = [onnx.helper.make_node("GatherElements", ["x", "i"], ["y"], axis=0)]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 3])],
        [onnx.helper.make_empty_tensor_value_info("y")],
        [onnx.numpy_helper.from_array(np.zeros((2, 3), np.int64), "i")],
        value_info=[onnx.helper.make_tensor_value_info("i", onnx.TensorProto.INT64, ["before", 3])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])

    infer(model)

    assert static_shapes(model.graph)["y"] == [2, 3]


def test_group_normalization_keeps_its_inputs_shape() -> None:
    nodes = [
        onnx.helper.make_node("GroupNormalization", ["x", "w", "w"], ["y"], num_groups=2),
        onnx.helper.make_node("GroupNormalization", ["y", "w", "w"], ["z"], num_groups=2),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4, 3])],
        [onnx.helper.make_empty_tensor_value_info("z")],
        [onnx.numpy_helper.from_array(np.ones(4, np.float32), "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)])

    infer(model)

    assert static_shapes(model.graph)["z"] == [1, 4, 3]
