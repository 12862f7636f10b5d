"""store_tflite: what compression knows of weights and activations reaches the file, with exactly its integers and scales, and runs at full speed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from edgekit.errors import InputError
from edgekit.hub.compressed import Grid, Spec, floats, integers
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.convert.tflite_store.activations import Step, step_of
from edgekit.toolchains.convert.tflite_store.slices import WHOLE, even, on_grid, pattern, scales_of
from edgekit.toolchains.convert.tflite_store.sparse import compressed_axis
from tests.lab.compressed_hubs import compressed
from tests.lab.convert import do
from tests.lab.onnx_cases import FLOAT, classifier, draw, model, save

ROOT = Path(__file__).parent.parent
RNG = np.random.default_rng(0)
Facts = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def facts() -> Facts:
    """What tests/lab/stored_tflite.py finds, once for all tests."""
    argv = [str(toolchain("convert").python), "-W", "ignore", "-m", "tests.lab.stored_tflite"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found: Facts = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.toolchain
@pytest.mark.parametrize(("how", "size"), [("prune90", 0.3), ("prune80+cluster16", 0.4), ("w8", 0.35), ("w4", 0.35), ("w2", 0.35), ("ternary", 0.35)])
def test_a_compressed_file_is_smaller_and_gives_the_same(how: str, size: float, facts: Facts) -> None:
    assert facts[how]["size"] < size
    assert facts[how]["error"] < 1e-5


@pytest.mark.toolchain
def test_weights_come_back_before_the_first_run_under_xnnpack(facts: Facts) -> None:
    assert all(found["delegates"] == 1 for found in facts.values())  # a DEQUANTIZE or DENSIFY outside would cut the graph in two
    assert facts["prune90"]["kinds"].count("DENSIFY") == 2
    assert facts["w4"]["kinds"].count("DEQUANTIZE") == 4


@pytest.mark.toolchain
@pytest.mark.parametrize("how", ["w8", "w4", "w8a8", "w4a8"])
def test_integers_in_the_file_are_the_specs_wherever_the_writer_put_them(how: str, facts: Facts) -> None:
    assert facts[how]["integers"] == dict.fromkeys(["w0", "w1", "w2", "v"], True)


@pytest.mark.toolchain
@pytest.mark.parametrize("how", ["w8a8", "w4a8"])
def test_learned_scales_are_the_files_and_it_computes_what_onnx_runtime_does_with_them(how: str, facts: Facts) -> None:
    assert facts[how]["grids"] == ["image", "r0", "r1", "r2", "y"]
    assert facts[how]["error"] < 0.01  # one step of 255, where float32 rounds the other way
    assert facts[how]["notes"] == []
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} < set(facts[how]["kinds"])
    assert facts[how]["kinds"].count("DEQUANTIZE") == 1


@pytest.mark.toolchain
def test_zeros_stay_zeros_under_an_ordinary_recipe(facts: Facts) -> None:
    assert facts["prune50, then w8a8"]["zeros"] >= (16 * 27 + 16 * 9 + 64 * 16 + 10240) // 2


@pytest.mark.toolchain
def test_what_has_no_smaller_form_is_float_and_it_is_said(facts: Facts) -> None:
    assert facts["w4b32"]["notes"] == [
        "4 weights are stored as float32, because no form that TFLite runs at full speed is smaller: judged by their download",
    ]
    assert facts["w4b32"]["error"] < 1e-5


@pytest.mark.toolchain
def test_integer_ends_want_learned_scales(tmp_path: Path) -> None:
    made = classifier()
    spec = compressed(made, "w4")
    hub = save(made, tmp_path / "hub.onnx")
    spec.save(tmp_path / "compress.json")
    float_ = do("write_tflite", {"hub": hub}).folder / "model.tflite"
    with pytest.raises(InputError, match="use --io float"):
        do("store_tflite", {"float": float_, "hub": hub, "spec": tmp_path / "compress.json"}, {"recipe": None, "io": "integer"})


def hub_with(axis: int, bits: int = 4) -> tuple[Any, Spec, Any]:
    """w [24, 10] whose outputs are counted by an axis, on a grid; its integers too."""
    one = helper.make_node("MatMul", ["x", "w"], ["y"])
    made = model([one], [("x", FLOAT, [1, 24])], [("y", FLOAT, [1, 10])], [draw("w", 24, 10)])
    spec = compressed(made, f"w{bits}", {"w": axis})
    return made, spec, np.frombuffer(made.graph.initializer[0].raw_data, np.float32).reshape(24, 10)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_weight_is_found_by_its_values_however_it_was_turned_and_split(axis: int) -> None:
    made, spec, values = hub_with(axis)
    known, grid = scales_of(made, spec), spec.tensors["w"].grid
    assert grid is not None
    whole = integers(values, grid)
    shuffled = RNG.permutation((24, 10)[1 - axis])
    turned, expected = (np.take(np.moveaxis(one, axis, 0), shuffled, axis=1)[3:7] for one in (values, whole))
    found = on_grid(turned, [1, 0], known)
    assert found is not None
    assert found.axis == 0
    np.testing.assert_array_equal(found.values, expected)
    np.testing.assert_array_equal(found.scale, np.asarray(grid.scale, np.float32)[3:7])


def test_a_weight_that_the_writer_changed_is_not_taken_for_another() -> None:
    made, spec, values = hub_with(0)
    assert on_grid(values * np.float32(1.5), [0, 1], scales_of(made, spec)) is None


def test_one_scale_for_a_whole_weight_is_found() -> None:
    made, spec, values = hub_with(0)
    grid = Grid(4, (0.25,), (0,))
    rounded = floats(integers(values, grid), grid)
    made.graph.initializer[0].raw_data = rounded.tobytes()
    spec.tensors["w"].grid = grid
    found = on_grid(rounded.T, [0, 1, WHOLE], scales_of(made, spec))
    assert found is not None
    assert (found.axis, found.scale.tolist()) == (WHOLE, [0.25])


def test_ternary_weights_are_signs_and_a_scale() -> None:
    scale = np.array([[0.3], [0.0], [1.7]], np.float32)
    values = RNG.integers(-1, 2, (3, 50)).astype(np.float32) * scale
    found = pattern(values, [1, 0])
    assert found is not None
    np.testing.assert_array_equal(found.values * found.scale.reshape(-1, 1), values)
    assert pattern(values + np.float32(0.1), [1, 0]) is None
    assert pattern(values[:, :4], [0]) is None  # so short that its scales take what its signs save


def test_few_values_on_even_steps_are_integers() -> None:
    steps = np.array([-90, -3, 0, 11, 50, 120], np.float32)
    found = even(RNG.choice(steps * np.float32(0.0123), (30, 40)))
    assert found is not None
    assert set(np.unique(found.values)) == {*steps}
    assert even(RNG.normal(size=(30, 40)).astype(np.float32)) is None
    assert even(RNG.choice(np.array([0.1, 0.2345678, 0.777], np.float32), (30, 40))) is None


def test_the_axis_that_is_compressed_takes_a_byte_for_each_place() -> None:
    assert compressed_axis((128, 3136)) == 0
    assert compressed_axis((64, 3, 3, 32)) == 0
    assert compressed_axis((1000, 1280)) == 1


def test_grids_of_activations_are_int8() -> None:
    assert step_of(Grid(8, (0.5,), (128,), signed=False)) == Step(0.5, 0)
    assert step_of(Grid(8, (0.5,), (-3,))) == Step(0.5, -3)
    assert step_of(Grid(16, (0.5,), (0,))) is None
    ends = Step(0.5, -128).range
    assert (ends["min"].tolist(), ends["max"].tolist()) == ([0.0], [127.5])
