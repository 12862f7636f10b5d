"""What `convert` and `deploy` say of the files: each thing once, shortly, and where the rest is."""

from __future__ import annotations

from dataclasses import replace

from edgekit.cli.file_notes import MOST_CHARACTERS, MOST_LINES, file_notes
from edgekit.records import Variant
from tests.lab.runs import variant

WHOLE = "the .json beside each file"
REST = f"{WHOLE} has all notes"


def made(fmt: str, recipe: str, *notes: str) -> Variant:
    """A converted file."""
    given = variant(recipe, fmt, 1, 1)
    assert given.artifact is not None
    return replace(given, artifact=replace(given.artifact, route=("hub",), notes=notes), measurement=None)


def test_the_same_note_is_one_line_with_all_files_that_it_is_about() -> None:
    files = [made("tflite", "w8d", "slower"), made("tflite", "w4", "slower", "w4 needs 18"), made("coreml", "fp32", "fixed"), made("coreml", "w4", "fixed")]
    assert file_notes(files, WHOLE) == ["tflite: slower", "tflite w4: needs 18", "coreml: fixed"]
    assert file_notes([made("onnx", "w8", "a"), made("coreml", "w8", "a")], WHOLE) == ["all files: a"]
    both = [made(fmt, recipe, *(["bits4: rounded."] if recipe == "bits4" else [])) for fmt in ("onnx", "coreml") for recipe in ("bits4", "fp32")]
    assert file_notes(both, WHOLE) == ["bits4: rounded"]
    assert file_notes([made("onnx", "w8", "a")], WHOLE) == ["onnx w8: a"]
    assert file_notes([made("coreml", "w8", "w8 needs 17"), made("coreml", "w8a8", "w8a8 needs 17"), made("coreml", "fp32")], WHOLE) == [
        "coreml w8, w8a8: needs 17"
    ]


def test_notes_about_other_names_only_are_one_line() -> None:
    renamed = [f"{side} '{name}' is called '{name}_0': names are identifiers" for side, name in (("input", "a"), ("output", "b"), ("output", "c"))]
    assert file_notes([made("coreml", "fp32", *renamed)], WHOLE) == [f"coreml fp32: {renamed[0]} (and 2 like it)", REST]


def test_figures_of_what_was_tried_are_left_to_the_lineage() -> None:
    assert file_notes([made("onnx", "w8a8", "minmax chosen: 34.4 dB on 16 samples; tried too: mse 32.6")], WHOLE) == [REST]
    assert file_notes([made("onnx", "w8a8")], WHOLE) == []


def test_at_most_a_dozen_lines_none_of_them_endless() -> None:
    (line, rest) = file_notes([made("onnx", "w8", "left in float: " + "'Conv', " * 100)], WHOLE)
    assert len(line) < MOST_CHARACTERS + 20
    assert line.endswith("'Conv' …")
    assert rest == REST
    for count in range(MOST_LINES - 1, MOST_LINES + 3):
        lines = file_notes([made("onnx", "w8", *(f"note {n}" for n in range(count)))], WHOLE)
        assert len(lines) == min(count, MOST_LINES)
    assert lines[-1] == f"3 more: {REST}"


def test_files_that_failed_or_were_given_have_none() -> None:
    given = made("onnx", "w8", "a")
    assert given.artifact is not None
    assert file_notes([replace(given, status="failed"), replace(given, artifact=replace(given.artifact, route=()))], WHOLE) == []
