"""`edgekit profile draft` and `show`: a draft loads, matches the device it was drafted from, and names where each word is from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from edgekit.cli import run
from edgekit.cli.profile import already
from edgekit.errors import InputError
from edgekit.profile import Profile, load, match_profile, profiles, read
from edgekit.verbs.profile import draft

DAY = date(2026, 11, 22)

# Raspberry Pi documentation (device tree, /proc), a Pi 5 with 8 GB.
PI = {
    "hostname": "raspberrypi",
    "model": "Raspberry Pi 5 Model B Rev 1.0",
    "processor": "implementer 0x41 part 0xd0b",
    "machine": "aarch64",
    "bits": "64",
    "cores": "4",
    "memory_kb": "8245488",
    "kernel": "6.12.25+rpt-rpi-2712",
    "os": "Debian GNU/Linux 12 (bookworm)",
    "libc": "glibc 2.36",
}
# A 32-bit system under a 64-bit kernel (config.txt: arm_64bit is 1 on a Pi 4 unless set).
PI_32 = PI | {"model": "Raspberry Pi 4 Model B Rev 1.1", "bits": "32", "memory_kb": "1894184", "os": "Raspbian GNU/Linux 12 (bookworm)"}
PIXEL = {
    "model": "Pixel 7",
    "machine": "aarch64",
    "bits": "64",
    "cores": "8",
    "memory_kb": "7650516",
    "kernel": "5.10.157-android13-4",
    "android_model": "Pixel 7",
    "android_soc": "GS201",
    "android_release": "13",
    "android_serial": "1A2B3C",
}
OLD_PHONE = {
    "machine": "armv8l",
    "bits": "32",
    "memory_kb": "2846532",
    "android_model": "Moto G (5)",
    "android_release": "8.1.0",
}  # no ro.soc.model before Android 12
MAC = {
    "hostname": "studio",
    "model": "Mac14,2",
    "processor": "Apple M2",
    "machine": "arm64",
    "bits": "64",
    "cores": "8",
    "memory_kb": "8388608",
    "os": "macOS 14.5 (23F79)",
}
LAPTOP = {
    "hostname": "desk",
    "product": "LENOVO 20XW",
    "processor": "11th Gen Intel(R) Core(TM) i7",
    "machine": "x86_64",
    "bits": "64",
    "cores": "8",
    "memory_kb": "32000000",
}
VM = {"hostname": "vm", "machine": "riscv64", "bits": "64"}
TOLD = {"pi": PI, "pi-32": PI_32, "pixel": PIXEL, "old-phone": OLD_PHONE, "mac": MAC, "laptop": LAPTOP, "vm": VM}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def written(identity: Mapping[str, str], name: str = "drafted") -> Profile:
    """The draft as it is read again from the user's own profiles."""
    folder = Path("device_profiles")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text(draft(identity, name=name, on=DAY).toml, encoding="utf-8")
    return read(folder / f"{name}.toml")


@pytest.mark.parametrize("identity", TOLD.values(), ids=TOLD)
def test_a_draft_loads_and_matches_the_device(identity: dict[str, str]) -> None:
    profile = written(identity)
    assert profile.match.holds(identity)
    assert "drafted from one device on 2026-11-22" in (profile.untested or "")
    matched = match_profile(identity)
    assert matched is not None
    assert identity in (PIXEL, MAC) or matched.name == "drafted"
    for fact in profile.facts.model_dump(exclude_none=True).values():
        assert fact["source"].startswith("told by the device on 2026-11-22: ")


@pytest.mark.parametrize(
    ("which", "name", "title", "platform", "formats"),
    [
        ("pi", "raspberry-pi-5-model-b-8gb", "Raspberry Pi 5 Model B, 8 GB", "linux", ("tflite", "onnx")),
        ("pi-32", "raspberry-pi-4-model-b-2gb", "Raspberry Pi 4 Model B, 2 GB", "linux", ("tflite",)),
        ("pixel", "pixel-7-own", "Pixel 7", "android", ("tflite", "onnx")),
        ("old-phone", "moto-g-5", "Moto G (5)", "android", ("tflite",)),
        ("mac", "mac14-2", "Mac14,2", "macos", ("coreml", "tflite", "onnx")),
        ("laptop", "lenovo-20xw", "LENOVO 20XW", "linux", ("tflite", "onnx")),
        ("vm", "linux-riscv64", "Linux riscv64", "linux", ("tflite", "onnx")),
    ],
)
def test_the_kind_is_named_by_what_the_device_tells(which: str, name: str, title: str, platform: str, formats: tuple[str, ...]) -> None:
    profile = draft(TOLD[which], on=DAY).profile
    assert (profile.name, profile.title, profile.platform, profile.formats) == (name, title, platform, formats)


def test_facts_are_the_devices_words_with_where_they_were_read() -> None:
    pixel, pi, mac = (written(identity).facts.model_dump(exclude_none=True) for identity in (PIXEL, PI, MAC))
    assert pixel["soc"] == {"value": "GS201", "source": "told by the device on 2026-11-22: getprop ro.soc.model"}
    assert pixel["os"]["value"] == "Android 13"
    assert pi["ram_bytes"]["value"] == 8245488 * 1024
    assert "MemTotal" in pi["ram_bytes"]["source"]
    assert set(pi) == {"cpu", "cores", "ram_bytes", "arch", "os"}
    assert mac["soc"]["value"] == "Apple M2"
    assert "sysctl" in mac["ram_bytes"]["source"]


def test_a_board_with_another_memory_is_another_kind() -> None:
    assert draft(PI | {"memory_kb": "8388608"}, on=DAY).profile.title.endswith(", 8 GB")
    assert draft(PI | {"memory_kb": "486084"}, on=DAY).profile.title.endswith(", 512 MB")
    assert draft(PI | {"memory_kb": "5900000"}, on=DAY).profile.title.endswith(", 6 GB")
    match = written(PI).match
    for kb, holds in (("8245632", True), ("8388608", True), ("4136448", False), ("16508336", False)):
        assert match.holds(PI | {"memory_kb": kb}) == holds, kb
    assert match.holds(PI | {"model": "Raspberry Pi 5 Model B Rev 1.1"})
    assert not match.holds(PI | {"bits": "32"})


def test_limits_are_those_of_the_profiles_that_ship_in_the_same_words() -> None:
    assert written(PIXEL).limits == load("pixel-7").limits
    assert written(PI).limits == load("raspberry-pi-5-8gb").limits
    assert written(MAC).limits == load("macos-arm64").limits == written(LAPTOP).limits


@pytest.mark.parametrize(("kb", "limit"), [("24690000", 1_500_000_000), ("5700000", 375_000_000), ("11500000", 750_000_000)])
def test_a_share_of_the_memory_is_that_share_of_what_is_sold(kb: str, limit: int) -> None:
    most = written(PIXEL | {"memory_kb": kb}).limits.peak_rss_bytes_max
    assert most is not None
    assert (most.value, "a sixteenth of the phone's memory" in most.source) == (limit, True)
    assert written(PI | {"model": "Raspberry Pi Zero 2 W Rev 1.0", "memory_kb": "430000"}, "zero").limits == load("raspberry-pi-zero-2-w").limits


def test_the_name_of_a_profile_that_is_there_is_not_proposed() -> None:
    assert draft(PIXEL, on=DAY).profile.name == "pixel-7-own"
    written(PIXEL, "pixel-7-own")
    assert draft(PIXEL, on=DAY).profile.name == "pixel-7-own-2"
    assert draft(PIXEL, name="pixel-7", on=DAY).profile.name == "pixel-7"  # who says so gets it


def test_that_there_is_a_profile_already_is_said() -> None:
    shipped = load("pixel-7")
    assert already(shipped, draft(PIXEL, on=DAY).profile).endswith(
        "the profile pixel-7 already (`edgekit profile show pixel-7`): none is needed for it, and in ./device_profiles this one would be taken before it"
    )
    assert already(shipped, shipped).endswith("and this one would hide it")
    assert already(load("raspberry-pi-5-8gb"), draft(VM, on=DAY).profile).endswith("none is needed for it")


def test_hostile_words_cannot_break_the_toml() -> None:
    mean = 'Pixel"\\ 7 [limits] ünï {x}'
    profile = written({"android_model": mean, "machine": 'x"\n[limits]', "cores": "-3", "memory_kb": "9" * 40})
    assert profile.match.android_model == mean
    assert (profile.facts.cores, profile.facts.ram_bytes) == (None, None)
    with pytest.raises(InputError, match="cannot be printed"):
        draft({"android_model": "Pixel\x007"}, on=DAY)


def test_a_device_that_tells_nothing_of_its_kind_is_refused() -> None:
    with pytest.raises(InputError, match="write one by hand"):
        draft({"hostname": "x"}, on=DAY)


def test_an_emulated_device_is_called_so() -> None:
    assert "an emulated device" in (written(PI | {"emulation": "qemu-user"}).untested or "")


@pytest.mark.parametrize("name", ["My Board", "-x", "ä"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is no name for a profile"):
        draft(PI, name=name, on=DAY)


def test_the_command_writes_a_file_that_is_found_from_then_on(capsys: pytest.CaptureFixture[str]) -> None:
    Path("device_profiles").mkdir()
    argv = ["profile", "draft", "--target", "local", "-o", "device_profiles/my-desk.toml", "--json"]
    assert run(argv, debug=False) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["schema"], body["path"]) == ("edgekit.profile.draft/1", "device_profiles/my-desk.toml")
    assert body["toml"] == Path("device_profiles/my-desk.toml").read_text()
    assert load("my-desk") in profiles()
    assert run(argv, debug=False) == 2
    assert "exists already" in capsys.readouterr().err
    assert run([*argv[:-2], "device_profiles/my-desk.txt"], debug=False) == 2
    assert not Path("device_profiles/my-desk.txt").exists()


def test_without_a_file_the_draft_is_all_that_stdout_gets(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profile", "draft", "--target", "local"], debug=False) == 0
    Path("x.toml").write_text(capsys.readouterr().out)
    assert "[match]" in Path("x.toml").read_text()
    assert list(Path().iterdir()) == [Path("x.toml")]


def test_show_gives_each_fact_and_limit_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profile", "show", "Pixel 7"], debug=False) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "untested on hardware: not run on a real phone yet" in text
    assert "ram_bytes: 8.59 GB Google, Pixel phone hardware tech specs" in text
    assert "latency_p50_ns_max: 100 ms edgekit default" in text
    assert "android_soc GS201" in text
    assert run(["profile", "show", "pixel-7", "--json"], debug=False) == 0
    assert json.loads(capsys.readouterr().out)["profile"]["match"] == {"android_model": "Pixel 7", "android_soc": "GS201"}
    assert run(["profile", "show", "pixel-8"], debug=False) == 2
    assert "did you mean 'pixel-7'?" in capsys.readouterr().err
