"""Samples: data is checked against the model's inputs, split once, and each misfit refused with the cure."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgekit.toolchains.convert import samples

IMAGE = {"name": "image", "dtype": "float32", "shape": [1, 4, 4, 1]}
DRAW = np.random.default_rng(0)


class Refused(Exception):
    pass


@dataclass
class Job:
    """What a verb is given, as the worker's own Job gives it."""

    inputs: dict[str, Path]
    options: dict[str, Any]
    out: Path
    said: list[str] = field(default_factory=list)

    def progress(self, text: str, fraction: float | None = None) -> None:
        self.said.append(text)

    def refuse(self, message: str, *, kind: str = "convert", op: str | None = None, node: str | None = None) -> NoReturn:
        assert kind == "input"
        raise Refused(message)


def run(tmp_path: Path, specs: list[dict[str, Any]], data: Path | None = None, hub: Path | None = None, **options: Any) -> tuple[dict[str, Any], Path]:
    out = tmp_path / "out"
    out.mkdir()
    inputs = {name: path for name, path in (("data", data), ("hub", hub)) if path is not None}
    job: Any = Job(inputs, {"inputs": specs, "need_calibration": False, "max_evaluation": 500, "seed": 0, **options}, out)
    return samples.run(job), out


def npz(tmp_path: Path, **arrays: Any) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


def refusal(tmp_path: Path, specs: list[dict[str, Any]], data: Path, **options: Any) -> str:
    with pytest.raises(Refused) as caught:
        run(tmp_path, specs, data, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("shape", [(40, 4, 4, 1), (40, 1, 4, 4, 1)])
def test_the_models_own_batch_axis_may_be_left_out(tmp_path: Path, shape: tuple[int, ...]) -> None:
    run(tmp_path, [IMAGE], npz(tmp_path, image=DRAW.random(shape, np.float32)))
    assert np.load(tmp_path / "out/evaluation/0.npy").shape == (30, 1, 4, 4, 1)


def test_calibration_and_evaluation_are_kept_apart_and_labels_follow(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.float32)[:, None]
    path = npz(tmp_path, x=values, labels=np.arange(1000))
    result, out = run(tmp_path, [{"name": "x", "dtype": "float32", "shape": [1]}], path, need_calibration=True)
    calibration, evaluation = np.load(out / "calibration/0.npy"), np.load(out / "evaluation/0.npy")
    assert (result["n_calibration"], result["n_evaluation"]) == (len(calibration), len(evaluation)) == (200, 500)
    assert not set(calibration.ravel()) & set(evaluation.ravel())
    assert np.load(out / "labels.npy").tolist() == evaluation.ravel().tolist()
    how = "of 1000 samples 200 for calibration, 500 others for evaluation, 300 unused (500 are evaluated at most)"
    assert result["origin"] == f"data.npz, split once by seed 0: {how}"


def test_samples_that_nobody_uses_are_told_of_and_why(tmp_path: Path) -> None:
    result, _ = run(tmp_path, [IMAGE], npz(tmp_path, image=DRAW.random((32, 4, 4, 1), np.float32)), need_calibration=True, max_unlabelled=16)
    assert result["origin"].endswith("of 32 samples 8 for calibration, 16 others for evaluation, 8 unused (without labels 16 are enough)")


def test_evaluation_is_the_same_with_and_without_calibration(tmp_path: Path) -> None:
    path = npz(tmp_path, image=DRAW.random((40, 4, 4, 1), np.float32))
    kept = []
    for name, need in (("a", True), ("b", False)):
        (tmp_path / name).mkdir()
        _, out = run(tmp_path / name, [IMAGE], path, need_calibration=need)
        kept.append(np.load(out / "evaluation/0.npy"))
        assert (out / "calibration").exists() == need
    np.testing.assert_array_equal(*kept)


def test_one_array_serves_a_model_of_one_input(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, DRAW.random((20, 4, 4, 1)))  # float64: the same kind
    _, out = run(tmp_path, [IMAGE], path)
    assert np.load(out / "evaluation/0.npy").dtype == np.float32
    assert "2 inputs (image, other): save all of them" in refusal_of_two(tmp_path / "two", path)


def refusal_of_two(folder: Path, path: Path) -> str:
    folder.mkdir()
    return refusal(folder, [IMAGE, {**IMAGE, "name": "other"}], path)


GOOD = DRAW.random((20, 4, 4, 1), np.float32)
HOLED = GOOD.copy()
HOLED[7, 0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"imag": GOOD}, "did you mean 'image'?"),
        ({"image": GOOD, "label": np.arange(20)}, "did you mean 'labels'?"),
        ({"labels": np.arange(20)}, "no array 'image'"),
        ({"image": GOOD[:, :3]}, "has shape [20, 3, 4, 1], and the model needs [n, 1, 4, 4, 1], or [n, 4, 4, 1]"),
        ({"image": (GOOD * 255).astype(np.uint8)}, "is uint8, and the model takes float32: convert it, scaled as the model was trained"),
        ({"image": GOOD > 0}, "is bool, and the model takes float32"),
        ({"image": HOLED}, "NaN or infinite values, first in sample 7"),
        ({"image": GOOD.astype(np.float64) * 1e300}, "which float32 cannot hold"),
        ({"image": GOOD[:0]}, "is empty"),
        ({"image": np.float32(3)}, "is empty"),
        ({"image": GOOD, "labels": np.arange(19)}, "(image: 20, labels: 19)"),
        ({"image": GOOD, "labels": np.arange(20) - 1}, "hold -1: class indices start at 0"),
        ({"image": GOOD, "labels": np.arange(20.0)}, "are float64: give class indices as integers"),
        ({"image": GOOD, "labels": np.eye(20, dtype=np.int64)}, "one class index a sample"),
        ({"image": np.array([{}] * 20)}, "Python objects, which are never loaded"),
    ],
)
def test_data_that_does_not_fit(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    assert words in refusal(tmp_path, [IMAGE], npz(tmp_path, **arrays))


def test_integers_of_another_width_are_taken_if_they_fit(tmp_path: Path) -> None:
    ids = {"name": "ids", "dtype": "int8", "shape": [1, 3]}
    _, out = run(tmp_path, [ids], npz(tmp_path, ids=np.full((20, 3), 127)))
    assert np.load(out / "evaluation/0.npy").dtype == np.int8
    for value in (128, -129):
        (tmp_path / str(value)).mkdir()
        assert f"holds {value}, which int8 cannot hold" in refusal(tmp_path / str(value), [ids], npz(tmp_path, ids=np.full((20, 3), value)))


def test_too_few_samples_for_both_ends(tmp_path: Path) -> None:
    path = npz(tmp_path, image=GOOD[:15])
    assert "has 15 samples, and calibration and evaluation are kept apart: give at least 16" in refusal(tmp_path, [IMAGE], path, need_calibration=True)
    (tmp_path / "b").mkdir()
    result, _ = run(tmp_path / "b", [IMAGE], path)
    assert result["n_evaluation"] == 15


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00"])
def test_files_that_are_no_arrays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    assert "data.npz" in refusal(tmp_path, [IMAGE], path)


def test_a_truncated_archive(tmp_path: Path) -> None:
    path = npz(tmp_path, image=GOOD)
    path.write_bytes(path.read_bytes()[:-30])
    assert "truncated" in refusal(tmp_path, [IMAGE], path)


def test_a_large_sample_limits_how_many_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_BYTES", 20 * GOOD[0].nbytes)
    result, _ = run(tmp_path, [IMAGE], npz(tmp_path, image=DRAW.random((400, 4, 4, 1), np.float32)), need_calibration=True)
    assert (result["n_calibration"], result["n_evaluation"]) == (20, 20)


def test_random_samples_are_seeded_and_say_so(tmp_path: Path) -> None:
    specs = [IMAGE, {"name": "flag", "dtype": "bool", "shape": [2]}, {"name": "mask", "dtype": "int64", "shape": [1, 3]}]
    result, out = run(tmp_path, specs)
    image, flag, mask = (np.load(out / f"evaluation/{index}.npy") for index in range(3))
    assert (image.shape, image.dtype, flag.dtype, mask.tolist()) == ((4, 1, 4, 4, 1), np.float32, np.bool_, [[[1, 1, 1]]] * 4)
    assert image.min() < 0 < image.max()  # of zero mean
    assert "4 random samples, seed 0: image normal with mean 0 and deviation 1" in result["origin"]
    (tmp_path / "again").mkdir()
    _, again = run(tmp_path / "again", specs)
    np.testing.assert_array_equal(np.load(again / "evaluation/0.npy"), image)


def test_random_indices_stay_within_the_table_they_index(tmp_path: Path) -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18]> g (int64[1,50] ids) => (float[1,50,2] y) {
        c = Cast<to=6>(ids)  y = Gather(table, c) }""")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((7, 2), np.float32), "table"))
    onnx.save(model, str(tmp_path / "hub.onnx"))
    result, out = run(tmp_path, [{"name": "ids", "dtype": "int64", "shape": [1, 50]}], hub=tmp_path / "hub.onnx")
    ids = np.load(out / "evaluation/0.npy")
    assert (ids.min(), ids.max()) == (0, 6)
    assert "ids indices below 7" in result["origin"]


def test_calibration_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="give them with --data"):
        run(tmp_path, [IMAGE], need_calibration=True)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}]), allow_pickle=True)
    path.write_bytes(buffer.getvalue())
    assert "never loaded" in refusal(tmp_path, [IMAGE], path)


def test_one_file_for_all_ends_is_split_in_three_that_share_nothing(tmp_path: Path) -> None:
    path = npz(tmp_path, x=np.arange(1000, dtype=np.float32)[:, None], labels=np.arange(1000))
    result, out = run(tmp_path, [{"name": "x", "dtype": "float32", "shape": [1]}], path, need_calibration=True, need_training=True)

    parts = [set(np.load(out / name / "0.npy").ravel().tolist()) for name in ("calibration", "training", "evaluation")]

    assert [len(part) for part in parts] == [200, 600, 200] == [result["n_calibration"], result["n_training"], result["n_evaluation"]]
    assert len(set.union(*parts)) == 1000
    assert np.load(out / "training_labels.npy").tolist() == np.load(out / "training/0.npy").ravel().tolist()
    how = "of 1000 samples 200 for calibration, 600 for training, 200 for evaluation, each for one of these alone"
    others = "; where nothing is tuned 500 are evaluated, so compare no accuracy of such a run with these"
    assert result["origin"] == f"data.npz, split once by seed 0: {how}{others}"


def test_without_labels_the_same_few_are_evaluated_whether_any_is_tuned_or_not(tmp_path: Path) -> None:
    (tmp_path / "tuned").mkdir()
    path, spec = npz(tmp_path, x=np.arange(1000, dtype=np.float32)[:, None]), [{"name": "x", "dtype": "float32", "shape": [1]}]
    alone, out = run(tmp_path, spec, path, max_unlabelled=16)
    tuned, other = run(tmp_path / "tuned", spec, path, max_unlabelled=16, need_training=True)
    assert (np.load(out / "evaluation/0.npy") == np.load(other / "evaluation/0.npy")).all()
    assert "where nothing is tuned" not in alone["origin"] + tuned["origin"]


@pytest.mark.parametrize("need_training", [True, False])
def test_a_file_to_train_with_serves_calibration_too_so_that_all_others_are_evaluated(tmp_path: Path, need_training: bool) -> None:
    more = tmp_path / "more.npz"
    np.savez(more, x=np.arange(1000, 1400, dtype=np.float32)[:, None])
    (tmp_path / "out").mkdir()
    spec = {"name": "x", "dtype": "float32", "shape": [1]}
    options = {"inputs": [spec], "max_evaluation": 500, "need_training": need_training, "need_calibration": True}
    job: Any = Job({"data": npz(tmp_path, x=np.arange(300, dtype=np.float32)[:, None], labels=np.arange(300)), "train": more}, options, tmp_path / "out")

    result = samples.run(job)

    folders = ("calibration", "evaluation", *(["training"] if need_training else []))
    parts = {name: set(np.load(tmp_path / "out" / name / "0.npy").ravel().tolist()) for name in folders}
    assert parts["evaluation"] == set(range(300))
    assert parts["calibration"] | parts.get("training", set()) <= set(range(1000, 1400))
    assert [result[f"n_{name}"] for name in ("calibration", "training")] == [100, 300 if need_training else 0]
    assert parts["calibration"].isdisjoint(parts.get("training", set()))
    assert result["origin"].endswith("more.npz: 100 samples for calibration" + (" and 300 samples for training" if need_training else ""))


def test_too_few_to_train_with_are_refused_with_how_many_are_needed(tmp_path: Path) -> None:
    spec = {"name": "x", "dtype": "float32", "shape": [1]}
    assert "give at least 80, or others with --train" in refusal(tmp_path, [spec], npz(tmp_path, x=np.ones((79, 1), np.float32)), need_training=True)


def test_a_training_file_that_is_too_small_is_refused(tmp_path: Path) -> None:
    small = tmp_path / "small.npz"
    np.savez(small, x=np.ones((39, 1), np.float32))
    (tmp_path / "out").mkdir()
    options = {"inputs": [{"name": "x", "dtype": "float32", "shape": [1]}], "max_evaluation": 500, "need_training": True}
    job: Any = Job({"data": npz(tmp_path, x=np.ones((100, 1), np.float32)), "train": small}, options, tmp_path / "out")

    with pytest.raises(Refused, match=r"small\.npz has 39 samples to train with: give at least 40"):
        samples.run(job)


@pytest.mark.parametrize(("shape", "refused"), [([1, 10], True), ([1, 1, 10], True), ([1, 11], False), ([1, 4, 10], False), ([1], False), ([], False)])
def test_labels_beyond_the_scores_of_the_model_are_refused(tmp_path: Path, shape: list[int], refused: bool) -> None:
    spec, outputs = {"name": "x", "dtype": "float32", "shape": [1]}, [{"name": "y", "dtype": "float32", "shape": shape}]
    path = npz(tmp_path, x=np.ones((40, 1), np.float32), labels=np.arange(40) % 11)

    if refused:
        assert "labels of data.npz hold class 10, and output 'y' has scores of 10 classes, 0 to 9" in refusal(tmp_path, [spec], path, outputs=outputs)
    else:
        assert run(tmp_path, [spec], path, outputs=outputs)[0]["n_evaluation"] == 30
