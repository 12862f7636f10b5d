"""The tables of operators are what the suite gives: a sample of it here, all of it under EDGEKIT_SOAK."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from edgekit.errors import InputError
from edgekit.toolchains.catalog import toolchain
from edgekit.verbs.ops import Operator, known_formats, ops
from tests.conftest import missing
from tests.lab.cli import edgekit
from tests.lab.operators import FORMATS, PAGE, SOURCE_TOO, general, page, table

SAMPLE = 20
"""Cases of each format: two seconds on two cores, after six for the suite to be made."""
SOAK = bool(os.environ.get("EDGEKIT_SOAK"))


def told(format_: str, cases: list[str], folder: Path) -> dict[str, str]:
    """Case → verdict, of cases that are run anew (all of them where none are named)."""
    chain = toolchain("convert")
    if not chain.installed:
        missing("the convert toolchain")
    report = folder / "told.json"
    only = [part for case in cases for part in ("--only", case)]
    command = [str(chain.python), "-m", "tests.lab.backend_suite", "--to", format_, "--jobs", "2", "--json", str(report), *only]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parent.parent)
    return {one["case"]: one["verdict"] for one in json.loads(report.read_text())["verdicts"]}


@pytest.mark.toolchain
@pytest.mark.parametrize("format_", known_formats())
def test_the_table_says_what_the_suite_gives(format_: str, tmp_path: Path) -> None:
    # given: the verdicts that the table shipped with
    shipped = {case: "right" for row in ops(format_).operators.values() for case in row.right}
    shipped |= {case: "refused" for row in ops(format_).operators.values() for cases in row.refused.values() for case in cases}
    shipped |= {case: "wrong" for row in ops(format_).operators.values() for case in row.wrong}
    sample = [] if SOAK else random.Random(4).sample(sorted(shipped), SAMPLE)
    # when
    found = told(format_, sample, tmp_path)
    # then
    assert found == {case: shipped[case] for case in (sample or shipped)}


@pytest.mark.parametrize("format_", [name for name in known_formats() if name != "onnx"])
def test_nothing_is_wrong_and_nine_of_ten_are_right(format_: str) -> None:
    counts = ops(format_).counts
    assert counts["wrong"] == 0
    assert counts["right"] >= 0.9 * sum(counts.values())


def test_what_is_wrong_in_onnx_is_so_in_the_source_model_too() -> None:
    words = [words for row in ops("onnx").operators.values() for words in row.wrong.values()]
    assert all(one.startswith(SOURCE_TOO) for one in words)


def test_the_page_is_made_of_the_tables() -> None:
    assert PAGE.read_text() == page(ops(format_) for format_ in FORMATS if format_ in known_formats())


def test_every_table_was_made_with_the_locked_toolchain() -> None:
    assert set(known_formats()) <= set(FORMATS)
    for format_ in known_formats():
        assert ops(format_).current, f"{format_}: `make ops` makes the table anew"


def test_an_operator_is_found_in_any_case_and_a_near_one_named() -> None:
    assert list(ops("tflite", "conv").operators) == ["Conv"]
    with pytest.raises(InputError, match="did you mean 'Softmax'"):
        ops("tflite", "Sofmax")
    with pytest.raises(InputError, match="no case of the operator 'Zzz'"):
        ops("tflite", "Zzz")
    with pytest.raises(InputError, match="did you mean 'tflite'"):
        ops("tflit")


def test_the_command_prints_the_table_and_json() -> None:
    done = edgekit("ops", "--to", "tflite", "--op", "NonMaxSuppression")
    assert "refused" in done.stdout
    assert "whose shape is known only when the model runs" in done.stdout
    body = json.loads(edgekit("ops", "--to", "tflite", "--op", "Relu", "--json").stdout)
    assert body["schema"] == "edgekit.ops/1"
    assert body["operators"]["Relu"]["verdict"] == "right"
    assert body["current"] is True


def test_a_verdict_is_of_all_cases() -> None:
    assert Operator(right=("a",)).verdict == "right"
    assert Operator(right=("a",), refused={"no": ("b",)}).verdict == "partly"
    assert Operator(refused={"no": ("b",)}).verdict == "refused"
    assert Operator(right=("a",), wrong={"b": "off"}).verdict == "wrong"


def test_a_table_gathers_cases_by_the_words_of_their_refusal() -> None:
    words = "cannot write TFLite: Div node 'Div_{}' works on uint64: use int64"
    verdicts = [{"case": str(n), "op": "Div", "verdict": "refused", "words": words.format(n)} for n in range(2)]
    made = table("tflite", {"verdicts": verdicts, "left_out": {}}, toolchain("convert"))
    assert made.operators["Div"].refused == {"cannot write TFLite: Div works on uint64: use int64": ("0", "1")}
    assert general("node 'y' (Unique) gives 'y', whose shape is known late") == "gives a result whose shape is known late"
