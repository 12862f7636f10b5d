"""Records to JSON and back: equal records come back, and anything else is refused with its place."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import InputError
from edgekit.records import Parity, Run, TensorSpec
from edgekit.records_json import from_json, to_json
from tests.lab.runs import PARITY, broken, run_with_files


def through_text(value: object) -> Any:
    return json.loads(json.dumps(to_json(value), allow_nan=False))


def test_a_whole_run_comes_back_equal(tmp_path: Path) -> None:
    run = run_with_files(tmp_path)
    run = replace(run, variants=(*run.variants, broken("w8", "onnx")))
    assert from_json(Run, through_text(run)) == run


def test_unions_of_numbers_and_names_come_back() -> None:
    spec = TensorSpec("x", "float32", (1, "batch", 3))
    assert from_json(TensorSpec, through_text(spec)) == spec


def test_what_is_not_a_number_survives() -> None:
    back = from_json(Parity, through_text(replace(PARITY, max_abs=math.inf, max_rel=-math.inf, cosine=math.nan)))
    assert (back.max_abs, back.max_rel) == (math.inf, -math.inf)
    assert math.isnan(back.cosine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": "8"}, "Parity.n: expected int, found '8'"),
        ({"n": True}, "Parity.n: expected int, found True"),
        ({"max_abs": None}, "Parity.max_abs: expected float, found None"),
        ({"max_abs": "much"}, "Parity.max_abs: expected float, found 'much'"),
        ({"colour": 1}, "Parity: 'colour' is not known"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_json(Parity, to_json(PARITY) | change)
    assert message in str(caught.value)


def test_a_place_deep_inside_is_named(tmp_path: Path) -> None:
    value = through_text(run_with_files(tmp_path))
    value["variants"][1]["status"] = "fine"
    with pytest.raises(InputError, match=r"Run\.variants\.1\.status: expected 'ok' or 'failed' or 'skipped', found 'fine'"):
        from_json(Run, value)


def test_only_a_field_with_a_default_may_be_missing(tmp_path: Path) -> None:
    value = through_text(run_with_files(tmp_path))
    del value["variants"][0]["artifact"]["notes"]
    artifact = from_json(Run, value).variants[0].artifact
    assert artifact is not None
    assert artifact.notes == ()
    del value["variants"][0]["artifact"]["sha256"]
    with pytest.raises(InputError, match="'sha256' is missing"):
        from_json(Run, value)


def test_a_record_holds_nothing_that_json_has_no_word_for() -> None:
    with pytest.raises(TypeError, match="a record cannot hold bytes"):
        to_json(b"raw")
