"""edgekit.hub.parity: figures on arrays whose errors are known beforehand."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.hub import bounds, parity

Arrays = list[np.ndarray[Any, Any]]


def folder(path: Path, arrays: Arrays) -> Path:
    path.mkdir()
    for i, array in enumerate(arrays):
        np.save(path / f"{i}.npy", array)
    return path


def compared(tmp_path: Path, reference: Arrays, outputs: Arrays) -> dict[str, Any]:
    return parity.compare(folder(tmp_path / "a", reference), folder(tmp_path / "b", outputs), len(reference))


def f32(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def test_equal_outputs_have_no_error(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(size=(5, 1, 7)).astype(np.float32)
    assert compared(tmp_path, [scores], [scores]) == {
        "max_abs": 0.0, "max_rel": 0.0, "cosine": 1.0, "sqnr_db": 999.0, "top1_agreement": 1.0, "has_nan": False, "all_zero": False, "n": 5,
    }  # fmt: skip


def test_figures_are_those_of_their_definitions(tmp_path: Path) -> None:
    found = compared(tmp_path, [f32(3, 4).reshape(1, 2)], [f32(3, 4.5).reshape(1, 2)])
    assert found["max_abs"] == 0.5
    assert found["max_rel"] == 0.125
    assert found["sqnr_db"] == pytest.approx(20.0)
    assert found["cosine"] == pytest.approx((9 + 18) / 5 / np.hypot(3, 4.5))


def test_the_worst_output_counts(tmp_path: Path) -> None:
    good, bad = f32(1, 2).reshape(2, 1), f32(-1, 100).reshape(2, 1)
    found = compared(tmp_path, [good, bad], [good, -bad])
    assert found["max_abs"] == 200
    assert found["max_rel"] == 2
    assert found["cosine"] == pytest.approx(-1)
    assert found["sqnr_db"] == pytest.approx(-6.02, abs=0.01)


def test_sums_run_over_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(3, 1000)).astype(np.float32)
    b = a + rng.normal(size=a.shape).astype(np.float32) / 10
    whole = compared(tmp_path, [a], [b])
    monkeypatch.setattr(parity, "BLOCK", 7)
    assert parity.compare(tmp_path / "a", tmp_path / "b", 1) == pytest.approx(whole)


def test_top1_agreement_is_a_share_of_samples(tmp_path: Path) -> None:
    a = np.eye(4, dtype=np.float32).reshape(4, 1, 4)
    b = a.copy()
    b[0] = b[0, :, ::-1]
    assert compared(tmp_path, [a], [b])["top1_agreement"] == 0.75


@pytest.mark.parametrize("array", [np.ones((2, 1, 1), np.float32), np.ones((2, 1, 3), np.int64), np.ones((2, 5, 3), np.float32), np.ones(2, np.float32)])
def test_top1_agreement_is_none_where_the_output_is_no_scores(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    assert compared(tmp_path, [array], [array])["top1_agreement"] is None


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_seen_and_leaves_finite_figures(tmp_path: Path, wrong: float) -> None:
    found = compared(tmp_path, [f32(1, 2)], [f32(1, wrong)])
    assert found["has_nan"]
    assert found["max_abs"] == 0
    assert "NaN" in (bounds.judge(found, "fp32") or "")


def test_values_that_the_reference_itself_does_not_know_are_left_out(tmp_path: Path) -> None:
    found = compared(tmp_path, [f32(np.nan, -np.inf, 2)], [f32(7, np.nan, 2)])
    assert not found["has_nan"]
    assert found["sqnr_db"] == 999.0


def test_a_reference_without_any_finite_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(parity.NothingToCompareError, match="source model's own output 0"):
        compared(tmp_path, [f32(np.nan, np.nan)], [f32(1, 1)])


def test_an_all_zero_output_is_seen_only_where_the_reference_is_not_zero(tmp_path: Path) -> None:
    zero = f32(0, 0)
    found = compared(tmp_path, [zero, f32(1, 2)], [zero, zero])
    assert found["all_zero"]
    assert found["cosine"] == 0
    (tmp_path / "same").mkdir()
    same = compared(tmp_path / "same", [zero], [zero])
    assert not same["all_zero"]
    assert same["cosine"] == 1


def test_integers_and_bools_are_compared_as_numbers(tmp_path: Path) -> None:
    found = compared(tmp_path, [np.array([200, 3], np.uint8), np.array([True, False])], [np.array([3, 200], np.uint8), np.array([True, False])])
    assert found["max_abs"] == 197


def test_empty_outputs_are_passed_over(tmp_path: Path) -> None:
    found = compared(tmp_path, [f32(1, 2), np.ones((2, 0), np.float32)], [f32(1, 2), np.ones((2, 0), np.float32)])
    assert found["sqnr_db"] == 999.0


def test_shapes_that_differ_and_no_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(parity.NothingToCompareError, match=r"\[2\].*\[1, 2\]"):
        compared(tmp_path, [f32(1, 2).reshape(1, 2)], [f32(1, 2)])
    (tmp_path / "none").mkdir()
    with pytest.raises(parity.NothingToCompareError, match="no samples"):
        compared(tmp_path / "none", [np.ones((0, 2), np.float32)], [np.ones((0, 2), np.float32)])


def test_a_large_folder_is_never_loaded_whole(tmp_path: Path) -> None:
    big = np.ones((64, 1, 1 << 18), np.float32)
    a, b = folder(tmp_path / "a", [big]), folder(tmp_path / "b", [big])
    size = big.nbytes
    del big
    tracemalloc.start()
    parity.compare(a, b, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size / 2


def test_accuracy_is_the_share_of_right_labels(tmp_path: Path) -> None:
    outputs = folder(tmp_path / "a", [np.eye(4, dtype=np.float32).reshape(4, 1, 4)])
    np.save(tmp_path / "labels.npy", np.array([0, 1, 2, 0]))
    assert parity.top1_accuracy(outputs, tmp_path / "labels.npy") == 0.75
    np.save(tmp_path / "labels.npy", np.array([0, 1, 2]))
    with pytest.raises(parity.NothingToCompareError, match="3 labels for 4 samples"):
        parity.top1_accuracy(outputs, tmp_path / "labels.npy")


def test_accuracy_needs_scores(tmp_path: Path) -> None:
    outputs = folder(tmp_path / "a", [np.ones((2, 5, 3), np.float32)])
    np.save(tmp_path / "labels.npy", np.array([0, 1]))
    with pytest.raises(parity.NothingToCompareError, match="no scores"):
        parity.top1_accuracy(outputs, tmp_path / "labels.npy")


GOOD = {"max_rel": 0.0, "sqnr_db": 999.0, "cosine": 1.0, "has_nan": False, "all_zero": False}


@pytest.mark.parametrize(
    ("recipe", "change", "word"),
    [
        ("fp32", {"max_rel": 1.1e-4}, "of their range"),
        ("fp16", {"max_rel": 5.1e-3}, "of their range"),
        ("w8", {"sqnr_db": bounds.BOUNDS["w8"].min_sqnr_db - 0.1}, "dB"),  # type: ignore[operator]
        ("w8a8", {"cosine": bounds.BOUNDS["w8a8"].min_cosine - 0.01}, "cosine"),  # type: ignore[operator]
        ("w8d", {"all_zero": True}, "all zero"),
    ],
)
def test_each_bound_is_held(recipe: str, change: dict[str, Any], word: str) -> None:
    assert bounds.judge(GOOD, recipe) is None
    assert word in (bounds.judge({**GOOD, **change}, recipe) or "")


def test_a_bound_given_stands_in_for_the_table() -> None:
    assert bounds.judge({**GOOD, "max_rel": 1.0}, "fp32", bounds.Bound(max_rel=2.0)) is None


def test_arrays_that_are_not_in_c_order_are_refused(tmp_path: Path) -> None:
    turned = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    with pytest.raises(parity.NothingToCompareError, match="C order"):
        compared(tmp_path, [turned], [turned])
