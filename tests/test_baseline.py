"""The model's own accuracy: told once, with a doubt where labels that were dealt out at random would do as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.baseline import Baseline
from edgekit.hub.chance import at_least
from tests.lab.cli import edgekit
from tests.lab.convert import do
from tests.lab.tiny import tiny


@pytest.mark.parametrize(("k", "n", "p", "expected"), [(0, 5, 0.3, 1.0), (5, 5, 0.5, 1 / 32), (4, 5, 0.5, 6 / 32), (1, 3, 0.0, 0.0), (3, 3, 1.0, 1.0)])
def test_the_tail_of_the_binomial_distribution(k: int, n: int, p: float, expected: float) -> None:
    assert at_least(k, n, p) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("top1", "chance", "n", "doubted"),
    [
        (0.97, 0.1, 1000, False),
        (0.11, 0.1, 1000, True),
        (0.03, 0.1, 1000, True),
        (0.15, 0.1, 1000, False),
        (0.94, 0.887, 1000, False),  # 95 % of one class: right on fewer than by always answering it, and yet no chance
        (0.89, 0.887, 1000, True),
        (1.0, 0.5, 3, False),  # three samples tell nothing, whatever they are
        (0.0, 0.5, 3, False),
        (0.25, 0.5, 8, True),
        (None, 0.0, 100, False),
    ],
)
def test_labels_are_doubted_where_chance_would_do_as_well(top1: float | None, chance: float, n: int, doubted: bool) -> None:
    assert (Baseline(top1, chance, n).doubt is not None) == doubted


def counted(folder: Path, scores: np.ndarray[Any, Any], labels: list[int]) -> dict[str, Any]:
    (folder / "outputs").mkdir()
    np.save(folder / "outputs/0.npy", scores)
    np.save(folder / "labels.npy", np.array(labels))
    return do("baseline", {"reference": folder / "outputs", "labels": folder / "labels.npy"}).result


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("answers", "labels", "top1", "chance"),
    [([0, 1, 2, 2], [0, 1, 2, 0], 0.75, (0.5 * 0.25 + 0.25 * 0.25 + 0.25 * 0.5)), ([0, 0, 0, 0], [0, 0, 1, 1], 0.5, 0.5), ([1, 1], [1, 1], 1.0, 1 / 3)],
)
def test_chance_goes_by_the_shares_of_labels_and_answers(tmp_path: Path, answers: list[int], labels: list[int], top1: float, chance: float) -> None:
    scores = np.eye(3, dtype=np.float32)[answers][:, None]
    assert counted(tmp_path, scores, labels) == {"top1": top1, "chance": pytest.approx(chance), "n": len(labels)}


@pytest.mark.toolchain
def test_outputs_that_are_no_scores_have_no_accuracy(tmp_path: Path) -> None:
    found = Baseline(**counted(tmp_path, np.zeros((4, 1, 8, 8), np.float32), [0, 1, 2, 3]))
    assert found.told("net.onnx") == "net.onnx: its first output is no scores of classes, so the labels tell nothing: accuracy is not judged"
    assert found.doubt is None


@pytest.mark.toolchain
def test_shuffled_labels_are_remarked_on(tmp_path: Path) -> None:
    model, images, labels = labelled(tmp_path)
    np.savez(tmp_path / "wrong.npz", image=images, labels=np.random.default_rng(0).permutation(labels))
    wrong = edgekit("convert", model, "--to", "onnx", "-o", tmp_path / "out", "--json", "--data", tmp_path / "wrong.npz")

    own = wrong.json["baseline"]
    assert own["value"] == wrong.json["artifacts"][0]["accuracy"]["baseline"] < 0.2
    assert wrong.stderr.count(f"tiny.onnx: top-1 {own['value']:.1%} on {own['n']} samples\n") == 1
    assert wrong.stderr.count("warning: that is no better than labels dealt out at random (1") == 1
    assert "the labels may not belong to these samples" in own["doubt"]


@pytest.mark.toolchain
def test_a_run_tells_it_too(tmp_path: Path) -> None:
    model, images, labels = labelled(tmp_path)
    np.savez(tmp_path / "right.npz", image=images, labels=labels)
    said = edgekit("deploy", model, "--target", "local", "--to", "onnx", "--recipe", "fp32", "--data", tmp_path / "right.npz", "--json")

    assert said.stderr.count("tiny.onnx: top-1 100.0% on 150 samples\n") == 1
    assert said.stderr.count("evaluated on right.npz, split once by seed 0: of 200 samples 50 kept for calibration, 150 others for evaluation\n") == 1
    assert (said.json["baseline"]["value"], said.json["baseline"]["doubt"]) == (1.0, None)
    assert "warning" not in said.stderr


def labelled(folder: Path) -> tuple[Path, Any, Any]:
    """A model, its samples, and the labels that it gives them."""
    made = tiny(folder / "tiny", n=200)
    return made.onnx, np.load(made.samples / "0.npy"), np.load(made.labels)
