"""`edgekit search`: trials on this machine, kept and gone on with; what dominates what; what a budget allows."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from edgekit.recipe import parse
from edgekit.verbs.search import Budget
from edgekit.verbs.search_front import Tried, Values, front
from edgekit.verbs.search_space import Space
from edgekit.write.format import format_named
from tests.conftest import missing
from tests.lab.cli import edgekit
from tests.lab.onnx_cases import classifier, outputs_for, save


def one(number: int, quality: float, p50_ns: int, download_bytes: int, peak: int = 0, recipe: str = "w8", seconds: float = 1.0) -> Tried:
    return Tried(number, recipe, "onnx", Values(quality, p50_ns, download_bytes, peak), None, seconds, None)


def test_the_front_holds_what_nothing_else_dominates() -> None:
    best, small, worse, equal = one(0, 0.98, 40, 100), one(1, 0.95, 60, 30), one(2, 0.94, 60, 30), one(3, 0.98, 40, 100)
    failed = Tried(4, "w2", "onnx", None, "no", 1.0, None)
    assert front([worse, equal, small, failed, best]) == (equal, small)
    assert front([worse]) == (worse,)
    less_memory = one(5, 0.94, 60, 30, peak=-1)
    assert less_memory in front([small, less_memory])


def test_no_trial_is_begun_that_would_end_too_late() -> None:
    known = [one(0, 1, 1, 1, seconds=10), one(1, 1, 1, 1, recipe="prune50+tune", seconds=60)]
    budget = Budget(100, None)
    assert budget.over(5, 89, known) is None
    assert budget.over(5, 91, known) == "the next trial would not end within 100 s by what earlier ones took"
    assert budget.may_tune(39, known)
    assert not budget.may_tune(41, known)
    assert budget.may_tune(50, known[:1])
    assert not budget.may_tune(51, known[:1])  # how long tuning takes is not known, and half of the time is gone
    assert Budget(None, 3).over(3, 1e9, known) == "3 trials"


class Choice:
    """An Optuna trial whose choices are given."""

    def __init__(self, **chosen: object) -> None:
        self.chosen = chosen

    def suggest_categorical(self, name: str, choices: list[object]) -> object:
        assert self.chosen[name] in choices
        return self.chosen[name]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"numbers onnx": "fp32"}, "fp32"),
        ({"numbers onnx": "fp32", "tune": "after"}, "fp32"),
        ({"numbers onnx": "w8", "zeros": "prune", "prune": 50}, "prune50+w8"),
        ({"numbers onnx": "fp32", "zeros": "prune", "prune": 50, "tune": "before"}, "prune50+tune"),
        ({"numbers onnx": "w8a8", "shapes": "channels", "channels": 30, "tune": "before"}, "channels30+tune+w8a8"),
        ({"numbers onnx": "w8a8", "shapes": "channels", "channels": 30, "tune": "after"}, "channels30+w8a8+tune"),
        ({"numbers onnx": "w8d", "values": "cluster", "cluster": 16, "tune": "after"}, "cluster16+tune+w8d"),
    ],
)
def test_choices_spell_recipes_that_make_sense(chosen: dict[str, object], expected: str) -> None:
    plain = {"format": "onnx", "shapes": "none", "zeros": "none", "values": "none", "tune": "no"}
    name, fmt = Space([format_named("onnx")], calibrated=True, tuned=True).suggest(Choice(**{**plain, **chosen}), may_tune=True)
    assert (name, fmt.name) == (expected, "onnx")
    assert parse(name).steps == tuple(expected.split("+"))


def test_without_samples_nothing_is_calibrated() -> None:
    assert "w8a8" not in Space([format_named("onnx")], calibrated=False, tuned=False).numbers(format_named("onnx"))


def test_accuracy_needs_labels(tmp_path: Path) -> None:
    save(classifier(), tmp_path / "net.onnx")
    np.savez(tmp_path / "plain.npz", image=np.zeros((40, 1, 1, 8, 8), np.float32))
    for argv in ([], ["--data", tmp_path / "plain.npz"]):
        said = edgekit("search", tmp_path / "net.onnx", "--target", "local", *argv)
        assert said.code == 2
        assert "give --data with them, or judge by --parity" in said.error
    assert "is not a length of time" in edgekit("search", tmp_path / "net.onnx", "--target", "local", "--parity", "--budget", "soon").error


@pytest.mark.toolchain
def test_a_search_is_kept_and_goes_on_where_it_was(tmp_path: Path) -> None:
    if importlib.util.find_spec("optuna") is None:
        missing("optuna", "run `pip install -e '.[dev]'`")
    made = classifier()
    images = np.random.default_rng(0).normal(size=(40, 1, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", image=images, labels=outputs_for(made, [images])[0].reshape(40, 10).argmax(axis=1))
    argv = ["search", save(made, tmp_path / "net.onnx"), "--target", "local", "--to", "onnx", "--data", tmp_path / "data.npz", "--json"]

    first = edgekit(*argv, "--trials", 1)
    assert first.code == 0, first.stderr
    (plain,) = first.json["trials"]
    assert (plain["recipe"], plain["status"], plain["quality"], plain["on_front"]) == ("fp32", "ok", 1.0, True)
    assert plain["p50_ns"] > 0

    plot = tmp_path / "front.svg"
    more = edgekit(*argv, "--trials", 1, "--plot", plot)
    assert more.code == 0, more.stderr
    told = more.json
    assert [one["recipe"] for one in told["trials"]] == ["fp32", "fp16"]
    assert (told["new"], told["stopped"]) == (1, "1 trial")
    assert told["trials"][0] == {**plain, "on_front": told["trials"][0]["on_front"]}
    assert {(one["recipe"], one["run"]) for one in told["front"]} == {(one["recipe"], one["run"]) for one in told["trials"] if one["on_front"]}
    assert re.search(r"onnx (fp32|fp16): ", plot.read_text())
