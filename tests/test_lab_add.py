"""`edgekit lab add`: what a device tells becomes its entry, in the lab file that is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit.cli.lab_add import command, words
from edgekit.conditions import Told
from edgekit.device import resolve
from edgekit.errors import InputError
from edgekit.lab_file import user_lab_file
from edgekit.verbs.lab_add import prepare
from tests.lab.cli import edgekit
from tests.lab.sshd import sshd

PHONE = {"model": "Pixel 7", "machine": "aarch64", "memory_kb": "7650516", "android_model": "Pixel 7", "android_soc": "GS201", "hostname": "localhost"}
BOARD = {"model": "Raspberry Pi 5 Model B Rev 1.0", "machine": "aarch64", "bits": "64", "memory_kb": "8245488", "hostname": "bench-pi.local"}


def told(identity: dict[str, str], python: str | None = None) -> Told:
    return Told(identity, {}, (0, 1, 2, 3), python, 20_000_000_000, True, 1795313670.0)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def test_a_phone_is_named_by_its_model_and_a_board_by_its_host_name() -> None:
    for address, identity, name, profile in (("adb:1A2B3C", PHONE, "pixel-7-2b3c", "pixel-7"), ("ssh:pi@bench", BOARD, "bench-pi", "raspberry-pi-5-8gb")):
        addition = prepare(address, told(identity))
        addition.write()
        assert addition.path == user_lab_file()
        device = resolve(address)
        assert device.profile is not None
        assert (device.name, device.address, device.profile.name) == (name, address, profile)


def test_phones_of_a_model_are_told_apart_by_their_serials_and_then_by_a_number() -> None:
    told_serial = PHONE | {"android_serial": "R5CT-10-9"}
    for address, identity, name in (
        ("adb:XY12AB", PHONE, "pixel-7-12ab"),
        ("adb:XY34CD@desk:5038", PHONE, "pixel-7-34cd"),
        ("adb:10.0.0.7:5555", told_serial, "pixel-7-t109"),
        ("adb:Z12AB", PHONE, "pixel-7-12ab-2"),
        ("adb:Q12AB", PHONE, "pixel-7-12ab-3"),
    ):
        addition = prepare(address, told(identity))
        addition.write()
        assert addition.name == name


def test_a_profiles_name_is_no_devices_unless_it_is_given() -> None:
    assert prepare("ssh:x", told({"hostname": "pixel-7"})).name == "pixel-7-2"
    assert prepare("adb:1A2B3C", told(PHONE), name="pixel-7").name == "pixel-7"


def test_the_users_words_count_more_than_the_devices() -> None:
    addition = prepare("adb:1A2B3C", told(PHONE), name="desk phone", profile="Raspberry Pi 5")
    addition.write()
    assert addition.toml == '[[device]]\nname = "desk phone"\naddress = "adb:1A2B3C"\nprofile = "raspberry-pi-5-8gb"\n'
    assert resolve("desk phone").address == "adb:1A2B3C"


def test_a_device_of_no_known_kind_is_written_without_a_profile() -> None:
    assert prepare("ssh:x", told({"hostname": "vm", "machine": "riscv64"})).toml == '[[device]]\nname = "vm"\naddress = "ssh:x"\n'


def test_what_cannot_be_added_is_refused_before_anything_is_written() -> None:
    Path("lab.toml").write_text('[[device]]\nname = "desk"\naddress = "adb:1A2B3C"\n')
    for address, name, profile, fault in (
        ("adb:4D5E6F", "desk", None, "there is a device 'desk' already"),
        ("adb:1A2B3C", "other", None, "in the lab already, as 'desk'"),
        ("adb:4D5E6F", "other", "pixel-8", "unknown profile 'pixel-8': did you mean 'pixel-7'?"),
        ("local:", "me", None, "this machine needs no entry"),
    ):
        with pytest.raises(InputError) as caught:
            prepare(address, told(PHONE), name=name, profile=profile)
        assert fault in str(caught.value)
    with pytest.raises(InputError, match="has no name: give one"):
        prepare("ssh:x", told({"machine": "aarch64"}))


def test_what_the_device_is_is_said_in_words() -> None:
    assert words(told(BOARD | {"os": "Debian", "emulation": "qemu-user"}, "3.11")) == [
        "Raspberry Pi 5 Model B Rev 1.0",
        "aarch64",
        "8.44 GB memory",
        "Debian",
        "Python 3.11",
        "20.00 GB free",
        "emulated: qemu-user",
    ]
    assert "no Python" in words(told(PHONE))


def test_the_command_asks_the_device_and_writes_nothing_for_this_machine() -> None:
    with pytest.raises(InputError, match="needs no entry"):
        command.main(["--target", "local", "--yes"], standalone_mode=False)
    assert os.listdir() == []
    assert not user_lab_file().exists()


@pytest.mark.lab
def test_a_computer_behind_a_genuine_sshd_is_asked_once_and_found_by_its_name() -> None:
    Path("lab.toml").write_text("# mine\n")
    with sshd() as server:
        work, config = Path.cwd(), str(server.config)
        unasked = edgekit("lab", "add", "shelf", "--target", server.address, cwd=work, EDGEKIT_SSH_CONFIG=config)
        assert (unasked.code, "give --yes" in unasked.stderr) == (2, True)
        assert Path("lab.toml").read_text() == "# mine\n"
        added = edgekit("lab", "add", "shelf", "--target", server.address, "--yes", cwd=work, EDGEKIT_SSH_CONFIG=config)
        assert added.code == 0, added.stderr
        assert "GB free" in added.stdout
        assert "written into" in added.stderr
        assert Path("lab.toml").read_text().startswith('# mine\n\n[[device]]\nname = "shelf"\n')
        drafted = edgekit("profile", "draft", "--target", "shelf", cwd=work, EDGEKIT_SSH_CONFIG=config)
        assert drafted.code == 0, drafted.stderr
        assert "told by the device on" in drafted.stdout
        server.kill()
        again = edgekit("lab", "add", "other", "--target", server.address, cwd=work, EDGEKIT_SSH_CONFIG=config)
        assert (again.code, "in the lab already, as 'shelf'" in again.stderr) == (2, True)
        Path("lab.toml").write_text("# mine\n")
        gone = edgekit("lab", "add", "other", "--target", server.address, cwd=work, EDGEKIT_SSH_CONFIG=config)
        assert gone.code == 5
        assert Path("lab.toml").read_text() == "# mine\n"
