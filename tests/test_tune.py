"""Tuning of compressed hubs: what was made of the weights still holds afterwards, the same seed gives the same weights, and a killed run goes on."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgekit.compress.steps import read_step
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec, floats, integers, load_spec
from edgekit.hub.graph import array, constants
from edgekit.toolchains.catalog import toolchain

pytestmark = pytest.mark.toolchain

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ("first", "deep", "mid", "last")
Array = np.ndarray[Any, Any]
Made = dict[str, tuple[onnx.ModelProto, Spec, dict[str, Any]]]


def network() -> onnx.ModelProto:
    """[1, 1, 8, 8] → [1, 4]: Conv, depthwise Conv, pointwise Conv, MaxPool, Gemm; random weights."""
    draw = np.random.default_rng(0)
    shapes = {"first": (8, 1, 3, 3), "deep": (8, 1, 3, 3), "mid": (8, 8, 1, 1), "last": (4, 128), "bias": (4,)}
    stored = [numpy_helper.from_array((draw.standard_normal(shape) * 0.4).astype(np.float32), name) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "deep"], ["c"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Conv", ["c", "mid"], ["m"]),
        helper.make_node("MaxPool", ["m"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "last", "bias"], ["y"], transB=1),
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in (("x", [1, 1, 8, 8]), ("y", [1, 4]))]
    made = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], stored), opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made)


def compressed(recipe: str) -> tuple[onnx.ModelProto, Spec, str | None]:
    """The network after the steps of a recipe, and the one that is learned."""
    made, spec, quant = network(), Spec(), None
    for text in recipe.split("+"):
        step = read_step(text)
        if step is None:
            quant = text
        else:
            importlib.import_module(f"edgekit.compress.{step.technique.name}").apply(made, spec, step.strength, Wish())
    return made, spec, quant


def job(folder: Path, recipe: str, n: int = 128, labels: Array | None = None, **options: Any) -> dict[str, Any]:
    """A job on random samples, its files below `folder`."""
    (folder / "training").mkdir(parents=True)
    made, spec, quant = compressed(recipe)
    onnx.save(made, folder / "hub.onnx")
    onnx.save(network(), folder / "teacher.onnx")
    spec.save(folder / "compress.json")
    np.save(folder / "training/0.npy", np.random.default_rng(1).standard_normal((n, 1, 1, 8, 8)).astype(np.float32))
    inputs = {"hub": folder / "hub.onnx", "teacher": folder / "teacher.onnx", "spec": folder / "compress.json", "training": folder / "training"}
    if labels is not None:
        np.save(folder / "labels.npy", labels)
        inputs["labels"] = folder / "labels.npy"
    settings = {"epochs": 3, "seed": 0, "quant": None if quant is None else {"recipe": quant}} | options
    return {"inputs": {name: str(path) for name, path in inputs.items()}, "options": settings}


def command(folder: Path, jobs: dict[str, Any]) -> list[str]:
    (folder / "jobs.json").write_text(json.dumps(jobs))
    return [str(toolchain("torch").python), "-m", "tests.lab.tuned", str(folder / "jobs.json")]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def run(folder: Path, jobs: dict[str, Any]) -> Made:
    """Each job's hub, Spec and result, from one process."""
    done = subprocess.run(command(folder, jobs), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: result(folder / name) for name in jobs}


def result(folder: Path) -> tuple[onnx.ModelProto, Spec, dict[str, Any]]:
    said = json.loads((folder / "result.json").read_text())
    if "error" in said:
        return onnx.ModelProto(), Spec(), said["error"]
    return onnx.load(folder / "out/hub.onnx"), load_spec(folder / "out/compress.json"), said


RECIPES = ("prune50", "prune2:4", "cluster4", "prune50+cluster4", "ternary", "binary", "w8a8", "w4", "w4b32", "w2", "cluster4+w8", "prune50+w4a8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("tuned")
    jobs = {recipe: job(folder / recipe, recipe) for recipe in RECIPES}
    jobs["again"] = job(folder / "again", "prune50+w4a8")
    jobs["other seed"] = job(folder / "other seed", "prune50+w4a8", seed=1)
    jobs["labelled"] = job(folder / "labelled", "w4", labels=np.arange(128) % 4)
    jobs["not a number"] = job(folder / "not a number", "prune50", lr=1e15)
    jobs["few"] = job(folder / "few", "prune50", n=20)
    jobs["misfit"] = job(folder / "misfit", "prune50", labels=np.arange(128) % 5)
    jobs["unequal"] = job(folder / "unequal", "prune50", labels=np.arange(100) % 4)
    jobs["not learned"] = job(folder / "not learned", "w8d")
    return run(folder, jobs)


def weights(made: onnx.ModelProto) -> dict[str, Array]:
    return {name: array(tensor) for name, tensor in constants(made.graph).items()}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_trained_to_be_nearer_to_the_original(made: Made, recipe: str) -> None:
    hub, _, said = made[recipe]
    before = weights(compressed(recipe)[0])
    onnx.checker.check_model(hub)
    assert len(said["history"]) == 3
    assert all(np.isfinite(one["validation"]) for one in said["history"])
    assert any(not np.array_equal(before[name], values) for name, values in weights(hub).items())


@pytest.mark.parametrize("recipe", ["prune50", "prune50+cluster4", "prune50+w4a8"])
def test_there_are_as_many_zeros_as_before(made: Made, recipe: str) -> None:
    hub, spec, _ = made[recipe]
    before, after = weights(compressed(recipe)[0]), weights(hub)
    for name in WEIGHTS:
        assert spec.tensors[name].sparse is not None
        assert np.count_nonzero(after[name]) <= np.count_nonzero(before[name])
    assert sum(np.count_nonzero(after[name]) for name in WEIGHTS) > 50


def test_a_pattern_of_zeros_stays_where_it_is(made: Made) -> None:
    before, after = weights(compressed("prune2:4")[0])["last"], weights(made["prune2:4"][0])["last"]
    assert np.count_nonzero(before) == before.size // 2
    assert not after[before == 0].any()


@pytest.mark.parametrize("recipe", ["cluster4", "prune50+cluster4", "cluster4+w8"])
def test_weights_share_no_more_values_than_before(made: Made, recipe: str) -> None:
    hub, spec, _ = made[recipe]
    for name in WEIGHTS:
        assert spec.tensors[name].palette is not None
        assert 2 <= len(np.unique(weights(hub)[name])) <= 4


@pytest.mark.parametrize(("recipe", "levels"), [("ternary", 3), ("binary", 2)])
def test_a_channel_is_one_pattern_times_a_scale(made: Made, recipe: str, levels: int) -> None:
    hub, spec, _ = made[recipe]
    palette = spec.tensors["mid"].palette
    assert palette is not None
    assert palette.scaled
    assert not np.array_equal(weights(hub)["mid"], weights(compressed(recipe)[0])["mid"])
    for channel in weights(hub)["mid"]:
        magnitudes = np.unique(np.abs(channel))
        assert len(magnitudes[magnitudes > 0]) == 1
        assert len(np.unique(channel)) <= levels
        assert levels == 3 or 0 not in channel


@pytest.mark.parametrize("recipe", ["w8a8", "w4", "w4b32", "w2", "cluster4+w8", "prune50+w4a8"])
def test_weights_are_exactly_what_their_integers_stand_for(made: Made, recipe: str) -> None:
    hub, spec, _ = made[recipe]
    for name in WEIGHTS:
        grid, values = spec.tensors[name].grid, weights(hub)[name]
        assert grid is not None
        whole = integers(values, grid)
        assert np.array_equal(floats(whole, grid), values)
        assert len(np.unique(whole)) > 1
        assert grid.bits == 2 or whole.min() >= -grid.highest
    assert spec.tensors["last"].grid is not None
    assert len(spec.tensors["last"].grid.scale) == {"w4b32": 16, "cluster4+w8": 1}.get(recipe, 4)


@pytest.mark.parametrize("recipe", ["w8a8", "prune50+w4a8"])
def test_every_tensor_that_a_kernel_reads_or_gives_has_a_grid(made: Made, recipe: str) -> None:
    grids = made[recipe][1].activations
    assert set(grids) == {"x", "b", "c", "m", "d", "e", "y"}  # Relu is part of the convolution
    assert grids["m"] == grids["d"] == grids["e"]  # pooling and flattening hand the grid on
    assert grids["b"].zero_point == (-128,)
    assert all(grid.bits == 8 and grid.signed and grid.lowest <= grid.zero_point[0] <= grid.highest for grid in grids.values())


def test_weights_alone_leave_activations_as_they_are(made: Made) -> None:
    assert made["w4"][1].activations == {}


def test_the_same_seed_gives_the_same_weights(made: Made) -> None:
    one, again, other = (weights(made[name][0])["last"] for name in ("prune50+w4a8", "again", "other seed"))
    assert np.array_equal(one, again)
    assert made["prune50+w4a8"][1] == made["again"][1]
    assert not np.array_equal(one, other)


def test_labels_are_learned_from(made: Made) -> None:
    said = made["labelled"][2]
    assert said["metric"] == "accuracy"
    assert all(0 <= one["metric"] <= 1 for one in said["history"])
    assert "and the labels" in said["notes"][-1]
    assert made["w4"][2]["metric"] is None


def test_a_loss_that_is_no_number_ends_it_with_the_last_good_weights(made: Made) -> None:
    hub, _, said = made["not a number"]
    assert "no number" in said["stopped"]
    assert any("no number" in note for note in said["notes"])
    before = weights(compressed("prune50")[0])
    assert all(np.array_equal(before[name], values) for name, values in weights(hub).items())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("few", "20 training samples are too few"),
        ("misfit", "the labels do not fit the outputs (y [1, 4])"),
        ("unequal", "100 labels for 128 training samples"),
        ("not learned", "'w8d' are not learned"),
    ],
)
def test_refused_in_words(made: Made, name: str, words: str) -> None:
    assert words in made[name][2]["message"]
    assert made[name][2]["kind"] == "input"


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = job(tmp_path / "whole", "prune50+w4a8", epochs=20)
    killed = {**whole, "kept": str(tmp_path / "kept")}
    process = subprocess.Popen(command(tmp_path, {"killed": {**killed}}), cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "kept/tune.npz"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (tmp_path / "killed/result.json").exists()
    made = run(tmp_path, {"whole": whole, "killed": killed})
    assert made["killed"][2]["history"] == made["whole"][2]["history"]
    assert (tmp_path / "killed/out/hub.onnx").read_bytes() == (tmp_path / "whole/out/hub.onnx").read_bytes()
    assert made["killed"][1] == made["whole"][1]


def test_memory_that_is_not_there_is_known_from_other_errors() -> None:
    program = """
import torch
from edgekit.toolchains.torch.tuning.loop import out_of_memory
try:
    torch.empty(1 << 55)
except RuntimeError as exc:
    assert out_of_memory(exc), exc
assert not out_of_memory(RuntimeError("shape mismatch"))
"""
    from edgekit.toolchains import worker

    stub = f"import sys, types; p = types.ModuleType('edgekit'); p.__path__ = [{str(Path(worker.__file__).parents[1])!r}]; sys.modules['edgekit'] = p\n"
    done = subprocess.run([toolchain("torch").python, "-c", stub + program], env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
