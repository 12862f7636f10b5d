"""Attached devices over the genuine adb and adbd: they are asked what they are, found by their profile, and written into the lab."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.attached import phones
from edgekit.cli import run
from edgekit.device import resolve
from tests.lab.adb import Device, adb_server, genuine

pytestmark = pytest.mark.lab

# Android's own prints one property where it is given a name, and all as `[name]: [value]` where it is not.
GETPROP = """#!/bin/sh
case $1 in
    '') printf '[%s]: [%s]\\n' ro.product.model 'Pixel 7' ro.soc.model GS201 ro.build.version.release 13 ;;
    ro.product.model) echo 'Pixel 7' ;;
    ro.soc.model) echo GS201 ;;
    ro.build.version.release) echo 13 ;;
    *) echo ;;
esac
"""


@pytest.fixture
def pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """A genuine adbd whose shell has a `getprop` that tells of a Pixel 7."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "getprop").write_text(GETPROP)
    (tmp_path / "bin" / "getprop").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with adb_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with genuine(server) as device:
            yield device


def test_an_attached_phone_is_found_by_all_its_names_and_listed(pixel: Device, capsys: pytest.CaptureFixture[str]) -> None:
    (phone,) = phones(start_server=False)
    assert (phone.address, phone.model, phone.soc, phone.ready) == (pixel.address, "Pixel 7", "GS201", True)
    for target in ("pixel7", "Pixel 7", pixel.serial, pixel.address):
        assert resolve(target).address == pixel.address
    assert run(["targets", "--json"], debug=False) == 0
    listed = {target["name"]: target for target in json.loads(capsys.readouterr().out)["targets"]}
    assert (listed[pixel.address]["profile"], listed[pixel.address]["state"]) == ("pixel-7", "device")


def test_an_attached_phone_is_written_into_the_lab_and_drafted(pixel: Device, capsys: pytest.CaptureFixture[str]) -> None:
    Path("lab.toml").write_text("# my lab\n")
    assert run(["lab", "add", "--target", "pixel7", "--json"], debug=False) == 2  # nobody has agreed
    assert "give --yes" in capsys.readouterr().err
    assert Path("lab.toml").read_text() == "# my lab\n"
    assert run(["lab", "add", "--target", "pixel7", "--json", "--yes"], debug=False) == 0
    added = json.loads(capsys.readouterr().out)["device"]
    assert (added["address"], added["profile"]) == (pixel.address, "pixel-7")
    assert resolve(added["name"]).address == pixel.address
    assert added["name"].startswith("pixel-7-")
    assert Path("lab.toml").read_text().startswith("# my lab\n\n[[device]]")
    assert resolve("pixel-7").address == pixel.address
    assert run(["profile", "draft", "--target", "pixel-7", "-o", "mine.toml", "--json"], debug=False) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["matched"] == "pixel-7"
    assert body["profile"]["match"] == {"android_model": "Pixel 7", "android_soc": "GS201"}
