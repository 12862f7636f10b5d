"""The doctor on this machine, on devices that lack something, and on the documented ones."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from edgekit.conditions import read_told
from edgekit.conditions.recorded import reading
from edgekit.device import Device
from edgekit.doctor import NEEDED_BYTES, NEEDED_NATIVE_BYTES, background, clock, examine, folder, limits, processor, room, runtime, screen, speed, throttling
from edgekit.lock import Holder, lock
from edgekit.runtime import platform
from edgekit.transport import connect
from tests.lab.cli import edgekit
from tests.lab.sshd import sshd
from tests.test_conditions import DEVICES, answer, content, told

HERE = Device("local", "local:", None, sys.executable)
BOARD = Device("board", "ssh:board", None)
SHORT_S = 0.1


@pytest.mark.parametrize("path", DEVICES, ids=lambda path: path.stem)
def test_the_doctor_judges_it_and_every_complaint_has_a_cure(path: Path) -> None:
    example = content(path)
    found = read_told("\n".join(example["output"]))
    target = platform("android" if found.android else "linux")
    needed = NEEDED_NATIVE_BYTES if target.description.own_libc else NEEDED_BYTES

    findings = [processor(found, target), runtime(BOARD, target, found), folder(found), room(found, needed)]
    findings += [*speed(found.state), *throttling(found), *limits(found), *screen(found)]

    if "verdicts" in example:  # what owners send has none
        assert {finding.check: finding.verdict for finding in findings} == example["verdicts"]
    assert all(bool(finding.cure) == (finding.verdict != "ok") for finding in findings)


def test_a_wrong_clock_is_seen_either_way() -> None:
    assert clock(-3.0).verdict == "ok"
    assert clock(90.0).verdict == "warn"
    assert (clock(-90.0).verdict, clock(-90.0).found) == ("warn", "90 s behind this machine")


def test_only_what_really_runs_counts_as_background_load() -> None:
    """A phone's load average is above its number of cores while nothing runs."""
    before, quiet, busy = (
        {"stat": f"cpu  {work} 0 0 {idle} 0 0 0 0 0 0", "loadavg": "12.05 12.31 12.18 1/4710 9042"} for work, idle in ((0, 0), (5, 95), (15, 85))
    )

    assert [finding.verdict for finding in background(before, quiet, 8)] == ["ok"]
    assert [finding.found for finding in background(before, busy, 8)] == ["15 % of the processors' time"]
    assert [finding.verdict for finding in background(before, busy, 8)] == ["warn"]
    assert list(background({}, busy, 8)) == []


def test_a_mac_tells_its_load_only() -> None:
    assert [finding.verdict for load in ("1.53 1.60 1.71", "3.53 1.60 1.71") for finding in background({}, {"loadavg": load}, 8)] == ["ok", "warn"]


def test_this_machine_can_be_measured_on() -> None:
    found = {finding.check: finding for finding in examine(connect("local:"), HERE, SHORT_S)}

    assert [found[check].verdict for check in ("reachable", "runtime", "rights", "clock")] == ["ok"] * 4
    assert found["background load"].verdict in ("ok", "warn")


def test_a_device_without_the_python_that_it_needs_is_told_what_to_install() -> None:
    found = {finding.check: finding for finding in examine(connect("local:"), Device("local", "local:", None, "/nowhere/python3"), SHORT_S)}

    assert found["runtime"].verdict == "fail"
    assert "/nowhere/python3" in found["runtime"].found
    assert "install Python 3.10 to 3.14" in found["runtime"].cure


def test_a_device_that_runs_the_native_runner_needs_no_python() -> None:
    found = runtime(BOARD, platform(), read_told(answer("raspberry-pi-4-without-rights-or-python")))

    assert (found.verdict, found.found) == ("ok", "the native runner, glibc 2.36")


def test_a_python_that_is_too_old_is_named() -> None:
    old = read_told(answer("raspberry-pi-5-quiet").replace("python\t3.11.2", "python\t3.7.3"))

    found = runtime(Device("board", "ssh:board", None, runner="python"), platform(), old)

    assert (found.verdict, found.found) == ("fail", "python3 is Python 3.7")


def test_another_edgekit_on_the_device_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "edgekit"
    root.mkdir()
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(root))
    with connect("local:") as transport:
        alone = {finding.check: finding for finding in examine(transport, HERE, SHORT_S)}
        with lock(transport, str(root), Holder("ml@laptop", "edgekit deploy", 1234)):
            shared = {finding.check: finding for finding in examine(transport, HERE, SHORT_S)}

    assert alone["in use"].verdict == "ok"
    assert shared["in use"].verdict == "warn"
    assert shared["in use"].found.startswith("in use by ml@laptop since ")
    assert shared["in use"].found.endswith("(edgekit deploy)")
    assert shared["in use"].cure == "wait until it is done, or end process 1234 on laptop: two at once disturb each other"


def test_a_folder_that_was_not_made_is_not_made_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "edgekit"))

    found = {finding.check for finding in examine(connect("local:"), HERE, SHORT_S)}

    assert "in use" not in found
    assert not (tmp_path / "edgekit").exists()


def test_frequencies_that_are_held_down_are_a_warning() -> None:
    found = {finding.check: finding for finding in speed(told("pixel-7-severe-and-dark").state)}

    assert found["governor"].verdict == "warn"
    assert "capped at cpu0-3 1803 MHz, cpu4-5 2348 MHz, cpu6-7 1426 MHz" in found["governor"].found


@pytest.mark.lab
def test_a_device_that_has_gone_is_a_finding_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    with sshd() as server:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
        device = Device("bench", server.address, None)
        with connect(server.address) as transport:
            found = {finding.check: finding.verdict for finding in examine(transport, device, SHORT_S)}
            assert (found["reachable"], found["runtime"], found["rights"]) == ("ok", "ok", "ok")
            server.kill()

            (only,) = examine(transport, device, SHORT_S)

    assert (only.check, only.verdict) == ("reachable", "fail")
    assert only.found.startswith(server.address)


@pytest.mark.parametrize("columns", ["60", "160"])
def test_no_path_is_cut_on_a_narrow_terminal(tmp_path: Path, columns: str) -> None:
    store = tmp_path / "a-folder-with-a-long-name-that-does-not-fit-into-one-column" / "edgekit"
    store.mkdir(parents=True)

    done = edgekit("doctor", "--target", "local", COLUMNS=columns, EDGEKIT_CACHE_DIR=str(store))

    assert max(map(len, done.stdout.splitlines())) <= int(columns)
    assert "…" not in done.stdout
    assert "thatdoesnotfit" in re.sub(r"[\s-]", "", done.stdout)


# --- edgekit doctor --record -----------------------------------------------------------------------------------------------------------


def test_what_a_device_tells_is_written_for_its_owner_to_send(tmp_path: Path) -> None:
    done = edgekit("doctor", "--target", "local", "--record", tmp_path / "sent", "--json")

    recorded = Path(done.json["recorded"])
    assert recorded.parent == tmp_path / "sent"
    assert list(recorded.parent.iterdir()) == [recorded]
    text = recorded.read_text(encoding="utf-8")
    assert len(done.stderr.splitlines()) == 1  # not all of it once more
    assert f"What it tells is in {recorded}. Serials, names and addresses are removed, the model and the system's build stay" in done.stderr
    assert "Nothing was sent" in done.stderr
    example = json.loads(text)
    assert reading("\n".join(example["output"])) == example["expected"]
    assert example["expected"]["identity"]["machine"] == os.uname().machine
    assert not any(line.startswith("hostname") and os.uname().nodename in line for line in example["output"])


def test_without_record_nothing_is_written(tmp_path: Path) -> None:
    done = edgekit("doctor", "--target", "local", "--json", cwd=tmp_path)

    assert done.json["recorded"] is None
    assert list(tmp_path.iterdir()) == []
