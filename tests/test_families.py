"""Families of networks from every source to every format: verified or refused in words. A sample in `make test`, all in `make soak` (EDGEKIT_SOAK=1)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab.families.matrix import Case, Cell, convert, models
from tests.lab.families.report import page, would_take
from tests.lab.families.table import FAMILIES, FORMATS, MUST, SOURCES
from tests.lab.networks import ROOT, made

SOAK = bool(os.environ.get("EDGEKIT_SOAK"))
SAMPLE = [
    ("transposed", "onnx"),
    ("gru", "onnx"),
    ("embedding", "onnx"),
    ("if", "onnx"),
    ("loop", "onnx"),
    ("lstm", "pt2"),
    ("several", "pt2"),
    ("bigru", "keras"),
]
LAYERS = ("gru_reset_before", "two_ways_state", "stateful")
RECURRENT = ROOT / "tests/lab/models/recurrent_keras.py"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """The families, and recurrent Keras layers in many shapes, in one go."""
    pairs = [(family, source) for family in FAMILIES for source in SOURCES] if SOAK else SAMPLE
    listed = [Case(family, source, path) for (family, source), path in models(pairs).items()]
    layers = [Case(path.stem, "keras", path) for path in sorted(made(RECURRENT, "tensorflow", ".").glob("*.keras"))]
    return convert(listed + [case for case in layers if SOAK or case.family in LAYERS], tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def cases(everything: list[Case]) -> list[Case]:
    return [case for case in everything if case.family in FAMILIES]


@pytest.mark.toolchain
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_cell_is_wrong_and_none_crashed(cases: list[Case]) -> None:
    found = {(case.family, case.source, name): (cell.outcome, cell.words) for case in cases for name, cell in case.cells.items()}
    assert {where: told for where, told in found.items() if told[0] not in ("verified", "refused")} == {}
    assert len(found) == 3 * len(cases)


@pytest.mark.toolchain
@pytest.mark.slow
def test_what_users_bring_most_is_verified_in_all_three_formats(cases: list[Case]) -> None:
    found = {(case.family, case.source): case.cells for case in cases}
    missed = {pair: {name: cell.words for name, cell in cells.items() if cell.outcome != "verified"} for pair, cells in found.items() if pair in MUST}
    assert {pair: words for pair, words in missed.items() if words} == {}


@pytest.mark.toolchain
@pytest.mark.slow
def test_every_refusal_says_what_it_would_take(cases: list[Case]) -> None:
    refused = {cell.words for case in cases for cell in case.cells.values() if cell.outcome == "refused"}
    assert [words for words in refused if would_take(words) is None] == []


@pytest.mark.toolchain
@pytest.mark.slow
def test_keras_recurrent_layers_are_layers_in_the_hub(everything: list[Case]) -> None:
    found = {case.family: case for case in everything if case.family not in FAMILIES}
    stateful = found.pop("stateful").cells["onnx"]
    assert {name: case.cells["onnx"].words for name, case in found.items() if case.cells["onnx"].outcome != "verified"} == {}
    assert stateful.outcome == "refused"
    assert "keeps its state from one call to the next: build the model with stateful=False" in stateful.words
    assert "wrong" not in {cell.outcome for case in found.values() for cell in case.cells.values()}


def test_the_page_lists_each_refusal_once() -> None:
    refused = Cell("refused", "node 'while_loop_of_some_layer' (Loop) gives 'steps', whose shape is known only when the model runs: export it")
    other = Cell("refused", "node 'while_loop_of_another' (Loop) gives 'steps', whose shape is known only when the model runs: export it")
    text = page(
        [
            Case("loop", "onnx", Path("a"), cells={"tflite": refused, "onnx": Cell("verified", "", 2e-7)}),
            Case("loop", "pt2", Path("b"), cells={"tflite": other}),
        ]
    )
    assert "1 verified, 2 refused, 0 wrong, 0 crashed" in text
    assert "| Loop | refused [1] | – | – | refused [1] | – |" in text
    assert "**[1]** ONNX × Loop → TFLite, .pt2 × Loop → TFLite: node '…' (Loop) gives" in text
    assert "It would take: tensors of unknown length" in text
    assert set(FORMATS) == {"tflite", "coreml", "onnx"}
