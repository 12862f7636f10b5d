"""What devices tell, from files that say where it is documented, against what edgekit should read in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.conditions import Told, in_words, per_cpu, throttling
from edgekit.doctor import clock, libc, processor, room, speed
from edgekit.measure import tell
from edgekit.runtime import platform
from edgekit.transport import connect
from tests.conftest import missing

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


def test_a_processor_under_qemu_user_is_emulated_and_says_so(tmp_path: Path) -> None:
    """qemu hides itself in /proc/self/exe; the program that really runs is in /proc/thread-self/exe. A Python of that name stands in for it."""
    stand_in = tmp_path / "qemu-aarch64"
    shutil.copy(os.path.realpath(sys.executable), stand_in)
    environment = {**os.environ, "PYTHONHOME": sys.base_prefix}

    done = subprocess.run([stand_in, platform().conditions], env=environment, capture_output=True, text=True, check=True)

    told = Told.model_validate_json(done.stdout)
    assert told.emulated
    assert told.identity["emulation"] == "qemu-user (qemu-aarch64)"


@pytest.mark.lab
def test_a_genuine_qemu_user_is_recognised() -> None:
    qemu = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if qemu is None or os.uname().machine != "x86_64":
        missing("qemu-x86_64", "sudo apt-get install qemu-user-static, on an x86-64 machine")

    assert qemu is not None
    done = subprocess.run([qemu, "/usr/bin/python3", "-I", "-S", platform().conditions], capture_output=True, text=True, check=True)

    assert Told.model_validate_json(done.stdout).identity["emulation"].startswith("qemu-user (qemu-x86_64")
