"""What the quantizers of all formats say where there is nothing to store smaller, or nothing to calibrate with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgekit.errors import ConvertError
from edgekit.toolchains.convert.quantize.attempts import untouched
from edgekit.toolchains.convert.quantize.calibration import CalibrationSet
from tests.lab.convert import do
from tests.lab.onnx_cases import FLOAT, draw, inputs_for, model, save, tensor_folder

each_format = pytest.mark.parametrize("format_", ["tflite", "onnx", "coreml"])
SPEC = {"name": "x", "dtype": "float32", "shape": [1, 2, 3]}


def network(channels: int) -> onnx.ModelProto:
    """A convolution; of 4 channels its weights are too small to be worth anything else."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["a"], ["y"])]
    ends = [1, channels, 8, 8]
    return model(nodes, [("x", FLOAT, ends)], [("y", FLOAT, ends)], [draw("w", channels, channels, 3, 3)])


def float_file(folder: Path, format_: str, channels: int) -> Path:
    suffix = "mlpackage" if format_ == "coreml" else format_
    options = {"precision": "fp16"} if format_ == "coreml" else {}
    return do(f"write_{format_}", {"hub": save(network(channels), folder / "hub.onnx")}, options).folder / f"model.{suffix}"


def test_little_or_nothing_done_is_noted() -> None:
    assert untouched("w8", True, False) == untouched("w4", True, True) == []
    assert untouched("w4", False, False)[0].startswith("nothing in this model is stored smaller by w4")
    assert "in 4 bits by w4b32" in untouched("w4b32", True, False)[0]


@pytest.mark.parametrize(
    ("first", "second", "constant"),
    [(0.0, 0.0, True), (3.0, 3.0, True), (0.0, 1.0, False)],
    ids=["zeros", "all the same", "two values"],
)
def test_constant_samples_are_known(first: float, second: float, constant: bool, tmp_path: Path) -> None:
    samples = np.stack([np.full((1, 2, 3), value, np.float32) for value in (first, second)])
    np.save(tmp_path / "0.npy", samples)
    assert CalibrationSet(tmp_path, [SPEC]).constant is constant
    assert not CalibrationSet(None, [SPEC]).constant


@pytest.mark.toolchain
@each_format
def test_a_model_without_weights_worth_it_says_so(format_: str, tmp_path: Path) -> None:
    small = do(f"quantize_{format_}", {"float": float_file(tmp_path, format_, 4)}, {"recipe": "w4"}).result["notes"]
    large = do(f"quantize_{format_}", {"float": float_file(tmp_path, format_, 32)}, {"recipe": "w4"}).result["notes"]
    assert any("is stored" in note for note in small) is (format_ != "tflite"), small  # there is no least size
    assert not any("is stored" in note for note in large), large


@pytest.mark.toolchain
@each_format
def test_constant_samples_set_no_ranges(format_: str, tmp_path: Path) -> None:
    zeros = [np.zeros_like(values) for values in inputs_for(network(4), 8)]
    files = {"float": float_file(tmp_path, format_, 4), "calibration": tensor_folder(tmp_path / "zeros", zeros)}
    with pytest.raises(ConvertError, match="the calibration samples are constant"):
        do(f"quantize_{format_}", files, {"recipe": "w8a8"})
