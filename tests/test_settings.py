"""What a run changes on a device is there while it runs and gone after it, also after a restart that came in between."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.conditions import Told
from edgekit.errors import DeviceError, InputError
from edgekit.settings import awake, governor
from edgekit.transport import Transport, connect
from tests.conftest import missing
from tests.lab.sshd import wait_until
from tests.test_conditions import command, told


@pytest.fixture
def device() -> Iterator[Transport]:
    with connect("local:") as transport:
        yield transport


# --- the governor ----------------------------------------------------------------------------------------------------------------------


def cpus(folder: Path, *words: str) -> list[Path]:
    """Processors with these governors, as /sys has them."""
    for number, word in enumerate(words):
        (folder / f"cpu{number}" / "cpufreq").mkdir(parents=True)
        (folder / f"cpu{number}" / "cpufreq" / "scaling_governor").write_text(f"{word}\n")
    (folder / "cpufreq").mkdir()
    return [folder / f"cpu{number}" / "cpufreq" / "scaling_governor" for number in range(len(words))]


def words(files: list[Path]) -> list[str]:
    return [file.read_text().strip() for file in files]


def test_each_processor_gets_its_former_governor_back(device: Transport, tmp_path: Path) -> None:
    files = cpus(tmp_path, "ondemand", "performance", "powersave")

    with governor(device, told("raspberry-pi-5-quiet"), "performance", str(tmp_path)):
        assert words(files) == ["performance"] * 3

    wait_until(lambda: words(files) == ["ondemand", "performance", "powersave"])


def test_a_governor_that_is_set_already_is_left_alone(device: Transport, tmp_path: Path) -> None:
    with governor(device, told("raspberry-pi-5-quiet"), "ondemand", str(tmp_path / "nowhere")):
        pass


def test_without_rights_nothing_stays_changed_and_the_cure_is_named(device: Transport, tmp_path: Path) -> None:
    files = cpus(tmp_path, "ondemand", "ondemand")
    files[1].unlink()
    files[1].symlink_to("/proc/sys/kernel/ostype")  # not even root may write it

    with pytest.raises(DeviceError, match=r"local: its governor cannot be set to performance \(.*cannot be written\): allow it there .`sudo chmod a\+w"):
        governor(device, told("raspberry-pi-5-quiet"), "performance", str(tmp_path))

    assert words(files[:1]) == ["ondemand"]


def test_a_governor_that_is_not_offered_is_said_before_the_rights_to_set_it(device: Transport, tmp_path: Path) -> None:
    files = cpus(tmp_path, "ondemand", "ondemand")
    files[1].unlink()
    files[1].symlink_to("/proc/sys/kernel/ostype")  # not even root may write it
    (tmp_path / "cpu1" / "cpufreq" / "scaling_available_governors").write_text("ondemand performance\n")

    with pytest.raises(DeviceError, match=r"^local: there is no frequency governor warp there, it offers ondemand performance: name one of these$"):
        governor(device, told("raspberry-pi-5-quiet"), "warp", str(tmp_path))
    with pytest.raises(DeviceError, match="cannot be written"):
        governor(device, told("raspberry-pi-5-quiet"), "performance", str(tmp_path))

    assert words(files[:1]) == ["ondemand"]


def test_a_governor_that_the_kernel_refuses_is_called_so(device: Transport, tmp_path: Path) -> None:
    (file,) = cpus(tmp_path, "ondemand")
    file.unlink()
    file.symlink_to("/proc/self/oom_score_adj")  # everybody may write it, and it takes numbers only

    with pytest.raises(DeviceError, match=r"cannot be set to turbo \(the kernel refuses it\)"):
        governor(device, told("raspberry-pi-5-quiet"), "turbo", str(tmp_path))


def test_what_is_no_governor_is_refused_before_anything_is_asked(device: Transport) -> None:
    with pytest.raises(InputError, match="is no frequency governor"):
        governor(device, told("raspberry-pi-5-quiet"), "performance; reboot")
    with pytest.raises(DeviceError, match="it tells no frequency governor"):
        governor(device, told("virtual-machine"), "performance")


# --- the screen ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["dash", "mksh"])
def phone(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a phone's settings, as files, and what its keys were: its `settings` and `input` are on PATH, its `sh` is that shell."""
    shell = shutil.which(request.param)
    if shell is None:
        missing(request.param, f"sudo apt-get install {request.param}")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sh").symlink_to(str(shell))
    there = tmp_path / "phone"
    there.mkdir()
    cases = 'get) cat "$2.$3" 2>/dev/null || echo null ;; put) echo "$4" >"$2.$3" ;; delete) rm -f "$2.$3"; echo "Deleted 1 rows" ;;'
    command(
        programs, "settings", f"cd {there} || exit\n[ ! -e broken ] || {{ echo 'cmd: Failure calling service settings'; exit 1; }}\ncase $1 in {cases} esac"
    )
    command(programs, "input", f'echo "$*" >>{there}/keys')
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return there


def settings(phone: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in phone.iterdir() if path.name != "keys"}


def dark() -> Told:
    return told("pixel-7-severe-and-dark")


def test_the_screen_is_on_while_it_is_held_and_then_as_it_was(device: Transport, phone: Path, tmp_path: Path) -> None:
    (phone / "system.screen_off_timeout").write_text("30000\n")

    with awake(device, dark(), str(tmp_path / "note")):
        assert settings(phone) == {"system.screen_off_timeout": "1800000", "global.stay_on_while_plugged_in": "15"}
        assert (phone / "keys").read_text() == "keyevent KEYCODE_WAKEUP\n"

    wait_until(lambda: (phone / "keys").read_text() == "keyevent KEYCODE_WAKEUP\nkeyevent KEYCODE_SLEEP\n")
    assert settings(phone) == {"system.screen_off_timeout": "30000"}
    assert not (tmp_path / "note").exists()


def test_a_screen_that_was_on_stays_on(device: Transport, phone: Path, tmp_path: Path) -> None:
    with awake(device, told("pixel-7-awake"), str(tmp_path / "note")):
        pass

    wait_until(lambda: not (tmp_path / "note").exists())
    assert "SLEEP" not in (phone / "keys").read_text()


def test_after_a_restart_in_between_the_settings_of_before_come_back(device: Transport, phone: Path, tmp_path: Path) -> None:
    (phone / "global.stay_on_while_plugged_in").write_text("15\n")
    (phone / "system.screen_off_timeout").write_text("1800000\n")
    (tmp_path / "note").write_text("3 60000\n")

    with awake(device, dark(), str(tmp_path / "note")):
        pass

    wait_until(lambda: settings(phone) == {"global.stay_on_while_plugged_in": "3", "system.screen_off_timeout": "60000"})


def test_a_note_that_was_not_written_to_its_end_is_not_believed(device: Transport, phone: Path, tmp_path: Path) -> None:
    (phone / "global.stay_on_while_plugged_in").write_text("7\n")
    (phone / "system.screen_off_timeout").write_text("60000\n")
    (tmp_path / "note").write_text("7 ")

    with awake(device, dark(), str(tmp_path / "note")):
        pass

    wait_until(lambda: settings(phone) == {"global.stay_on_while_plugged_in": "7", "system.screen_off_timeout": "60000"})


def test_a_phone_that_does_not_tell_its_settings_is_left_alone(device: Transport, phone: Path, tmp_path: Path) -> None:
    (phone / "broken").touch()

    with pytest.raises(DeviceError, match=r"its screen cannot be kept on \(its settings cannot be read\): allow it in its developer options"):
        awake(device, dark(), str(tmp_path / "note"))

    assert not (tmp_path / "note").exists()


def test_a_device_without_a_screen_needs_none(device: Transport) -> None:
    for name in ("raspberry-pi-5-quiet", "android-without-services"):
        with awake(device, told(name), "/nowhere/note"):
            pass
