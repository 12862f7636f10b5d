"""What devices tell, from files that say where it is documented, against what edgekit should read in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.conditions import Told, in_words, per_cpu, throttling
from edgekit.doctor import clock, libc, processor, room, speed
from edgekit.measure import tell
from edgekit.runtime import platform
from edgekit.transport import connect

DOCUMENTED = sorted((Path(__file__).parent / "device_output" / "documented").glob("*.json"))


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("path", DOCUMENTED, ids=lambda path: path.stem)
def test_what_a_device_tells_is_read_as_documented(path: Path) -> None:
    example = content(path)

    told = Told.model_validate(example["told"])

    assert in_words(told.state) == example["expected"]
    assert told.emulated == ("emulation" in example["told"]["identity"])


@pytest.mark.parametrize("path", DOCUMENTED, ids=lambda path: path.stem)
def test_the_doctor_judges_it_and_every_complaint_has_a_cure(path: Path) -> None:
    example = content(path)
    told, target = Told.model_validate(example["told"]), platform().description

    findings = [processor(told, target), libc(told, target), room(told), *speed(told)]

    assert {finding.check: finding.verdict for finding in findings} == example["verdicts"]
    assert all(bool(finding.cure) == (finding.verdict != "ok") for finding in findings)


def test_a_wrong_clock_is_seen_either_way() -> None:
    assert clock(-3.0).verdict == "ok"
    assert clock(90.0).verdict == "warn"
    assert (clock(-90.0).verdict, clock(-90.0).found) == ("warn", "90 s behind this machine")


def test_a_word_that_is_not_a_figure_is_left_out() -> None:
    assert in_words({"loadavg": "?", "thermal_zone0/cpu": "", "cpu0/scaling_cur_freq": "<unknown>", "available_kb": "x"}) == {}
    assert throttling({"vcgencmd get_throttled": "VCHI initialization failed"}) is None


def test_processors_are_grouped_only_where_they_are_neighbours_in_kind() -> None:
    assert per_cpu({0: "a", 1: "a"}) == "a"
    assert per_cpu({0: "a", 1: "b", 2: "b"}) == "cpu0 a, cpu1-2 b"
    assert per_cpu({}) == ""


def test_this_machine_tells_who_it_is() -> None:
    told = tell(connect("local:"), platform(), sys.executable)

    assert told.identity["machine"] in platform().description.machines
    assert told.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert told.cores
    assert "loadavg" in told.state
