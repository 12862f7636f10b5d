"""write_tflite: the file has the hub's own inputs and outputs, and computes what the hub computes, on every call."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper, numpy_helper

from edgekit.errors import ConvertError
from edgekit.places import PACKAGE
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.convert.tflite.boundary import BoundaryError, Value, inputs_of, outputs_of, pin, value_of
from tests.lab.convert import do, verified, written
from tests.lab.onnx_cases import BOOL, FLOAT, INT64, conv, draw, model, save

node = helper.make_node


def conv_twice_read() -> onnx.ModelProto:
    nodes = [node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]), node("Relu", ["a"], ["y"]), node("Sigmoid", ["a"], ["z"])]
    return model(nodes, [("x", FLOAT, [1, 4, 4, 4])], [("z", FLOAT, [1, 4, 4, 4]), ("y", FLOAT, [1, 4, 4, 4])], [draw("w", 4, 4, 3, 3)])


def pool() -> onnx.ModelProto:
    made = node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    return model([made], [("x", FLOAT, [1, 4, 8, 8])], [("y", FLOAT, [1, 4, 4, 4])])


def conv3d() -> onnx.ModelProto:
    made = node("Conv", ["x", "w"], ["y"], pads=[1] * 6)
    return model([made], [("x", FLOAT, [1, 2, 4, 4, 4])], [("y", FLOAT, [1, 4, 4, 4, 4])], [draw("w", 4, 2, 3, 3, 3)])


def channels_last_input() -> onnx.ModelProto:
    nodes = [node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]), node("Conv", ["a", "w"], ["b"]), node("Transpose", ["b"], ["y"], perm=[0, 2, 3, 1])]
    return model(nodes, [("x", FLOAT, [1, 8, 8, 3])], [("y", FLOAT, [1, 6, 6, 5])], [draw("w", 5, 3, 3, 3)])


def two_inputs_in_another_order() -> onnx.ModelProto:
    nodes = [node("MatMul", ["a", "b"], ["c"]), node("Conv", ["i", "w"], ["d"])]
    inputs = [("i", FLOAT, [1, 3, 8, 8]), ("b", FLOAT, [3, 4]), ("a", FLOAT, [2, 3])]
    return model(nodes, inputs, [("d", FLOAT, [1, 2, 6, 6]), ("c", FLOAT, [2, 4])], [draw("w", 2, 3, 3, 3)])


def an_input_that_nothing_reads() -> onnx.ModelProto:
    return model([node("Sigmoid", ["x"], ["y"])], [("x", FLOAT, [1, 3]), ("u", FLOAT, [1, 5])], [("y", FLOAT, [1, 3])])


def one_tensor_as_two_outputs() -> onnx.ModelProto:
    nodes = [node("Sigmoid", ["x"], ["y"]), node("Identity", ["y"], ["z"])]
    return model(nodes, [("x", FLOAT, [1, 3])], [("y", FLOAT, [1, 3]), ("z", FLOAT, [1, 3])])


def an_input_as_output() -> onnx.ModelProto:
    return model([node("Sigmoid", ["x"], ["y"])], [("x", FLOAT, [1, 3])], [("y", FLOAT, [1, 3]), ("x", FLOAT, [1, 3])])


def a_constant_as_output() -> onnx.ModelProto:
    nodes = [node("Sigmoid", ["x"], ["y"]), node("Identity", ["k"], ["z"])]
    return model(nodes, [("x", FLOAT, [1, 3])], [("y", FLOAT, [1, 3]), ("z", FLOAT, [2, 2, 2])], [draw("k", 2, 2, 2)])


def scalar() -> onnx.ModelProto:
    return model([node("ReduceSum", ["x"], ["y"], keepdims=0)], [("x", FLOAT, [1, 4])], [("y", FLOAT, [])])


def integers_in_and_out() -> onnx.ModelProto:
    nodes = [node("Gather", ["t", "i"], ["y"]), node("ArgMax", ["y"], ["k"], axis=2, keepdims=0)]
    return model(nodes, [("i", INT64, [1, 4])], [("y", FLOAT, [1, 4, 6]), ("k", INT64, [1, 4])], [draw("t", 10, 6)])


def bools_out() -> onnx.ModelProto:
    return model([node("Greater", ["x", "k"], ["y"])], [("x", FLOAT, [1, 4])], [("y", BOOL, [1, 4])], [draw("k", 1, 4)])


def lstm() -> onnx.ModelProto:
    made = node("LSTM", ["x", "w", "r", "b"], ["Y", "Yh"], hidden_size=4)
    constants = [draw("w", 1, 16, 3), draw("r", 1, 16, 4, seed=1), draw("b", 1, 32, seed=2)]
    return model([made], [("x", FLOAT, [5, 1, 3])], [("Y", FLOAT, [5, 1, 1, 4]), ("Yh", FLOAT, [1, 1, 4])], constants)


CASES = [
    conv,
    conv_twice_read,
    pool,
    conv3d,
    channels_last_input,
    two_inputs_in_another_order,
    an_input_that_nothing_reads,
    one_tensor_as_two_outputs,
    an_input_as_output,
    a_constant_as_output,
    scalar,
    integers_in_and_out,
    bools_out,
    lstm,
]


@pytest.mark.toolchain
@pytest.mark.parametrize("case", CASES)
def test_the_file_keeps_boundary_and_values(case: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    made = case()
    found = verified(tmp_path, made, written(tmp_path, made, "tflite"), "tflite")
    assert found["boundary"] is None
    assert found["parity"]["max_rel"] < 1e-5
    assert found["first_wrong"] is None


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("size", "pads", "kept"), [(8, [0, 0, 1, 1], 0), (8, [1, 1, 1, 1], 1), (8, [1, 1, 0, 0], 1), (9, [0, 0, 1, 1], 1), (9, [1, 1, 1, 1], 0)]
)
def test_padding_is_part_of_the_convolution_only_where_same_means_the_same(size: int, pads: list[int], kept: int, tmp_path: Path) -> None:
    out = (size + pads[0] + pads[2] - 3) // 2 + 1
    convolution = node("Conv", ["x", "w"], ["y"], pads=pads, strides=[2, 2])
    made = model([convolution], [("x", FLOAT, [1, 2, size, size])], [("y", FLOAT, [1, 3, out, out])], [draw("w", 3, 2, 3, 3)])
    file = written(tmp_path, made, "tflite")
    assert operators(file).count("PAD") == kept
    assert verified(tmp_path, made, file, "tflite")["parity"]["max_rel"] < 1e-5


def operators(file: Path) -> list[str]:
    """Kinds of operators, as the toolchain's own schema reads them."""
    words = (
        "import sys, pathlib; from edgekit.toolchains.convert.tflite.file import read; print(*[op.kind for op in read(pathlib.Path(sys.argv[1])).operators()])"
    )
    argv = [str(toolchain("convert").python), "-c", words, str(file)]
    return subprocess.run(argv, check=True, capture_output=True, text=True, cwd=PACKAGE.parent).stdout.split()


@pytest.mark.toolchain
def test_an_operator_of_an_unknown_domain_is_refused_by_name(tmp_path: Path) -> None:
    graph = model([node("Relu", ["x"], ["y"], name="odd")], [("x", FLOAT, [1, 3])], [("y", FLOAT, [1, 3])])
    graph.graph.node[0].op_type, graph.graph.node[0].domain = "Strange", "acme"
    graph.opset_import.append(helper.make_opsetid("acme", 1))
    with pytest.raises(ConvertError, match=r"Strange \(node 'odd'\).*another format") as caught:
        do("write_tflite", {"hub": save(graph, tmp_path / "hub.onnx")})
    assert (caught.value.op, caught.value.node) == ("Strange", "odd")


@pytest.mark.toolchain
def test_constants_that_occur_again_are_stored_once(tmp_path: Path) -> None:
    same = numpy_helper.to_array(draw("w", 8, 8, 3, 3))
    constants = [numpy_helper.from_array(same, f"w{i}") for i in range(4)]
    nodes = [node("Conv", [f"t{i}", f"w{i}"], [f"t{i + 1}"], pads=[1, 1, 1, 1]) for i in range(4)]
    made = model(nodes, [("t0", FLOAT, [1, 8, 4, 4])], [("t4", FLOAT, [1, 8, 4, 4])], constants)
    file = written(tmp_path, made, "tflite")
    assert file.stat().st_size < 3 * same.nbytes
    assert verified(tmp_path, made, file, "tflite")["parity"]["max_rel"] < 1e-5


def test_pins_read_an_output_in_its_own_order() -> None:
    made = conv(6)
    pins = pin(made)
    assert pins == {"edgekit/pin/0": Value("y", "FLOAT32", [1, 6, 4, 4])}
    assert outputs_of(made) == [Value("edgekit/pin/0", "FLOAT32", [96])]
    onnx.checker.check_model(made)


def test_outputs_without_a_layout_are_not_pinned() -> None:
    assert pin(model([node("Relu", ["x"], ["y"])], [("x", FLOAT, [1, 3])], [("y", FLOAT, [1, 3])])) == {}


def test_initializers_are_no_inputs() -> None:
    made = conv()
    made.graph.input.append(helper.make_tensor_value_info("w", FLOAT, [4, 4, 3, 3]))
    assert [value.name for value in inputs_of(made)] == ["x"]


def test_a_dtype_that_tflite_does_not_take_is_named() -> None:
    info = helper.make_tensor_value_info("x", onnx.TensorProto.BFLOAT16, [1])
    with pytest.raises(BoundaryError, match=r"'x' is bfloat16.*float32"):
        value_of(info)
