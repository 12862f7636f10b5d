"""Targets: what the user names resolves to exactly one device, or the error says what to name instead."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.device import match_profile, resolve
from edgekit.errors import InputError
from edgekit.lab_file import virtual_lab_file
from tests.fake_adb import FakeAdb, fake_adb, no_adb

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


PHONE = """
[[device]]
name = "desk-phone"
address = "adb:1A2B3C"
"""


@pytest.fixture(autouse=True)
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAdb]:
    """An empty folder to work in, and nothing attached."""
    (tmp_path / "work").mkdir()
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("EDGEKIT_CONFIG_DIR", str(tmp_path / "config"))
    with fake_adb(tmp_path / "adb", monkeypatch) as made:
        yield made


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


@pytest.mark.parametrize(
    "address", ["adb:", "adb:1A2B3C", "adb:127.0.0.1:5599", "adb:adb-1A2B-xyz._adb-tls-connect._tcp", "adb:1A2B3C@bench:5038", "adb:@bench"]
)
def test_an_adb_address_is_taken_without_asking_adb(address: str, adb: FakeAdb) -> None:
    device = resolve(address)
    assert (device.name, device.address, device.profile) == (address, address, None)
    assert adb.asked == []


@pytest.mark.parametrize("address", ["adb:-s", "adb:a@b@c", "adb:1A2B@-x"])
def test_an_adb_address_without_a_serial_is_refused(address: str) -> None:
    assert "no serial can be read" in refusal(address)


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
    text = refusal("Raspberry Pi 5")
    assert text.startswith("'raspberry-pi-5-8gb' is a profile, and no device of that kind is known: give an address (--target ssh:")
    assert "edgekit lab add" in text
    assert "iPhones cannot be reached by this version" in refusal("iPhone 15")


@pytest.mark.parametrize("target", ["pixel7", "pixel-7", "Pixel 7", "panther"])
def test_a_phones_profile_finds_the_attached_one(target: str, adb: FakeAdb) -> None:
    adb.attach("1A2B3C", model="Pixel 7", soc="GS201")
    adb.attach("R5CT10", model="SM-G991B", soc="Exynos 2100")
    device = resolve(target)
    assert (device.name, device.address) == ("adb:1A2B3C", "adb:1A2B3C")
    assert device.profile is not None
    assert device.profile.name == "pixel-7"


def test_a_model_of_that_name_with_another_processor_is_not_it(adb: FakeAdb) -> None:
    adb.attach("1A2B3C", model="Pixel 7", soc="ranchu")
    text = refusal("pixel7")
    assert "adb:1A2B3C is Pixel 7 (ranchu); the profile asks for Pixel 7 (GS201); attach one" in text


def test_two_attached_of_a_profile_are_listed_with_what_to_type(adb: FakeAdb) -> None:
    adb.attach("1A2B3C", model="Pixel 7", soc="GS201")
    adb.attach("4D5E6F", model="Pixel 7", soc="GS201")
    assert refusal("pixel7").endswith("2 devices of that kind are known: name one of adb:1A2B3C, adb:4D5E6F")


def test_a_device_that_the_lab_names_counts_once(adb: FakeAdb) -> None:
    adb.attach("1A2B3C", model="Pixel 7", soc="GS201")
    Path("lab.toml").write_text(PHONE + "profile = 'pixel-7'", encoding="utf-8")
    assert resolve("pixel7").name == "desk-phone"
    Path("lab.toml").write_text(PHONE, encoding="utf-8")
    device = resolve("pixel7")
    assert device.profile is not None
    assert (device.name, device.profile.name) == ("desk-phone", "pixel-7")
    assert resolve("1A2B3C").name == "desk-phone"
    adb.attach("4D5E6F", model="Pixel 7", soc="GS201")
    assert refusal("pixel7").endswith("name one of desk-phone (adb:1A2B3C), adb:4D5E6F")


def test_a_lab_entry_for_the_only_device_stands_for_the_attached_one(adb: FakeAdb) -> None:
    adb.attach("1A2B3C", model="Pixel 7", soc="GS201")
    Path("lab.toml").write_text(PHONE.replace("adb:1A2B3C", "adb:") + "profile = 'pixel-7'", encoding="utf-8")
    assert resolve("pixel7").address == "adb:"


def test_no_device_of_a_phones_profile_says_what_is_attached_and_why_it_is_not_it(adb: FakeAdb) -> None:
    assert "none is attached; attach one with USB debugging on" in refusal("pixel7")
    adb.attach("R5CT10", model="SM-G991B", soc="Exynos 2100")
    adb.attach("UNKNOWN1", state="unauthorized")
    adb.attach("SLEEPY", state="offline", model="Pixel 7")
    adb.attach("OTHER", state="offline", model="Pixel 6a")
    text = refusal("pixel7")
    assert "adb:UNKNOWN1 has not allowed this computer: unlock it" in text
    assert "adb:SLEEPY (Pixel 7) is attached, but does not answer adb: unplug it" in text
    assert text.index("adb:UNKNOWN1") < text.index("adb:SLEEPY") < text.index("adb:R5CT10 is SM-G991B (Exynos 2100)") < text.index("adb:OTHER")
    assert "--target adb:SERIAL" in text


def test_a_device_that_does_not_answer_is_not_taken_for_one(adb: FakeAdb) -> None:
    adb.attach("MUTE", model="Pixel 7", silent=True)
    assert "adb:MUTE (Pixel 7) does not tell what it is: unlock it or restart it" in refusal("pixel7")


@pytest.mark.slow
def test_a_server_that_has_just_been_started_is_given_time_to_find_its_devices(adb: FakeAdb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    threading.Timer(1.0, adb.attach, ("1A2B3C", "device", "Pixel 7", "GS201")).start()
    assert resolve("pixel7").address == "adb:1A2B3C"


def test_without_adb_a_phones_profile_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_adb(tmp_path / "bin", monkeypatch)
    assert "adb is not installed: install Android's platform-tools" in refusal("pixel7")
    assert refusal("1A2B3C").startswith("unknown target '1A2B3C': known are ")
    Path("lab.toml").write_text(PHONE + "profile = 'pixel-7'", encoding="utf-8")
    assert resolve("pixel7").name == "desk-phone"


def test_a_bare_serial_is_a_device_whatever_its_state(adb: FakeAdb) -> None:
    adb.attach("1A2B3C", model="Pixel 7", soc="GS201")
    adb.attach("192.168.0.7:5555", state="unauthorized")
    assert resolve("1A2B3C").address == "adb:1A2B3C"
    assert resolve("192.168.0.7:5555").address == "adb:192.168.0.7:5555"
    assert "did you mean 'adb:1A2B3C'?" in refusal("1A2B3D")


def test_a_phone_without_a_profile_is_found_by_its_model(adb: FakeAdb) -> None:
    adb.attach("R5CT10", model="Pixel 8a", soc="Tensor G3")
    adb.attach("NONE", state="unauthorized")
    assert resolve("pixel8a").address == resolve("Pixel 8a").address == "adb:R5CT10"
    assert "unknown target '-'" in refusal("-")
    adb.attach("R5CT11", model="Pixel 8a", soc="Tensor G3")
    assert refusal("pixel-8a") == "2 attached devices are called 'pixel-8a': name one of adb:R5CT10, adb:R5CT11"


def test_adb_is_not_asked_about_what_is_no_phone(adb: FakeAdb) -> None:
    Path("lab.toml").write_text(PI + PHONE, encoding="utf-8")
    for target in ("local", "bench-pi", "pi5", "desk-phone", "ssh:pi@bench", "adb:1A2B3C"):
        resolve(target)
    refusal("raspberry-pi-4")
    assert adb.asked == []


def test_virtual_devices_are_found_by_name_and_by_profile_only_where_no_others_are(adb: FakeAdb) -> None:
    assert refusal("virtual-pi") == "'virtual-pi' is not up: run `edgekit lab virtual up`"
    virtual_lab_file().parent.mkdir(parents=True)
    text = PI.replace("bench-pi", "virtual-pi").replace("pi@bench", "pi@127.0.0.1:2200")
    phone = PHONE.replace("desk-phone", "virtual-android").replace("1A2B3C", "127.0.0.1:5599") + "profile = 'pixel-7'"
    virtual_lab_file().write_text(text + phone, encoding="utf-8")
    adb.attach("127.0.0.1:5599", model="Pixel 7", soc="GS201")
    assert resolve("virtual-pi").address == "ssh:pi@127.0.0.1:2200"
    assert resolve("virtual-android").address == "adb:127.0.0.1:5599"
    assert resolve("pi5").name == "virtual-pi"
    assert resolve("pixel7").name == "virtual-android"
    Path("lab.toml").write_text(PI, encoding="utf-8")
    adb.attach("1A2B3C", model="Pixel 7", soc="GS201")
    assert resolve("pi5").name == "bench-pi"
    assert resolve("pixel7").name == "adb:1A2B3C"


def test_an_unknown_target_gets_the_nearest_name() -> None:
    Path("lab.toml").write_text(PI, encoding="utf-8")
    assert refusal("benchpi") == "unknown target 'benchpi': did you mean 'bench-pi'?"
    assert refusal("pixel-8") == "unknown target 'pixel-8': did you mean 'pixel-7'?"


def test_a_slip_of_the_pen_starts_no_adb_server(adb: FakeAdb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    refusal("pixel-8")
    assert adb.asked == []


def test_the_lab_file_here_comes_before_the_one_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config" / "lab.toml").write_text(PI + SECOND_PI, encoding="utf-8")
    assert resolve("bench-pi").address == "ssh:pi@bench"
    Path("lab.toml").write_text(PI.replace("pi@bench", "pi@here"), encoding="utf-8")
    assert resolve("bench-pi").address == "ssh:pi@here"
    assert resolve("shelf-pi").address == "ssh:pi@shelf:2222"


def test_a_lab_entry_with_a_scheme_nobody_knows_is_refused() -> None:
    Path("lab.toml").write_text(PI.replace("ssh:pi@bench", "telnet:bench"), encoding="utf-8")
    assert "'telnet:bench' is not an address" in refusal("bench-pi")


def test_what_a_device_tells_picks_its_profile() -> None:
    board = {"machine": "aarch64", "bits": "64", "model": "Raspberry Pi 5 Model B Rev 1.1", "memory_kb": "8245632"}
    zero = {"model": "Raspberry Pi Zero 2 W Rev 1.0", "memory_kb": "486084"}
    for identity, name in (
        (board, "raspberry-pi-5-8gb"),
        ({"machine": "aarch64", "bits": "64", "model": "Raspberry Pi 4 Model B Rev 1.5", "memory_kb": "3884096"}, "raspberry-pi-4-4gb"),
        (zero | {"machine": "armv7l", "bits": "32"}, "raspberry-pi-zero-2-w-32bit"),
        (zero | {"machine": "aarch64", "bits": "64"}, "raspberry-pi-zero-2-w"),
        ({"machine": "x86_64", "hostname": "desk"}, "linux-x86_64"),
        ({"machine": "arm64", "bits": "64", "model": "Mac14,2", "os": "macOS 14.5 (23F79)"}, "macos-arm64"),
        ({"machine": "aarch64", "android_model": "Pixel 7", "android_soc": "GS201"}, "pixel-7"),
    ):
        profile = match_profile(identity)
        assert profile is not None
        assert profile.name == name
    assert match_profile(board | {"memory_kb": "16000000"}) is None
    assert match_profile(board | {"bits": "32"}) is None
    assert match_profile({"machine": "riscv64"}) is None
    assert match_profile({"machine": "x86_64", "android_model": "sdk_gphone64_x86_64", "android_soc": "ranchu"}) is None
    assert match_profile({"machine": "x86_64", "os": "macOS 14.5 (23F79)"}) is None


def test_of_two_profiles_that_match_the_one_with_more_rules_wins() -> None:
    Path("device_profiles").mkdir()
    text = "name = 'my-desk'\ntitle = 'Mine'\nplatform = 'linux'\nformats = ['onnx']\n[match]\narch = 'x86_64'\nmodel_prefix = 'Desk'\n"
    Path("device_profiles/my-desk.toml").write_text(text, encoding="utf-8")
    profile = match_profile({"machine": "x86_64", "model": "Desk 3"})
    assert profile is not None
    assert profile.name == "my-desk"
