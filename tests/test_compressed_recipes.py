"""Recipes with steps of the hub, from a model to verified files: what reaches the file, what is told of it, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgekit.errors import InputError
from edgekit.hub.compressed import load_spec
from edgekit.recipe import SUPPORTED, Recipe, parse
from edgekit.records import Variant
from edgekit.toolchains.jobs import Job, run
from edgekit.verbs.convert import convert
from edgekit.verbs.source import open_source, refusal_of, refuse_idle
from edgekit.write.format import Steps, format_named, formats
from edgekit.write.wishes import Tuning, Wishes
from tests.lab.networks import digits

ONNX, TFLITE, COREML = (format_named(name) for name in ("onnx", "tflite", "coreml"))


def nothing(text: str, fraction: float | None) -> None: ...


def converted(
    folder: Path,
    model: Path,
    recipes: Sequence[str | Recipe],
    formats: Sequence[str],
    data: Path | None = None,
    wishes: Wishes = Wishes(),  # noqa: B008
) -> dict[str, Variant]:
    read = [parse(one) if isinstance(one, str) else one for one in recipes]
    written = [format_named(name) for name in formats]
    with open_source(model, {}, data, read, written, nothing, wishes) as source:
        variants = convert(source, read, written, lambda sha256: folder, nothing, wishes)
    return {f"{one.recipe}.{one.format}": one for one in variants}


@pytest.mark.toolchain
def test_a_pruned_network_reaches_the_file_and_the_lineage_tells_how(tmp_path: Path) -> None:
    model, data = digits("depthwise")
    with np.load(data) as every:
        np.savez(tmp_path / "few.npz", **{name: every[name][:160] for name in every.files})

    found = converted(tmp_path, model, ["w8", "prune50+w8", "cluster16"], ["onnx"], tmp_path / "few.npz")

    assert {one.status for one in found.values()} == {"ok"}, [one.error for one in found.values()]
    plain, pruned, clustered = (one.artifact for one in found.values())
    assert plain is not None
    assert plain.compression is None
    for step, artifact in (("prune50", pruned), ("cluster16", clustered)):
        assert artifact is not None
        assert artifact.agreement is not None
        assert artifact.parity is not None
        assert artifact.accuracy is not None
        # The file computes what its network does, and the network is not the model's own.
        assert artifact.agreement.sqnr_db > artifact.parity.sqnr_db + 10
        assert artifact.accuracy.value > 0.85
        lineage = json.loads(artifact.path.with_name(artifact.path.name + ".json").read_text())
        (told,) = lineage["artifact"]["compression"]["steps"]
        assert told["step"] == step
        assert told["notes"]
    assert pruned is not None
    assert pruned.compression is not None
    counts = pruned.compression
    assert counts.before.macs == counts.after.macs > 0
    assert 0.45 < counts.after.nonzero / counts.before.nonzero < 0.55
    assert pruned.download_bytes < 0.9 * plain.download_bytes, "zeros stay zero when they are quantized"


@pytest.mark.toolchain
def test_a_file_gives_a_layer_its_own_strength_and_an_unknown_layer_is_refused_with_the_nearest(tmp_path: Path) -> None:
    model = weighted(tmp_path / "m.onnx")
    own = Recipe("own", ("prune50",), (("first", "prune80"), ("second", "none")))

    found = converted(tmp_path, model, [own], ["onnx"])["own.onnx"]

    assert found.status == "ok", found.error
    assert found.artifact is not None
    assert found.artifact.path.name == "m.own.onnx"
    assert found.artifact.compression is not None
    assert 200 + 64 * 10 < found.artifact.compression.after.nonzero < 64 * 64 * 0.2 + 64 * 10 + 100
    with pytest.raises(InputError, match="the model has no layer 'frist', which the recipe file names: did you mean 'first'"):
        converted(tmp_path, model, [Recipe("own", ("prune50",), (("frist", "prune80"),))], ["onnx"])


def weighted(path: Path) -> Path:
    """Two MatMuls, `first` [64, 64] and `second` [64, 10]."""
    draw = np.random.default_rng(0)
    constants = [numpy_helper.from_array(draw.standard_normal(shape).astype(np.float32), name) for name, shape in (("u", (64, 64)), ("v", (64, 10)))]
    nodes = [onnx.helper.make_node("MatMul", ["x", "u"], ["h"], name="first"), onnx.helper.make_node("Relu", ["h"], ["r"])]
    nodes.append(onnx.helper.make_node("MatMul", ["r", "v"], ["y"], name="second"))
    ends = [[onnx.helper.make_tensor_value_info(name, 1, [1, size])] for name, size in (("x", 64), ("y", 10))]
    made = onnx.helper.make_model(onnx.helper.make_graph(nodes, "m", *ends, constants), opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(made), path)
    return path


def samples(path: Path, n: int, classes: int = 10) -> Path:
    draw = np.random.default_rng(1)
    np.savez(path, x=draw.standard_normal((n, 64)).astype(np.float32), labels=draw.integers(0, classes, n))
    return path


@pytest.mark.toolchain
def test_tuning_and_learned_integers_reach_the_file(tmp_path: Path) -> None:
    model, data = weighted(tmp_path / "m.onnx"), samples(tmp_path / "data.npz", 400)
    wishes = Wishes(tuning=Tuning(epochs=2, seed=3))

    found = converted(tmp_path, model, ["prune50+tune", "w4+tune"], ["onnx"], data, wishes)

    assert {one.status for one in found.values()} == {"ok"}, [one.error for one in found.values()]
    tuned, learned = (found[f"{name}.onnx"].artifact for name in ("prune50+tune", "w4+tune"))
    assert tuned is not None
    assert learned is not None
    assert tuned.compression is not None
    assert [step.step for step in tuned.compression.steps] == ["prune50", "tune"]
    assert tuned.compression.steps[0].left.nonzero >= tuned.compression.after.nonzero, "zeros stay zero while it is tuned"
    assert (tuned.compression.seed, tuned.compression.n_training) == (3, 220)
    assert tuned.compression.training is not None
    assert "220 for training" in tuned.compression.training
    assert learned.compression is not None
    assert [step.step for step in learned.compression.steps] == ["w4+tune"]
    assert learned.agreement is not None
    assert learned.agreement.max_rel < 1e-3, "the file has the very values that were learned"
    assert learned.size_bytes < 0.4 * (64 * 64 + 640) * 4


@pytest.mark.toolchain
def test_a_student_of_another_file_takes_the_models_boundary_and_one_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    teacher, student = weighted(tmp_path / "m.onnx"), weighted(tmp_path / "s.onnx")
    renamed = onnx.load(student)
    for node in renamed.graph.node:  # its input is called as the teacher's output is
        node.input[:] = ["y" if name == "x" else name for name in node.input]
        node.output[:] = ["z" if name == "y" else name for name in node.output]
    renamed.graph.input[0].name, renamed.graph.output[0].name = "y", "z"
    onnx.save(renamed, student)
    files = {"hub": teacher, "student": student}

    outcome = run(Job("convert", "compress", files, {"technique": "distill", "strength": ""}), nothing)

    hub = onnx.load(outcome.folder / "hub.onnx")
    onnx.checker.check_model(hub, full_check=True)
    assert [value.name for value in (*hub.graph.input, *hub.graph.output)] == ["x", "y"]
    assert load_spec(outcome.folder / "compress.json").tensors == {}

    hub.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 9
    onnx.save(hub, student)
    with pytest.raises(Exception, match=r"the student has the outputs 'y' float32 \[1, 9\], and the model 'y' float32 \[1, 10\]"):
        run(Job("convert", "compress", files, {"technique": "distill", "strength": ""}), nothing)


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("n", "classes", "words"),
    [
        (60, 10, "data.npz has 60 samples, and calibration, training and evaluation are kept apart: give at least 80, or others with --train"),
        (200, 12, "labels of data.npz hold class 11, and output 'y' has scores of 10 classes, 0 to 9: check them"),
    ],
)
def test_data_that_does_not_do_is_refused_before_any_work(tmp_path: Path, n: int, classes: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        converted(tmp_path, weighted(tmp_path / "m.onnx"), ["prune50+tune"], ["onnx"], samples(tmp_path / "data.npz", n, classes))


@pytest.mark.toolchain
def test_a_file_for_training_leaves_the_data_to_the_evaluation(tmp_path: Path) -> None:
    model, data, train = weighted(tmp_path / "m.onnx"), samples(tmp_path / "data.npz", 100), samples(tmp_path / "train.npz", 50)
    recipes, wishes = [parse("prune50+tune")], Wishes(tuning=Tuning(train=train))

    with open_source(model, {}, data, recipes, [ONNX], nothing, wishes) as source:
        found = source.samples

    assert (found.n_training, found.n_evaluation) == (50, 100)
    assert found.training is not None
    assert found.training_labels is not None
    assert np.load(found.training / "0.npy").shape == (50, 1, 64)
    assert len(np.load(found.training_labels)) == 50
    assert found.origin.endswith("; train.npz: 50 samples for training")


def test_what_a_format_cannot_carry_is_said_before_any_work() -> None:
    assert "Core ML has no activations quantized at run time" in str(refusal_of("onnx", parse("prune50+w8d"), COREML, Wishes(), True))
    assert "TFLite" in str(refusal_of("onnx", parse("w4b32+tune"), TFLITE, Wishes(), True))
    assert "give some with --data, or others with --train; labels are not needed" in str(refusal_of("onnx", parse("prune50+tune"), ONNX, Wishes(), False))
    assert "is calibrated on samples" in str(refusal_of("onnx", parse("prune50+w8a8"), ONNX, Wishes(), False))
    assert refusal_of("onnx", parse("prune50+w8a8"), TFLITE, Wishes(), True) is None
    assert refusal_of("onnx", parse("w2+tune"), COREML, Wishes(), True) is None


def test_a_refusal_says_what_the_format_takes_and_which_formats_take_the_recipe() -> None:
    bare = replace(ONNX, title="Bare", recipes={"fp32": Steps(), "w8": Steps()}, refusals={}, store_verb=None)
    for recipe, words in (
        ("prune50+w4b32", "Bare does not carry w4b32: use one of fp32, w8; prune50+w4b32 goes into Core ML, ONNX"),
        (
            "w2+tune",
            "edgekit stores no integers that were learned in Bare files: use one of fp32, w8, with no tune after it; w2+tune goes into Core ML, ONNX, TFLite",
        ),
    ):
        assert refusal_of("onnx", parse(recipe), bare, Wishes(), True) == words


def test_recipes_that_refusals_name_are_taken() -> None:
    for fmt in formats().values():
        for words in fmt.refusals.values():
            used = words.rpartition("use ")[2].partition(",")[0].split(" or ")
            assert {name for name in used if name in SUPPORTED} <= fmt.recipes.keys(), words
            assert {*used} & fmt.recipes.keys(), words


@pytest.mark.parametrize(
    ("tuning", "recipe", "words"),
    [
        (Tuning(train=Path("t.npz")), "prune50", "--train is for recipes that tune, calibrate, weigh channels or keep to a budget, not for prune50"),
        (Tuning(train=Path("t.npz")), "auto:drop=0.01", None),
        (Tuning(train=Path("t.npz")), "channels50", None),
        (Tuning(epochs=3), "w8", "leave out --epochs"),
        (Tuning(seconds=3), "w8", "leave out --tune-time"),
        (Tuning(seed=3), "w8", "--seed is for recipes that compress the network"),
        (Tuning(seed=3), "prune50", None),
        (Tuning(epochs=3), "prune50+tune", None),
    ],
)
def test_a_wish_for_tuning_that_nothing_can_use_is_refused(tuning: Tuning, recipe: str, words: str | None) -> None:
    if words is None:
        refuse_idle([parse(recipe)], [ONNX], Wishes(tuning=tuning))
        return
    with pytest.raises(InputError, match=words):
        refuse_idle([parse(recipe)], [ONNX], Wishes(tuning=tuning))


@pytest.mark.toolchain
def test_a_layer_that_would_be_cut_to_nothing_fails_its_recipe_alone(tmp_path: Path) -> None:
    dead = onnx.load(weighted(tmp_path / "m.onnx"))
    dead.graph.initializer.append(numpy_helper.from_array(np.zeros((64, 10), np.float32), "z"))
    dead.graph.node[-1].output[0] = "s"
    dead.graph.node.extend([onnx.helper.make_node("MatMul", ["x", "z"], ["t"], name="third"), onnx.helper.make_node("Add", ["s", "t"], ["y"])])
    onnx.save(dead, tmp_path / "m.onnx")

    found = converted(tmp_path, tmp_path / "m.onnx", [Recipe("most", ("prune50",), per_layer=True), "fp32"], ["onnx"])

    assert found["fp32.onnx"].status == "ok"
    assert found["most.onnx"].status == "failed"
    assert "'third' would be cut to nothing by prune50" in str(found["most.onnx"].error)
