"""Tuning of compressed hubs: what was made of the weights still holds afterwards, the same seed gives the same weights, and a killed run goes on."""

from __future__ import annotations

import gzip
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

from edgekit.baseline import Baseline
from edgekit.compress import prune
from edgekit.compress.steps import read_step
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec, floats, integers, load_spec
from edgekit.hub.graph import array, constants
from edgekit.hub.graph import spec as tensor_of
from edgekit.model import open_model
from edgekit.toolchains import jobs
from edgekit.toolchains.catalog import toolchain
from tests.lab.networks import digits
from tests.lab.packages import mnist_csv

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


def command(folder: Path, wanted: dict[str, Any]) -> list[str]:
    (folder / "jobs.json").write_text(json.dumps(wanted))
    return [str(toolchain("torch").python), "-m", "tests.lab.tuned", str(folder / "jobs.json")]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def run(folder: Path, wanted: dict[str, Any]) -> Made:
    """Each job's hub, Spec and result, from one process."""
    done = subprocess.run(command(folder, wanted), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: result(folder / name) for name in wanted}


def result(folder: Path) -> tuple[onnx.ModelProto, Spec, dict[str, Any]]:
    said = json.loads((folder / "result.json").read_text())
    if "error" in said:
        return onnx.ModelProto(), Spec(), said["error"]
    return onnx.load(folder / "out/hub.onnx"), load_spec(folder / "out/compress.json"), said


RECIPES = ("prune50", "prune2:4", "cluster4", "prune50+cluster4", "ternary", "binary", "w8a8", "w4", "w4b32", "w2", "cluster4+w8", "prune50+w4a8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("tuned")
    wanted = {recipe: job(folder / recipe, recipe) for recipe in RECIPES}
    wanted["again"] = job(folder / "again", "prune50+w4a8")
    wanted["other seed"] = job(folder / "other seed", "prune50+w4a8", seed=1)
    wanted["labelled"] = job(folder / "labelled", "w4", labels=np.arange(128) % 4)
    wanted["not a number"] = job(folder / "not a number", "prune50", lr=1e15)
    wanted["few"] = job(folder / "few", "prune50", n=20)
    wanted["misfit"] = job(folder / "misfit", "prune50", labels=np.arange(128) % 5)
    wanted["unequal"] = job(folder / "unequal", "prune50", labels=np.arange(100) % 4)
    wanted["not learned"] = job(folder / "not learned", "w8d")
    wanted["nothing on the way"] = job(folder / "nothing on the way", "prune50", loss={"feature": 0})
    wanted["matched"] = job(folder / "matched", "prune50", loss={"match": ["b", "d"]})
    wanted["no such tensor"] = job(folder / "no such tensor", "prune50", loss={"match": ["dd"]})
    wanted["no labels"] = job(folder / "no labels", "prune50", loss={"task": 0.5})
    wanted["no room"] = job(folder / "no room", "prune50")
    for name in ("hub", "teacher"):
        without_room(folder / f"no room/{name}.onnx")
    wanted["in time"] = job(folder / "in time", "prune50", epochs=2, seconds=600.0)
    wanted["no time"] = job(folder / "no time", "prune50", epochs=50, seconds=1e-3)
    wanted["as usual"] = job(folder / "as usual", "prune50", epochs=None)
    wanted["whole"] = job(folder / "whole", "prune50+w4a8", epochs=20)
    wanted["killed"] = {**wanted["whole"], "kept": str(folder / "kept")}
    kill(folder, wanted["killed"])
    return run(folder, wanted)


def without_room(path: Path) -> None:
    """Give a network a tensor on the way that no machine holds, of 64 TB."""
    made = onnx.load(path)
    last = made.graph.node[-1]
    (output,) = last.output
    last.output[0] = "before"
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1 << 42, 4]), "shape"))
    nodes = (("Expand", ["before", "shape"], "wide"), ("Exp", ["wide"], "large"), ("ReduceMax", ["large"], "all"))
    made.graph.node.extend(onnx.helper.make_node(op, inputs, [out], **({"axes": [0], "keepdims": 1} if op == "ReduceMax" else {})) for op, inputs, out in nodes)
    made.graph.node.append(onnx.helper.make_node("Add", ["before", "all"], [output]))
    onnx.save(made, path)


def kill(folder: Path, wanted: dict[str, Any]) -> None:
    """End a run after its first checkpoint."""
    process = subprocess.Popen(command(folder, {"killed": wanted}), cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL)
    checkpoint, deadline = folder / "kept/tune.npz", time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (folder / "killed/result.json").exists()


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
    assert "that is no better than labels dealt out at random" in said["notes"][0]
    assert made["w4"][2]["metric"] is None


DOUBT = """
import sys
from types import SimpleNamespace
import torch
from edgekit.toolchains.torch.tuning.losses import Head, Loss

labels = torch.arange(1000) % 10
for right in map(int, sys.argv[1:]):
    answers = torch.where(torch.arange(1000) < right, labels, (labels + 1) % 10)
    loss = Loss((Head("y", "y", 10, True),), (), {}, 1.0, 0.5, 0.0)
    print(loss.doubt([{"y": torch.nn.functional.one_hot(answers, 10).float()}], [SimpleNamespace(labels=labels)]))
"""


def test_labels_to_train_with_are_doubted_as_those_to_evaluate_with_are() -> None:
    """112 of 1000 may be chance's 100, 120 may not: they are reached by chance in 2 of 100 cases, and are within three standard errors."""
    done = subprocess.run([str(toolchain("torch").python), "-c", DOUBT, "112", "120"], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    doubted, trusted = done.stdout.splitlines()
    assert f"the original gives 11.2% of the labels to train with, and {Baseline(0.112, 0.1, 1000).doubt}; give others" in doubted
    assert trusted == "[]"


@pytest.mark.parametrize(("name", "epochs"), [("in time", 2), ("no time", 1)])
def test_epochs_and_seconds_both_bound_it(made: Made, name: str, epochs: int) -> None:
    assert len(made[name][2]["history"]) == epochs


def test_pruning_has_time_to_recover(made: Made) -> None:
    """Half of the epochs go by while weights become zero; without pruning there are 30 at most."""
    assert len(made["as usual"][2]["history"]) > 30


def test_a_loss_that_is_no_number_ends_it_with_the_last_good_weights(made: Made) -> None:
    hub, _, said = made["not a number"]
    assert "no number" in said["stopped"]
    assert [note for note in said["notes"] if "no number" in note] == [said["stopped"]]
    assert "the weights are those from before it was tuned; give a smaller learning rate than 1e+15, as lr in the table [tune]" in said["stopped"]
    before = weights(compressed("prune50")[0])
    assert all(np.array_equal(before[name], values) for name, values in weights(hub).items())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("few", "20 training samples are too few"),
        ("misfit", "the labels do not fit the outputs (y [1, 4])"),
        ("unequal", "100 labels for 128 training samples"),
        ("not learned", "'w8d' are not learned"),
        ("no such tensor", "'dd' cannot be matched, as the original and the compressed network have no such tensor in one shape: name one of d, "),
        ("no labels", "task = 0.5 is a share of the labels, and the samples have none"),
    ],
)
def test_refused_in_words(made: Made, name: str, words: str) -> None:
    assert words in made[name][2]["message"]
    assert made[name][2]["kind"] == "input"


def test_memory_that_runs_out_is_said_with_what_helps(made: Made) -> None:
    assert made["no room"][2]["message"].startswith("memory ran out in tuning, even with one sample at once: close other programs")
    assert made["no room"][2]["kind"] == "convert"


def test_tensors_on_the_way_are_matched_as_chosen(made: Made) -> None:
    usual, without, chosen = (made[name][2]["history"][0]["loss"] for name in ("prune50", "nothing on the way", "matched"))
    assert without < usual
    assert chosen not in (usual, without)


def test_a_killed_run_goes_on_to_the_same_weights(made: Made) -> None:
    (whole, spec, said), (hub, other, after) = made["whole"], made["killed"]
    assert after["history"] == said["history"]
    assert hub.SerializeToString() == whole.SerializeToString()
    assert other == spec


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


def test_tuning_brings_back_what_pruning_cost(tmp_path: Path) -> None:
    """80 percent of a trained network's weights gone, four epochs on 1,000 labelled digits that the test samples are not among."""
    network, kept_out = digits("depthwise")
    source = open_model(network, {}, lambda text, fraction: None).hub
    hub, spec = onnx.load(source), Spec()
    prune.apply(hub, spec, "80", Wish())
    onnx.save(hub, tmp_path / "hub.onnx")
    spec.save(tmp_path / "compress.json")
    images, labels = training_digits(1000)
    (tmp_path / "training").mkdir()
    np.save(tmp_path / "training/0.npy", images[:, None])
    np.save(tmp_path / "labels.npy", labels)
    inputs = {"hub": tmp_path / "hub.onnx", "teacher": source, "spec": tmp_path / "compress.json", "training": tmp_path / "training"}
    tuned = jobs.run(jobs.Job("torch", "tune", {**inputs, "labels": tmp_path / "labels.npy"}, {"epochs": 4, "seed": 0}), lambda text, fraction: None)
    with np.load(kept_out) as samples:
        before, after = (accuracy(tmp_path, each, samples) for each in (tmp_path / "hub.onnx", tuned.folder / "hub.onnx"))
    assert after >= before + 0.1


def training_digits(n: int) -> tuple[Array, Array]:
    """The first of those that the network was trained with."""
    with gzip.open(mnist_csv()) as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    some = table[np.random.default_rng(0).permutation(len(table))[:n]]
    return some[:, :-1].reshape(-1, 1, 28, 28) / 255, some[:, -1].astype(np.int64)


def accuracy(tmp_path: Path, hub: Path, samples: Any) -> float:
    folder = tmp_path / "samples"
    folder.mkdir(exist_ok=True)
    np.save(folder / "0.npy", samples["image"][:, None])
    graph = onnx.load(hub).graph
    options = {"inputs": [tensor_of(graph.input[0])], "outputs": [tensor_of(graph.output[0])]}
    found = jobs.run(jobs.Job("convert", "reference_onnx", {"model": hub, "samples": folder}, options), lambda text, fraction: None).folder
    return float(np.mean(np.load(found / "0.npy").reshape(len(samples["labels"]), -1).argmax(1) == samples["labels"]))
