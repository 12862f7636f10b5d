"""`edgekit targets`: everything that --target takes, and nothing is started or connected to for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.cli import run
from edgekit.lab_file import virtual_lab_file
from edgekit.verbs.targets import targets
from tests.fake_adb import FakeAdb, fake_adb, no_adb

LAB = """
[[device]]
name = "bench-pi"
address = "ssh:pi@bench"
profile = "raspberry-pi-5-8gb"

[[device]]
name = "desk-phone"
address = "adb:1A2B3C"
"""


@pytest.fixture(autouse=True)
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAdb]:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with fake_adb(tmp_path / "adb", monkeypatch) as made:
        yield made


def test_this_machine_the_lab_what_is_attached_and_the_profiles_are_listed_in_that_order(adb: FakeAdb) -> None:
    Path("lab.toml").write_text(LAB)
    adb.attach("1A2B3C", model="Pixel 7", soc="GS201")
    adb.attach("4D5E6F", model="Pixel 7", soc="GS201")
    adb.attach("R5CT10", model="SM-G991B", soc="Exynos 2100")
    adb.attach("SLEEPY", state="unauthorized")
    lines = {line.name: line for line in targets().targets}
    assert list(lines)[:6] == ["local", "bench-pi", "desk-phone", "adb:4D5E6F", "adb:R5CT10", "adb:SLEEPY"]
    assert (lines["bench-pi"].kind, lines["bench-pi"].profile, lines["bench-pi"].state) == ("device", "raspberry-pi-5-8gb", None)
    assert (lines["desk-phone"].kind, lines["desk-phone"].profile, lines["desk-phone"].state) == ("device", "pixel-7", "device")
    assert (lines["adb:4D5E6F"].kind, lines["adb:4D5E6F"].profile, lines["adb:4D5E6F"].title) == ("attached", "pixel-7", "Pixel 7 (GS201)")
    assert lines["adb:R5CT10"].cure == "has no profile: edgekit profile draft --target adb:R5CT10"
    assert "accept the dialog" in (lines["adb:SLEEPY"].cure or "")
    assert (lines["pixel-7"].kind, lines["pixel-7"].address, lines["pixel-7"].untested) == ("profile", None, "not run on a real phone yet")
    assert "iPhones cannot be reached" in (lines["iphone-15"].untested or "")
    assert lines["linux-x86_64"].untested is None


def test_virtual_devices_are_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    rule = "a profile's name means a virtual device only where no other device, named or attached, is of that kind"
    assert run(["targets"], debug=False) == 0
    assert rule not in capsys.readouterr().out
    virtual_lab_file().parent.mkdir(parents=True)
    virtual_lab_file().write_text(LAB.replace("bench-pi", "virtual-pi"))
    lines = {line.name: line.title for line in targets().targets}
    assert lines["virtual-pi"] == "Raspberry Pi 5, 8 GB, virtual"
    assert run(["targets"], debug=False) == 0
    assert rule in capsys.readouterr().out


def test_a_device_may_be_named_as_its_kind() -> None:
    Path("lab.toml").write_text(LAB.replace("desk-phone", "pixel-7"))
    assert [line.kind for line in targets().targets if line.name == "pixel-7"] == ["device", "profile"]
    assert [line.kind for line in targets().targets if line.name == "local"] == ["device"]


def test_a_device_that_does_not_answer_says_so(adb: FakeAdb) -> None:
    adb.attach("MUTE", model="Pixel 7", silent=True)
    (line,) = (line for line in targets().targets if line.kind == "attached")
    assert (line.profile, line.title, line.cure) == (None, "Pixel 7", "does not tell what it is: unlock it or restart it, and repeat the command")


def test_adbs_server_is_not_started(adb: FakeAdb, monkeypatch: pytest.MonkeyPatch) -> None:
    adb.attach("1A2B3C", model="Pixel 7", soc="GS201")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    assert not [target for target in targets().targets if target.kind == "attached"]
    assert [words for words in adb.asked if words != "version"] == []


def test_json_has_everything(adb: FakeAdb, capsys: pytest.CaptureFixture[str]) -> None:
    adb.attach("1A2B3C", model="Pixel 7", soc="GS201")
    assert run(["targets", "--json"], debug=False) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["schema"], body["adb"]) == ("edgekit.targets/1", None)
    phone = next(target for target in body["targets"] if target["name"] == "adb:1A2B3C")
    assert (phone["kind"], phone["profile"], phone["state"]) == ("attached", "pixel-7", "device")


def printed(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    from edgekit.cli import say

    monkeypatch.setattr(say.out, "width", columns)
    assert run(["targets"], debug=False) == 0
    return capsys.readouterr().out


def test_a_person_reads_states_cures_and_what_is_untested(adb: FakeAdb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    adb.attach("1A2B3C", model="Pixel 7", soc="GS201")
    adb.attach("R5CT10", model="SM-G991B", soc="Exynos 2100")
    adb.attach("SLEEPY", state="offline")
    adb.attach("phone:5555", state="offline")  # rich takes `:phone:` for an emoji
    for columns in (60, 200):
        text = printed(columns, monkeypatch, capsys)
        assert "adb:R5CT10 has no profile: edgekit profile draft --target adb:R5CT10" in text
        assert "adb:SLEEPY is attached, but does not answer adb" in text
        assert text.count("adb:phone:5555") == 2
        assert "raspberry-pi-5-8gb" in text
        assert "untested on hardware" in text
        assert "not run on a real phone yet" in text
        assert "not listed" not in text
    assert max(len(line) for line in printed(200, monkeypatch, capsys).splitlines()) <= 200


def test_without_adb_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    no_adb(tmp_path / "bin", monkeypatch)
    text = printed(200, monkeypatch, capsys)
    assert [line for line in text.splitlines() if "adb" in line] == [
        line for line in text.splitlines() if line.startswith("attached devices are not listed: adb is ")
    ]
    assert "adb is not installed" in text
