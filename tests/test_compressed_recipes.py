"""Recipes with steps of the hub, from a model to verified files: what reaches the file, what is told of it, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgekit.errors import InputError
from edgekit.hub.compressed import load_spec
from edgekit.recipe import Recipe, parse
from edgekit.records import Variant
from edgekit.toolchains.jobs import Job, run
from edgekit.verbs.convert import convert
from edgekit.verbs.source import open_source, refusal_of, refuse_idle
from edgekit.write.format import format_named
from edgekit.write.wishes import Tuning, Wishes
from tests.lab.networks import digits
from tests.lab.tiny import tiny

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

    found = converted(tmp_path, model, ["prune50+w8", "cluster16"], ["onnx", "tflite"], data)

    assert {one.status for one in found.values()} == {"ok"}, [one.error for one in found.values()]
    for name, one in found.items():
        artifact = one.artifact
        assert artifact is not None
        assert artifact.compression is not None
        assert artifact.agreement is not None
        assert artifact.parity is not None
        # The file is its network's, and the network is not the model's.
        assert artifact.agreement.sqnr_db > artifact.parity.sqnr_db + 10, name
        assert artifact.accuracy is not None
        assert artifact.accuracy.value > 0.85
        counts = artifact.compression
        assert counts.before.macs == counts.after.macs
        if name.startswith("prune50"):
            assert 0.45 < counts.after.nonzero / counts.before.nonzero < 0.55
        lineage = json.loads(artifact.path.with_name(artifact.path.name + ".json").read_text())
        (step,) = lineage["artifact"]["compression"]["steps"]
        assert step["step"] == name.split("+")[0].split(".")[0]
        assert step["notes"]
    zeros = stored_zeros(tmp_path / "depthwise.prune50+w8.onnx")
    assert 0.4 < zeros, "what was pruned is zero in the quantized file too"


def stored_zeros(file: Path) -> float:
    """Share of the stored numbers of weights (more than one axis) that is zero."""
    arrays = [numpy_helper.to_array(one) for one in onnx.load(file).graph.initializer if len(one.dims) > 1 and one.data_type in (1, 3)]
    return sum(int((array == 0).sum()) for array in arrays) / sum(array.size for array in arrays)


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
    with pytest.raises(InputError, match="the model has no layer 'frist': did you mean 'first'"):
        converted(tmp_path, model, [Recipe("own", ("prune50",), (("frist", "prune80"),))], ["onnx"])


def weighted(path: Path) -> Path:
    """Two MatMuls, `first` [64, 64] and `second` [64, 10]."""
    draw = np.random.default_rng(0)
    constants = [numpy_helper.from_array(draw.standard_normal(shape).astype(np.float32), name) for name, shape in (("u", (64, 64)), ("v", (64, 10)))]
    nodes = [onnx.helper.make_node("MatMul", ["x", "u"], ["h"], name="first"), onnx.helper.make_node("Relu", ["h"], ["r"])]
    nodes.append(onnx.helper.make_node("MatMul", ["r", "v"], ["y"], name="second"))
    ends = [[onnx.helper.make_tensor_value_info(name, 1, [1, size])] for name, size in (("x", 64), ("y", 10))]
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph(nodes, "m", *ends, constants), opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path
    )
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

    assert (found.n_training, found.n_evaluation) == (50, 75)
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


@pytest.mark.parametrize(
    ("tuning", "recipe", "words"),
    [
        (Tuning(train=Path("t.npz")), "prune50", "--train is for recipes that tune, not for prune50"),
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
    folder = tiny(tmp_path / "tiny")
    every = Recipe("most", ("prune99",), per_layer=True)

    found = converted(tmp_path, folder.onnx, [every, "fp32"], ["onnx"])

    assert found["fp32.onnx"].status == "ok"
    assert found["most.onnx"].status == "failed"
    assert "would be cut to nothing" in str(found["most.onnx"].error)
