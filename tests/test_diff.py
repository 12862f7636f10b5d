"""`edgekit diff`: the first operator that departs is named, in every format; what agrees is said to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.lab.cli import edgekit
from tests.lab.onnx_cases import classifier, save

pytestmark = pytest.mark.toolchain

SUFFIXES = {"tflite": ".tflite", "coreml": ".mlpackage", "onnx": ".onnx"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`right` and `wrong`, whose Gemm has another bias, as ONNX and in every format."""
    folder = tmp_path_factory.mktemp("diff")
    made = classifier()
    save(made, folder / "right.onnx")
    (bias,) = (tensor for tensor in made.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias)[::-1].copy(), "bias"))
    save(made, folder / "wrong.onnx")
    for name in ("right", "wrong"):
        assert edgekit("convert", folder / f"{name}.onnx", "--to", "all", "--recipe", "fp32,fp16", "-o", folder / "out").code == 0
    np.savez(folder / "data.npz", image=np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32))
    return folder


@pytest.mark.parametrize("fmt", SUFFIXES)
def test_the_operator_that_departs_is_named(fmt: str, files: Path) -> None:
    said = edgekit("diff", files / "right.onnx", files / f"out/wrong.fp32{SUFFIXES[fmt]}", "--data", files / "data.npz", "--json")
    assert said.code == 1, said.stderr
    first = said.json["first"]
    assert (first["op"], first["verdict"]) == ("Gemm", "departs")
    assert first["sqnr_db"] < said.json["floor_db"]
    before = [tensor["verdict"] for tensor in said.json["tensors"] if tensor["index"] < first["index"]]
    assert "departs" not in before


@pytest.mark.parametrize("fmt", SUFFIXES)
def test_a_file_that_agrees(fmt: str, files: Path) -> None:
    said = edgekit("diff", files / "right.onnx", files / f"out/right.fp16{SUFFIXES[fmt]}", "--data", files / "data.npz")
    assert said.code == 0, said.stdout
    assert "no tensor departs" in said.stdout
    assert "GlobalAveragePool" not in said.stdout
    assert "Gemm" in said.stdout


def test_two_artifacts_of_two_formats_and_a_plot(files: Path, tmp_path: Path) -> None:
    plot = tmp_path / "sqnr.svg"
    said = edgekit("diff", files / "out/right.fp32.tflite", files / "out/wrong.fp32.mlpackage", "--data", files / "data.npz", "--plot", plot)
    assert said.code == 1, said.stderr
    assert "first departure: FULLY_CONNECTED" in said.stdout
    assert "<svg" in plot.read_text()


def test_files_of_two_models_are_refused(files: Path, tmp_path: Path) -> None:
    other = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [other], [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), tmp_path / "other.onnx")
    said = edgekit("diff", files / "right.onnx", tmp_path / "other.onnx")
    assert said.code == 2
    assert "are not of one model: their inputs are" in said.stderr


def test_a_file_that_is_not_there(files: Path) -> None:
    said = edgekit("diff", files / "right.onnx", files / "gone.tflite")
    assert said.code == 2
    assert "there is no file" in said.stderr


def test_a_calibrated_file_wants_its_data(files: Path, tmp_path: Path) -> None:
    data = tmp_path / "many.npz"
    np.savez(data, image=np.random.default_rng(0).normal(size=(40, 1, 8, 8)).astype(np.float32))
    assert edgekit("convert", files / "right.onnx", "--to", "onnx", "--recipe", "w8a8", "--data", data, "-o", tmp_path).code == 0
    said = edgekit("diff", files / "right.onnx", tmp_path / "right.w8a8.onnx")
    assert said.code == 2
    assert "was calibrated on many.npz" in said.stderr
