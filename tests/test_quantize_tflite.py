"""quantize_tflite: each recipe runs, is smaller, keeps a float32 boundary and stays in its bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edgekit.errors import InputError
from edgekit.hub.bounds import judge
from edgekit.toolchains.convert.quantize.sensitive import Loss, before_logarithm
from tests.lab.convert import quantized, verified, written
from tests.lab.onnx_cases import FLOAT, classifier, draw, inputs_for, model, tensor_folder

node = helper.make_node


@pytest.mark.toolchain
@pytest.mark.parametrize(("recipe", "share"), [("fp16", 0.7), ("w8", 0.6), ("w4", 0.55), ("w8d", 0.6), ("w8a8", 0.7), ("w8a16", 0.7)])
def test_each_recipe_is_smaller_right_and_float_at_its_ends(recipe: str, share: float, tmp_path: Path) -> None:
    made = classifier()
    file = written(tmp_path, made, "tflite")
    calibration = tensor_folder(tmp_path / "calibration", inputs_for(made, 20, seed=1))
    outcome = quantized(file, "tflite", recipe, calibration if recipe.startswith("w8a") else None)
    small = outcome.folder / "model.tflite"
    assert small.stat().st_size < share * file.stat().st_size
    found = verified(tmp_path, made, small, "tflite", recipe)
    assert judge(found["parity"], recipe) is None
    assert found["boundary"] is None


@pytest.mark.toolchain
def test_w8a8_leaves_a_softmax_that_is_an_output_in_float(tmp_path: Path) -> None:
    made = model([node("Gemm", ["x", "w"], ["a"]), node("Softmax", ["a"], ["y"])], [("x", FLOAT, [1, 8])], [("y", FLOAT, [1, 1000])], [draw("w", 8, 1000)])
    calibration = tensor_folder(tmp_path / "calibration", [array / 100 for array in inputs_for(made, 20)])
    outcome = quantized(written(tmp_path, made, "tflite"), "tflite", "w8a8", calibration)
    assert "SOFTMAX 'y' left in float32" in outcome.result["notes"][0]
    samples = [array / 100 for array in inputs_for(made, 3, seed=1)]  # near-equal scores: 0.001 each, which int8 has no step for
    found = verified(tmp_path, made, outcome.folder / "model.tflite", "tflite", "w8a8", samples)
    assert not found["parity"]["all_zero"]
    assert found["parity"]["sqnr_db"] > 40


@pytest.mark.toolchain
def test_w8a8_leaves_batch_matmul_in_float(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "y"], ["a"]), node("Sigmoid", ["a"], ["z"])]
    made = model(nodes, [("x", FLOAT, [1, 2, 4, 8]), ("y", FLOAT, [1, 2, 8, 4])], [("z", FLOAT, [1, 2, 4, 4])])
    calibration = tensor_folder(tmp_path / "calibration", inputs_for(made, 20))
    outcome = quantized(written(tmp_path, made, "tflite"), "tflite", "w8a8", calibration)
    assert "BATCH_MATMUL" in outcome.result["notes"][0]
    found = verified(tmp_path, made, outcome.folder / "model.tflite", "tflite", "w8a8")
    assert judge(found["parity"], "w8a8") is None


@pytest.mark.toolchain
def test_w8a8_without_samples_says_how_to_give_some(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data"):
        quantized(written(tmp_path, classifier(), "tflite"), "tflite", "w8a8")


@pytest.mark.toolchain
@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_what_stands_before_a_logarithm_keeps_its_precision(format_: str, tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Mul", ["a", "a"], ["b"]),
        node("Add", ["b", "floor"], ["c"]),
        node("Log", ["c"], ["d"]),
        node("Conv", ["d", "v"], ["y"]),
    ]
    constants = [draw("w", 32, 8, 3, 3), draw("floor", 1), draw("v", 8, 32, 3, 3, seed=1)]
    constants[1].raw_data = np.array([1e-6], np.float32).tobytes()
    made = model(nodes, [("x", FLOAT, [1, 8, 8, 8])], [("y", FLOAT, [1, 8, 4, 4])], constants)
    calibration = tensor_folder(tmp_path / "calibration", inputs_for(made, 20))
    outcome = quantized(written(tmp_path, made, format_), format_, "w8a8", calibration)
    assert any("before a logarithm" in note for note in outcome.result["notes"])
    found = verified(tmp_path, made, outcome.folder / f"model.{format_}", format_, "w8a8")
    assert found["parity"]["sqnr_db"] > 20


def test_operators_before_a_logarithm_are_found_through_branches() -> None:
    ops = [("Conv", ["x"], ["a"]), ("Conv", ["x"], ["b"]), ("Add", ["a", "k"], ["c"]), ("LOG", ["c"], ["d"]), ("Add", ["d", "b"], ["y"])]
    assert before_logarithm(ops) == {0, 2, 3}


@pytest.mark.parametrize(
    ("lost", "recipe", "too_much"),
    [
        (Loss(2e-3, 60.0, None), "fp16", False),
        (Loss(3e-3, 60.0, None), "fp16", True),
        (Loss(0.1, 16.0, None), "w8a8", False),
        (Loss(0.1, 14.0, None), "w8a8", True),
        (Loss(0.1, 30.0, "y"), "w8a8", True),
    ],
)
def test_a_second_attempt_is_made_where_much_is_lost(lost: Loss, recipe: str, too_much: bool) -> None:
    assert lost.too_much(recipe) is too_much
