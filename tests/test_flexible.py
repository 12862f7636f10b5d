"""Flexible axes through the command line: which stay so in which format, verified at several sizes, and what is said of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.lab import flexible_models
from tests.lab.cli import edgekit

pytestmark = pytest.mark.toolchain


def converted(folder: Path, made: onnx.ModelProto, *argv: str) -> dict[tuple[str, str], dict[str, Any]]:
    onnx.save(made, folder / "model.onnx")
    said = edgekit("convert", folder / "model.onnx", *argv, "-o", folder / "out", "--json")
    return {(cell["recipe"], cell["format"]): cell for cell in said.json["artifacts"]}


def axes(cell: dict[str, Any]) -> dict[tuple[str, int], tuple[int, int | None]]:
    return {(axis["input"], axis["axis"]): (axis["low"], axis["high"]) for axis in cell["flexible"]}


def test_a_batch_stays_open_by_itself_where_no_bound_is_needed(tmp_path: Path) -> None:
    cells = converted(tmp_path, flexible_models.cnn("n", 16, 16), "--to", "onnx,tflite,coreml", "--recipe", "w8")
    for (recipe, fmt), cell in cells.items():
        assert cell["status"] == "ok", cell["error"]
        open_axes = {} if fmt == "coreml" else {("image", 0): (1, None)}
        assert axes(cell) == open_axes, (recipe, fmt, cell["notes"])
        assert cell["verified_sizes"] == ([] if fmt == "coreml" else ["image=2x3x16x16", "image=3x3x16x16"])
    assert any("--shape image=1..8x3x16x16" in note for note in cells["w8", "coreml"]["notes"])
    lineage = json.loads((tmp_path / "out/model.w8.tflite.json").read_text())
    assert lineage["inputs"][0]["shape"] == [1, 3, 16, 16]
    assert lineage["artifact"]["flexible"][0] == {
        "input": "image", "axis": 0, "symbol": "n", "default": 1, "low": 1, "high": None, "listed": [], "asked": False,
    }  # fmt: skip


def test_an_image_of_any_size_in_a_range_in_every_format(tmp_path: Path) -> None:
    cells = converted(tmp_path, flexible_models.cnn(), "--to", "onnx,tflite,coreml", "--shape", "image=1..4x3x16..48x16..64")
    wanted = {("image", 0): (1, 4), ("image", 2): (16, 48), ("image", 3): (16, 64)}
    assert {fmt: axes(cell) for (_, fmt), cell in cells.items()} == dict.fromkeys(("onnx", "tflite", "coreml"), wanted)
    for cell in cells.values():
        assert cell["verified_sizes"] == ["image=4x3x32x64", "image=2x3x48x40"]


def test_a_sequence_keeps_its_length_open_where_its_positions_can_be_cut(tmp_path: Path) -> None:
    cells = converted(tmp_path, flexible_models.attention(), "--to", "onnx,tflite,coreml", "--shape", "ids=?x8..32")
    assert axes(cells["fp32", "onnx"]) == {("ids", 0): (1, None), ("ids", 1): (8, 32)}
    assert axes(cells["fp32", "coreml"]) == {("ids", 1): (8, 32)}
    assert axes(cells["fp32", "tflite"]) == {("ids", 0): (1, None)}
    assert any("axis 1 of input 'ids' is fixed at 8 in TFLite: ADD" in note for note in cells["fp32", "tflite"]["notes"])


@pytest.mark.slow
def test_listed_sizes_are_enumerated_shapes_in_core_ml(tmp_path: Path) -> None:
    cells = converted(tmp_path, flexible_models.cnn(1), "--to", "coreml", "--shape", "image=1x3x16|32x16|24|32")
    assert cells["fp32", "coreml"]["flexible"][1]["listed"] == [16, 24, 32]
    model = (tmp_path / "out/model.fp32.mlpackage/Data/com.apple.CoreML/model.mlmodel").read_bytes()
    assert model.count(bytes([1, 3, 32, 24])) == 1  # ArrayFeatureType.EnumeratedShapes, one packed shape of each pair


def test_a_recurrent_layer_is_open_where_the_format_has_one(tmp_path: Path) -> None:
    cells = converted(tmp_path, flexible_models.lstm(), "--to", "onnx,tflite", "--shape", "x=4..12x1x4")
    assert axes(cells["fp32", "onnx"]) == {("x", 0): (4, 12)}
    assert cells["fp32", "tflite"]["flexible"] == []
    assert any("is fixed at 4 in TFLite" in note for note in cells["fp32", "tflite"]["notes"])


def test_a_model_that_takes_one_size_only_is_fixed_or_refused(tmp_path: Path) -> None:
    cells = converted(tmp_path, flexible_models.baked(), "--to", "onnx")
    assert (cells["fp32", "onnx"]["status"], cells["fp32", "onnx"]["flexible"]) == ("ok", [])
    assert "axis 0 of input 'x' is fixed at 1 in ONNX" in cells["fp32", "onnx"]["notes"][0]
    asked = converted(tmp_path, flexible_models.baked(), "--to", "onnx", "--shape", "x=1..3x4")["fp32", "onnx"]
    assert asked["status"] == "failed"
    assert "x=3x4" in asked["error"]


@pytest.mark.slow
def test_integer_activations_are_open_too(tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, image=np.random.default_rng(0).standard_normal((32, 3, 16, 16)).astype(np.float32))
    cells = converted(tmp_path, flexible_models.cnn("n", 16, 16), "--to", "onnx,tflite", "--recipe", "w8a8", "--data", str(data))
    for cell in cells.values():
        assert (cell["status"], axes(cell)) == ("ok", {("image", 0): (1, None)}), cell
