"""quantize_onnx: each recipe runs, is smaller, keeps a float32 boundary and stays in its bounds; weights are stored per channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgekit.errors import InputError
from edgekit.hub.bounds import judge
from edgekit.hub.graph import output_names, readers
from edgekit.toolchains.convert.quantize.onnx_qdq import rename, slim
from edgekit.toolchains.convert.quantize.onnx_weights import channel_axes, store_half, store_int8
from tests.lab.convert import quantized, verified, written
from tests.lab.onnx_cases import BOOL, FLOAT, classifier, draw, inputs_for, model, outputs_for, tensor_folder

node = helper.make_node


@pytest.mark.toolchain
@pytest.mark.parametrize(("recipe", "share"), [("fp16", 0.6), ("w8", 0.45), ("w4", 0.5), ("w4b32", 0.5), ("w8d", 0.5), ("w8a8", 0.6)])
def test_each_recipe_is_smaller_right_and_float_at_its_ends(recipe: str, share: float, tmp_path: Path) -> None:
    made = classifier()
    file = written(tmp_path, made, "onnx")
    calibration = tensor_folder(tmp_path / "calibration", inputs_for(made, 20, seed=1))
    outcome = quantized(file, "onnx", recipe, calibration if recipe == "w8a8" else None)
    small = outcome.folder / "model.onnx"
    assert small.stat().st_size < share * file.stat().st_size
    onnx.checker.check_model(str(small), full_check=True)
    found = verified(tmp_path, made, small, "onnx", recipe)
    assert judge(found["parity"], recipe) is None
    assert found["boundary"] is None


@pytest.mark.toolchain
def test_w8a8_is_signed_per_channel_and_leaves_a_final_softmax(tmp_path: Path) -> None:
    made = classifier()
    calibration = tensor_folder(tmp_path / "calibration", inputs_for(made, 20, seed=1))
    outcome = quantized(written(tmp_path, made, "onnx"), "onnx", "w8a8", calibration)
    assert any("Softmax" in note for note in outcome.result["notes"])
    graph = onnx.load(outcome.folder / "model.onnx").graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    scales = [constants[one.input[1]] for one in graph.node if one.op_type == "DequantizeLinear" and one.input[1] in constants]
    assert [16] in [list(scale.dims) for scale in scales]
    assert all(constants[one.input[2]].data_type == onnx.TensorProto.INT8 for one in graph.node if one.op_type == "QuantizeLinear")
    (softmax,) = (one for one in graph.node if one.op_type == "Softmax")
    assert list(softmax.output) == ["probabilities"]


@pytest.mark.toolchain
def test_stored_weights_are_floats_again_before_the_first_run(tmp_path: Path) -> None:
    made = classifier()
    outcome = quantized(written(tmp_path, made, "onnx"), "onnx", "w8")
    kinds = {one.op_type for one in onnx.load(outcome.folder / "model.onnx").graph.node}
    assert "DequantizeLinear" not in kinds  # ONNX Runtime keeps it, and runs it every time
    assert {"Cast", "Mul"} <= kinds


@pytest.mark.toolchain
def test_names_that_the_quantizer_would_make_twice_do_no_harm(tmp_path: Path) -> None:
    # A constant that two convolutions share is copied as its name and a number: here "b" and "b2", which exists.
    nodes = [
        node("Conv", ["x", "w", "b"], ["b1"], pads=[1, 1, 1, 1]),
        node("Neg", ["b1"], ["n"]),
        node("Conv", ["n", "w", "b"], ["b2"], pads=[1, 1, 1, 1]),
        node("Conv", ["b2", "w", "b"], ["b3"], pads=[1, 1, 1, 1]),
        node("Transpose", ["b3"], ["y"], perm=[0, 2, 3, 1]),
    ]
    made = model(nodes, [("x", FLOAT, [1, 8, 4, 4])], [("y", FLOAT, [1, 4, 4, 8])], [draw("w", 8, 8, 3, 3), draw("b", 8, seed=1)])
    calibration = tensor_folder(tmp_path / "calibration", inputs_for(made, 20))
    outcome = quantized(written(tmp_path, made, "onnx"), "onnx", "w8a8", calibration)
    found = verified(tmp_path, made, outcome.folder / "model.onnx", "onnx", "w8a8")
    assert judge(found["parity"], "w8a8") is None


@pytest.mark.toolchain
def test_w8a8_without_samples_says_how_to_give_some(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data"):
        quantized(written(tmp_path, classifier(), "onnx"), "onnx", "w8a8")


def relative_error(made: onnx.ModelProto, changed: onnx.ModelProto) -> float:
    inputs = inputs_for(made, 2)
    a, b = outputs_for(made, inputs)[0], outputs_for(changed, inputs)[0]
    return float(np.abs(a - b).max() / np.abs(a).max())


def copy(made: onnx.ModelProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(made)
    return changed


def without_softmax() -> onnx.ModelProto:
    made = classifier()
    softmax = made.graph.node.pop()
    made.graph.node[-1].output[0] = softmax.output[0]
    return made


def test_half_weights_are_cast_back_and_those_kept_or_too_large_stay() -> None:
    made = without_softmax()
    changed = copy(made)
    assert store_half(changed, {"w"}) == []
    assert {t.name for t in changed.graph.initializer} == {"w", "bias", "v:f16"}
    assert 0 < relative_error(made, changed) < 1e-3
    large = copy(made)
    large.graph.initializer[1].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(large.graph.initializer[1]) * 1e6, "v"))
    assert "v" in store_half(large, set())[0]


def test_int8_weights_are_symmetric_per_output_channel() -> None:
    made = without_softmax()
    w = numpy_helper.to_array(made.graph.initializer[0]).copy()
    w[0] *= 1000  # one scale for all would leave nothing of the others
    w = np.concatenate([w, np.zeros((16, 1, 3, 3), np.float32)]).repeat(2, axis=1)
    case = model([node("Conv", ["x", "w"], ["y"])], [("x", FLOAT, [1, 2, 4, 4])], [("y", FLOAT, [1, 32, 2, 2])], [numpy_helper.from_array(w, "w")])
    changed = copy(case)
    store_int8(changed)
    stored = {t.name: numpy_helper.to_array(t) for t in changed.graph.initializer}
    assert stored["w:i8"].dtype == np.int8
    assert stored["w:s"].shape == (32, 1, 1, 1)
    assert int(np.abs(stored["w:i8"][1]).max()) == 127
    assert relative_error(case, changed) < 0.01


def test_the_axis_of_output_channels_is_each_operators_own() -> None:
    nodes = [
        node("Conv", ["x", "conv"], ["a"]),
        node("ConvTranspose", ["a", "up"], ["b"]),
        node("Flatten", ["b"], ["c"]),
        node("Gemm", ["c", "gemm"], ["d"]),
        node("Gemm", ["d", "gemm_t"], ["e"], transB=1),
        node("MatMul", ["e", "matmul"], ["y"]),
        node("MatMul", ["left", "y2"], ["z"]),
    ]
    constants = [
        draw("conv", 4, 2, 1, 1),
        draw("up", 4, 3, 1, 1),
        draw("gemm", 12, 5),
        draw("gemm_t", 6, 5),
        draw("matmul", 6, 7),
        draw("left", 3, 1),
    ]
    made = model(nodes, [("x", FLOAT, [1, 2, 2, 2]), ("y2", FLOAT, [1, 7])], [("y", FLOAT, [1, 7]), ("z", FLOAT, [3, 7])], constants)
    assert channel_axes(made) == {"conv": 0, "up": 1, "gemm": 1, "gemm_t": 0, "matmul": 1}


def test_slim_keeps_what_the_model_computes_and_its_boundary() -> None:
    made = without_softmax()
    changed = copy(made)
    slim(changed)
    onnx.checker.check_model(changed)
    assert not changed.graph.value_info
    assert changed.graph.input == made.graph.input
    assert changed.graph.output == made.graph.output
    assert relative_error(made, changed) == 0
    assert len(changed.SerializeToString()) < len(made.SerializeToString())


def test_what_nothing_reads_is_left_out_and_what_a_body_reads_stays() -> None:
    bodies = {branch: helper.make_graph([node("Add", ["x", w], [y])], branch, [], [helper.make_tensor_value_info(y, FLOAT, [4])])
              for branch, w, y in (("then_branch", "w1", "y1"), ("else_branch", "w2", "y2"))}  # fmt: skip
    stored = [draw(name, 4) for name in ("w1", "dead", "w2", "out")]
    taken, given = [("c", BOOL, []), ("x", FLOAT, [4])], [("y", FLOAT, [4]), ("out", FLOAT, [4])]
    made = model([node("If", ["c"], ["y"], **bodies)], taken, given, stored)
    slim(made)
    assert len(made.graph.initializer) == 3
    onnx.checker.check_model(made)


@pytest.mark.toolchain
@pytest.mark.parametrize("recipe", ["w4", "w4b32", "w8", "w8a8", "fp16"])
def test_no_file_holds_what_nothing_reads(recipe: str, tmp_path: Path) -> None:
    made = classifier()
    calibration = tensor_folder(tmp_path / "calibration", inputs_for(made, 20, seed=1))
    outcome = quantized(written(tmp_path, made, "onnx"), "onnx", recipe, calibration)
    graph = onnx.load(outcome.folder / "model.onnx").graph
    read = {*readers(graph), *output_names(graph)}
    assert [tensor.name for tensor in graph.initializer if tensor.name not in read] == []


def test_new_names_never_meet_a_boundary_name() -> None:
    made = model([node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["0"])], [("x", FLOAT, [1])], [("0", FLOAT, [1])])
    rename(made)
    onnx.checker.check_model(made, full_check=True)


@pytest.mark.toolchain
def test_a_matrix_product_in_blocks_multiplies_4_bits(tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "w", "b"], ["a"], transB=1), node("Relu", ["a"], ["r"]), node("MatMul", ["r", "v"], ["y"])]
    made = model(nodes, [("x", FLOAT, [2, 64])], [("y", FLOAT, [2, 10])], [draw("w", 96, 64), draw("b", 96), draw("v", 96, 10, seed=1)])
    outcome = quantized(written(tmp_path, made, "onnx"), "onnx", "w4b32")
    graph = onnx.load(outcome.folder / "model.onnx").graph
    assert [one.op_type for one in graph.node].count("MatMulNBits") == 2
    assert verified(tmp_path, made, outcome.folder / "model.onnx", "onnx", "w4b32")["parity"]["sqnr_db"] > 15
