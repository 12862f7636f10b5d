"""What people write to say how long and how to measure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit.cli.measuring import protocol_from, settings_from
from edgekit.errors import InputError
from tests.lab.cli import edgekit

NOTHING: dict[str, Any] = {"quick": False, "full": False, "sustained": None}


def test_a_protocol_by_its_option() -> None:
    assert protocol_from(NOTHING).name == "quick"
    assert protocol_from({**NOTHING, "full": True}).processes == 3
    assert [protocol_from({**NOTHING, "sustained": length}).min_s for length in ("10m", "90s", "1.5h")] == [600, 90, 5400]


@pytest.mark.parametrize("length", ["59s", "10", "m", "ten minutes", "-1h", ""])
def test_a_length_that_is_none(length: str) -> None:
    with pytest.raises(InputError, match="give one such as 10m"):
        protocol_from({**NOTHING, "sustained": length or "0m"})


def test_protocols_exclude_each_other() -> None:
    with pytest.raises(InputError, match="exclude each other"):
        protocol_from({"quick": True, "full": True, "sustained": None})
    with pytest.raises(InputError, match="exclude each other"):
        protocol_from({"quick": False, "full": True, "sustained": "10m"})


def test_settings() -> None:
    found = settings_from({"delegate": "gpu", "runner": "benchmark_model", "governor": "performance", "no_wait": True})

    assert (found.delegate, found.runner, found.governor, found.wait) == ("gpu", "benchmark_model", "performance", False)


@pytest.mark.toolchain
@pytest.mark.parametrize(("option", "value"), [("--cores", "huge"), ("--cores", "900"), ("--delegate", "gpu2")])
def test_what_does_not_fit_is_said_before_any_work_and_leaves_no_run(option: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"never read")

    said = edgekit("deploy", tmp_path / "model.onnx", "--target", "local", option, value)

    assert said.code == 2
    assert value in said.error
    assert edgekit("runs", "list", "--json").json["runs"] == []
