"""Targets: what the user names resolves to exactly one device, or the error says what to name instead."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgekit.device import match_profile, resolve, targets
from edgekit.errors import InputError

PI = """
[[device]]
name = "bench-pi"
address = "ssh:pi@bench"
profile = "raspberry-pi-5-8gb"
python = "/usr/bin/python3.11"
threads = 2
"""

SECOND_PI = """
[[device]]
name = "shelf-pi"
address = "ssh:pi@shelf:2222"
profile = "rpi5"
"""


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("EDGEKIT_CONFIG_DIR", str(tmp_path / "config"))


def refusal(target: str) -> str:
    with pytest.raises(InputError) as caught:
        resolve(target)
    return str(caught.value)


@pytest.mark.parametrize("target", ["local", "local:"])
def test_local_is_this_machine(target: str) -> None:
    device = resolve(target)
    assert (device.name, device.address, device.python, device.threads) == ("local", "local:", sys.executable, None)
    assert device.profile is not None
    assert device.profile.name == "local"


@pytest.mark.parametrize("address", ["ssh:bench", "ssh:pi@bench", "ssh:pi@10.0.0.7:2222", "ssh:pi@[fe80::1]:22"])
def test_an_address_is_a_device_of_no_known_kind(address: str) -> None:
    device = resolve(address)
    assert (device.name, device.address, device.profile) == (address, address, None)


@pytest.mark.parametrize("address", ["ssh:", "ssh:pi@", "ssh:-oProxyCommand=x", "ssh:-x@bench", "ssh:bench:0", "ssh:bench:70000", "ssh:a b", "ssh:bench:x"])
def test_an_address_without_a_host_is_refused(address: str) -> None:
    assert "no host can be read" in refusal(address)


def test_adb_is_refused_as_not_supported() -> None:
    assert "ADB devices are not supported by this version" in refusal("adb:0123")


def test_a_lab_entry_is_found_by_name_by_profile_and_by_address() -> None:
    Path("lab.toml").write_text(PI, encoding="utf-8")
    device = resolve("bench-pi")
    assert (device.address, device.python, device.threads) == ("ssh:pi@bench", "/usr/bin/python3.11", 2)
    assert device.profile is not None
    assert device.profile.name == "raspberry-pi-5-8gb"
    assert resolve("pi5") == resolve("Raspberry Pi 5 8GB") == resolve("ssh:pi@bench") == device


def test_two_devices_of_a_profile_are_listed() -> None:
    Path("lab.toml").write_text(PI + SECOND_PI, encoding="utf-8")
    text = refusal("raspberry-pi-5")
    assert "bench-pi (ssh:pi@bench), shelf-pi (ssh:pi@shelf:2222)" in text


def test_a_profile_without_a_device_says_how_to_give_one() -> None:
    assert refusal("Pixel 7") == "'pixel-7' is a profile of devices that this version cannot reach: ADB devices are not supported by this version"
    text = refusal("Raspberry Pi 5")
    assert text.startswith("'raspberry-pi-5-8gb' is a profile, and no device of that kind is known: give an address (--target ssh:")
    assert "lab.toml" in text


def test_an_unknown_target_gets_the_nearest_name() -> None:
    Path("lab.toml").write_text(PI, encoding="utf-8")
    assert refusal("benchpi") == "unknown target 'benchpi': did you mean 'bench-pi'?"
    assert refusal("pixel-8") == "unknown target 'pixel-8': did you mean 'pixel-7'?"


def test_the_lab_file_here_comes_before_the_one_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config" / "lab.toml").write_text(PI + SECOND_PI, encoding="utf-8")
    assert resolve("bench-pi").address == "ssh:pi@bench"
    Path("lab.toml").write_text(PI.replace("pi@bench", "pi@here"), encoding="utf-8")
    assert resolve("bench-pi").address == "ssh:pi@here"
    assert resolve("shelf-pi").address == "ssh:pi@shelf:2222"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[device]", "is not TOML"),
        ("[[device]]\nname = 'x'", "device.0.address: Field required"),
        (PI + "colour = 'red'", "device.0.colour: Extra inputs are not permitted"),
        (PI + PI, "names two devices 'bench-pi'"),
        (PI.replace("raspberry-pi-5-8gb", "pixel-8"), "device 'bench-pi': unknown profile 'pixel-8': did you mean 'pixel-7'?"),
    ],
)
def test_a_wrong_lab_file_is_named_with_its_fault(text: str, fault: str) -> None:
    Path("lab.toml").write_text(text, encoding="utf-8")
    message = refusal("local")
    assert "lab.toml" in message
    assert fault in message


def test_a_lab_entry_with_a_scheme_nobody_knows_is_refused() -> None:
    Path("lab.toml").write_text(PI.replace("ssh:pi@bench", "telnet:bench"), encoding="utf-8")
    assert "'telnet:bench' is not an address" in refusal("bench-pi")


def test_what_a_device_tells_picks_its_profile() -> None:
    board = {"machine": "aarch64", "model": "Raspberry Pi 5 Model B Rev 1.1", "memory_kb": "8245632"}
    for identity, name in (
        (board, "raspberry-pi-5-8gb"),
        ({"machine": "aarch64", "model": "Raspberry Pi 4 Model B Rev 1.5", "memory_kb": "3884096"}, "raspberry-pi-4-4gb"),
        ({"machine": "x86_64", "hostname": "desk"}, "linux-x86_64"),
        ({"machine": "aarch64", "android_model": "Pixel 7", "android_soc": "GS201"}, "pixel-7"),
    ):
        profile = match_profile(identity)
        assert profile is not None
        assert profile.name == name
    assert match_profile(board | {"memory_kb": "16000000"}) is None
    assert match_profile({"machine": "riscv64"}) is None


def test_of_two_profiles_that_match_the_one_with_more_rules_wins() -> None:
    Path("device_profiles").mkdir()
    text = "name = 'my-desk'\ntitle = 'Mine'\nplatform = 'linux'\nformats = ['onnx']\n[match]\narch = 'x86_64'\nmodel_prefix = 'Desk'\n"
    Path("device_profiles/my-desk.toml").write_text(text, encoding="utf-8")
    profile = match_profile({"machine": "x86_64", "model": "Desk 3"})
    assert profile is not None
    assert profile.name == "my-desk"


def test_targets_lists_this_machine_the_lab_and_the_profiles() -> None:
    Path("lab.toml").write_text(PI, encoding="utf-8")
    lines = {line.name: line for line in targets()}
    assert list(lines)[:2] == ["local", "bench-pi"]
    assert (lines["bench-pi"].kind, lines["bench-pi"].profile) == ("device", "raspberry-pi-5-8gb")
    assert (lines["pixel-7"].kind, lines["pixel-7"].address) == ("profile", None)
    assert "iOS" in (lines["iphone-15"].untested or "")
    assert lines["linux-x86_64"].untested is None
