"""Calibration, float layers and integer ends, the same in TFLite and ONNX: on a network whose activations have far outliers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgekit.errors import ConvertError, InputError
from edgekit.hub.bounds import judge
from edgekit.hub.integers import folder_to_floats, folder_to_integers
from edgekit.toolchains.jobs import Outcome
from tests.lab.convert import do, verified, written
from tests.lab.onnx_cases import FLOAT, draw, model, save, tensor_folder

node = helper.make_node
Array = np.ndarray[Any, Any]

both = pytest.mark.parametrize("format_", ["tflite", "onnx"])


def heavy(*shape: int, seed: int) -> Array:
    """Normal values, one in five thousand of them a hundred times as large: what min-max gives nearly all of its steps to."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape)
    return np.where(rng.uniform(size=shape) < 2e-4, 100 * values, values).astype(np.float32)


def network() -> onnx.ModelProto:
    """A tanh and a mean, so that an outlier inside hardly shows in the output."""
    w = numpy_helper.to_array(draw("w", 16, 3, 3, 3)) / 5
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "v", "c"], ["d"], pads=[1, 1, 1, 1]),
        node("Tanh", ["d"], ["e"]),
        node("GlobalAveragePool", ["e"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "u", "t"], ["y"], transB=1),
    ]
    constants = [numpy_helper.from_array(w, "w"), draw("v", 24, 16, 3, 3, seed=1), draw("c", 24, seed=2), draw("u", 10, 24, seed=3), draw("t", 10, seed=4)]
    return model(nodes, [("x", FLOAT, [1, 3, 12, 12])], [("y", FLOAT, [1, 10])], constants)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The float files and the samples, once."""
    folder = tmp_path_factory.mktemp("heavy")
    (folder / "onnx").mkdir()
    (folder / "tflite").mkdir()
    return {
        "onnx": written(folder / "onnx", network(), "onnx"),
        "tflite": written(folder / "tflite", network(), "tflite"),
        "calibration": tensor_folder(folder / "calibration", [heavy(32, 1, 3, 12, 12, seed=1)]),
        "fresh": [heavy(8, 1, 3, 12, 12, seed=2)],
    }


def quantize(made: dict[str, Any], format_: str, recipe: str = "w8a8", **options: Any) -> Outcome:
    return do(f"quantize_{format_}", {"float": made[format_], "calibration": made["calibration"]}, {"recipe": recipe, **options})


def ends(dtype: str) -> dict[str, Any]:
    """The boundary of the network in a dtype."""
    return {"inputs": [{"name": "x", "dtype": dtype, "shape": [1, 3, 12, 12]}], "outputs": [{"name": "y", "dtype": dtype, "shape": [1, 10]}]}


def sqnr(tmp_path: Path, made: dict[str, Any], format_: str, outcome: Outcome, recipe: str = "w8a8") -> float:
    tmp_path.mkdir(exist_ok=True)
    return float(verified(tmp_path, network(), outcome.folder / f"model.{format_}", format_, recipe, made["fresh"])["parity"]["sqnr_db"])


@pytest.mark.toolchain
@both
def test_the_chosen_calibration_beats_min_max_on_samples_it_has_not_seen(format_: str, made: dict[str, Any], tmp_path: Path) -> None:
    chosen, plain = quantize(made, format_), quantize(made, format_, calibration="minmax")
    assert sqnr(tmp_path / "chosen", made, format_, chosen) > sqnr(tmp_path / "plain", made, format_, plain) + 2
    note = next(note for note in chosen.result["notes"] if "tried too" in note)
    assert "minmax " in note
    assert "entropy " in note
    assert not any("entropy" in note for note in plain.result["notes"])


@pytest.mark.toolchain
@both
def test_a_floor_is_kept_by_leaving_named_operators_or_refused(format_: str, made: dict[str, Any], tmp_path: Path) -> None:
    whole, kept = quantize(made, format_), quantize(made, format_, keep_float=34)
    note = next(note for note in kept.result["notes"] if "left in higher precision" in note)
    assert "Conv" in note or "CONV" in note
    assert sqnr(tmp_path / "kept", made, format_, kept) > sqnr(tmp_path / "whole", made, format_, whole) + 1
    with pytest.raises(ConvertError, match=r"w8a8 keeps .* 150 dB were asked for, .* lower --keep-float"):  # not the whole command's failure
        quantize(made, format_, keep_float=150)


@pytest.mark.toolchain
@both
def test_corrected_biases_and_clipped_weights_serve_four_bits(format_: str, made: dict[str, Any], tmp_path: Path) -> None:
    with_samples = quantize(made, format_, "w4")
    without = do(f"quantize_{format_}", {"float": made[format_]}, {"recipe": "w4"})
    assert any("bias corrected" in note for note in with_samples.result["notes"])
    assert sqnr(tmp_path / "with", made, format_, with_samples, "w4") >= sqnr(tmp_path / "without", made, format_, without, "w4")


@pytest.mark.toolchain
@both
def test_integer_ends_have_their_scales_in_the_result_and_compute_the_same(format_: str, made: dict[str, Any], tmp_path: Path) -> None:
    outcome = quantize(made, format_, io="integer")
    file, how = outcome.folder / f"model.{format_}", outcome.result["quantization"]
    assert [one["dtype"] for one in [*how["inputs"], *how["outputs"]]] == ["int8", "int8"]
    samples, outputs = tensor_folder(tmp_path / "samples", made["fresh"]), tmp_path / "outputs"
    (tmp_path / "integers").mkdir()
    folder_to_integers(samples, tmp_path / "integers", how["inputs"])
    given = do("evaluate", {"artifact": file, "samples": tmp_path / "integers"}, {"format": format_, **ends("int8")}).folder
    outputs.mkdir()
    np.save(outputs / "0.npy", np.load(given / "0.npy"))
    assert np.load(outputs / "0.npy").dtype == np.int8
    folder_to_floats(outputs, how["outputs"])
    plain = quantize(made, format_).folder / f"model.{format_}"
    expected = np.load(do("evaluate", {"artifact": plain, "samples": samples}, {"format": format_, **ends("float32")}).folder / "0.npy")
    assert np.abs(np.load(outputs / "0.npy") - expected).max() <= 3 * how["outputs"][0]["scale"]


@pytest.mark.toolchain
@both
def test_integer_ends_need_a_calibrated_recipe(format_: str, made: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="w8a8"):
        quantize(made, format_, "w8", io="integer")


@pytest.mark.toolchain
@both
def test_an_equalised_file_is_taken_where_it_errs_less(format_: str, made: dict[str, Any], tmp_path: Path) -> None:
    uneven = onnx.ModelProto()
    uneven.CopyFrom(network())
    factors = np.logspace(-2, 2, 16).astype(np.float32)
    tensors = {tensor.name: tensor for tensor in uneven.graph.initializer}
    for name, shape in (("w", (-1, 1, 1, 1)), ("v", (1, -1, 1, 1))):
        values = numpy_helper.to_array(tensors[name]) * (factors if name == "w" else 1 / factors).reshape(shape)
        tensors[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    equal = onnx.load(do("equalise", {"hub": save(uneven, tmp_path / "uneven.onnx")}).folder / "hub.onnx")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = {"float": written(tmp_path / "a", uneven, format_), "float_equalised": written(tmp_path / "b", equal, format_)}
    outcome = do(f"quantize_{format_}", {**files, "calibration": made["calibration"]}, {"recipe": "w8a8"})
    assert any("equalised" in note.split(" chosen")[0] for note in outcome.result["notes"])
    found = verified(tmp_path, uneven, outcome.folder / f"model.{format_}", format_, "w8a8", made["fresh"])
    assert judge(found["parity"], "w8a8") is None
