"""attempts: the best way is found, what fails is passed over, and operators are left out, most harmful first, until the floor is met."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.toolchains.convert.quantize.attempts import (
    GROUPS,
    Attempt,
    Options,
    Search,
    Wish,
    choose,
    keep_precision,
    methods,
    named,
    short_of,
    stretches,
    told,
)
from edgekit.toolchains.convert.quantize.sensitive import Loss

NOTHING = Options(methods=["minmax"], equalised=False, clipped=False, corrected=False, sensitive=frozenset(), positions=range(10))


def search(folder: Path, sqnr_db: Callable[[Attempt], float]) -> Search:
    """A quantizer whose files hold their own SQNR."""
    number = itertools.count()

    def make(attempt: Attempt) -> Path:
        path = folder / str(next(number))
        path.write_text(str(sqnr_db(attempt)))
        return path

    return Search(make, lambda path: Loss(0.0, float(path.read_text()), None), (ValueError,))


def test_each_step_stands_on_the_best_so_far(tmp_path: Path) -> None:
    gains = {"minmax": 10.0, "mse": 14.0, "entropy": 3.0}
    found = search(tmp_path, lambda a: gains[a.ranges or ""] + 2 * a.equalised - 1 * a.corrected)
    options = replace(NOTHING, methods=["minmax", "entropy", "mse"], equalised=True, corrected=True)
    assert choose(found, "w8a8", options, None) == Attempt("mse", equalised=True)
    (note,) = told(found, Attempt("mse", equalised=True), "16 samples")
    assert note.startswith("mse + equalised chosen: 16.0 dB on 16 samples; tried too: mse + equalised + bias corrected 15.0, mse 14.0")
    assert not list(tmp_path.iterdir())  # candidates are not kept


def test_an_attempt_that_fails_is_passed_over_and_a_first_one_is_not(tmp_path: Path) -> None:
    def sqnr(attempt: Attempt) -> float:
        if attempt.ranges == "mse":
            raise ValueError("no such kernel")
        return 10.0

    options = replace(NOTHING, methods=["minmax", "mse"])
    assert choose(search(tmp_path, sqnr), "w8a8", options, None) == Attempt("minmax")
    with pytest.raises(ValueError, match="no such kernel"):
        choose(search(tmp_path, sqnr), "w8a8", replace(options, methods=["mse"]), None)


def test_what_stands_before_a_logarithm_is_left_out_only_where_that_helps(tmp_path: Path) -> None:
    options = replace(NOTHING, methods=["minmax", "mse"], sensitive=frozenset({1, 2}))
    helps = search(tmp_path, lambda a: (25.0 if a.ranges == "mse" else 24.0) if a.left else (9.0 if a.ranges == "mse" else 10.0))
    assert choose(helps, "w8a8", options, None) == Attempt("mse", left=frozenset({1, 2}))  # the ranges are chosen again for the rest
    assert choose(search(tmp_path, lambda a: 10.0 - len(a.left)), "w8a8", options, None) == Attempt("minmax")
    enough = search(tmp_path, lambda a: 30.0 + len(a.left))
    assert choose(enough, "w8a8", options, None).left == frozenset()


def test_the_most_harmful_operators_are_left_out_until_the_floor_is_met(tmp_path: Path) -> None:
    harm = {2: 8.0, 5: 4.0, 7: 2.0}
    found = search(tmp_path, lambda a: 30.0 - sum(harm.get(p, 0.1) for p in range(10) if p not in a.left))
    first = Attempt("minmax")
    assert keep_precision(found, first, range(10), 15.0) == first
    assert keep_precision(found, first, range(10), 20.0).left == {2}
    assert keep_precision(found, first, range(10), 25.0).left == {2, 5}
    assert keep_precision(found, first, range(10), 28.0).left == {2, 5, 7}
    assert found.loss(keep_precision(found, first, range(10), 99.0)).sqnr_db == pytest.approx(30.0)  # all out, and still not there


def test_many_operators_are_judged_in_stretches() -> None:
    found = stretches(range(1000))
    assert len(found) <= GROUPS
    assert [position for group in found for position in group] == list(range(1000))
    assert stretches([3, 5]) == [[3], [5]]
    assert stretches([]) == []


def test_methods_follow_the_wish_and_the_size() -> None:
    assert methods("entropy", 10**6, 8) == ["entropy"]
    assert set(methods("percentile", 10**6, 8)) == {"percentile99.9", "percentile99.99", "percentile99.999"}
    assert methods("auto", 10**6, 8)[0] == methods("auto", 10**9, 8)[0] == "minmax"
    assert len(methods("auto", 10**9, 8)) < len(methods("auto", 10**6, 8))


def test_a_floor_is_a_number_or_automatic() -> None:
    assert Wish.of({"recipe": "w8"}).floor_db is None
    assert Wish.of({"keep_float": "auto"}).floor_db == 20.0
    assert Wish.of({"keep_float": 32.5}).floor_db == 32.5


def test_a_note_names_a_dozen() -> None:
    assert named(["a", "b"]) == "'a', 'b'"
    assert named([str(i) for i in range(14)]).endswith("'11' and 2 more")


def test_a_floor_that_is_out_of_reach_says_where_what_was_reached_and_what_to_do() -> None:
    words = short_of(24.3, 60, "ONNX", "w8a8", "16 samples", "operators")
    assert words.startswith("ONNX w8a8 keeps 24.3 dB on 16 samples, 60 dB were asked for")
    assert "use w8 or fp16, or a lower --keep-float" in words
    assert "use fp32, or" in short_of(70, 90, "ONNX", "fp16", "16 samples", "operators")


def test_no_error_is_told_in_words(tmp_path: Path) -> None:
    found = search(tmp_path, lambda attempt: 999.0 if attempt.clipped else 30.0)
    best = choose(found, "w4", replace(NOTHING, clipped=True), None)
    assert told(found, best, "4 samples") == ["minmax + clipped weights chosen: exact on 4 samples; tried too: minmax 30.0"]
