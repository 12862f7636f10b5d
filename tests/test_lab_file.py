"""Lab files: each key is read, a wrong file is named with its fault, and a new entry goes behind what is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit.errors import InputError, SetupError
from edgekit.lab_file import BenchmarkModel, append, lab, place_for_new, read_lab, user_lab_file, virtual_lab_file

SHA256 = "0123456789abcdef" * 4

PI = """# the one on the bench
[[device]]
name = "bench-pi"
address = "ssh:pi@bench"
profile = "raspberry-pi-5-8gb"
"""


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def lab_toml(text: str) -> Path:
    path = Path.cwd() / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_key_of_an_entry_is_read() -> None:
    path = lab_toml(
        PI + f"python = '/usr/bin/python3.11'\nthreads = 2\ncores = 'big'\nrunner = 'benchmark_model'\n"
        f"benchmark_model = {{ path = 'tools/benchmark_model', sha256 = '{SHA256.upper()}' }}"
    )
    (device,) = read_lab(path)
    assert (device.name, device.address, device.python, device.threads) == ("bench-pi", "ssh:pi@bench", "/usr/bin/python3.11", 2)
    assert device.profile is not None
    assert device.profile.name == "raspberry-pi-5-8gb"
    assert (device.cores, device.runner) == ("big", "benchmark_model")
    assert device.benchmark_model == BenchmarkModel(Path.cwd() / "tools/benchmark_model", SHA256)


def test_what_an_entry_leaves_out_is_left_to_the_measurement() -> None:
    (device,) = read_lab(lab_toml("[[device]]\nname = 'x'\naddress = 'adb:1A2B3C'"))
    assert (device.profile, device.python, device.threads, device.cores, device.runner, device.benchmark_model) == (None, "python3", None, None, None, None)


def test_a_program_may_lie_in_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (device,) = read_lab(lab_toml(PI + f"benchmark_model = {{ path = '~/benchmark_model', sha256 = '{SHA256}' }}"))
    assert device.benchmark_model == BenchmarkModel(tmp_path / "benchmark_model", SHA256)


def test_this_machine_may_be_called_local_as_on_the_command_line() -> None:
    (device,) = read_lab(lab_toml("[[device]]\nname = 'me'\naddress = 'local'\ncores = '0'"))
    assert (device.address, device.cores) == ("local:", "0")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[device]", "is not TOML"),
        ("name = '\xff'", "is not TOML"),
        ("[[device]]\nname = 'x'", "device 'x': it has no address: add one"),
        ("[[device]]\naddress = 'local'", "the device number 1: it has no name: add one"),
        ("[device]\nname = 'x'", "each device begins with a line [[device]]"),
        ("[[devices]]\nname = 'x'", "unknown key 'devices': did you mean 'device'?"),
        (PI + "profil = 'x'", "device 'bench-pi': unknown key 'profil': did you mean 'profile'?"),
        (PI + "zoom = 'x'", "device 'bench-pi': unknown key 'zoom': known are name, address, profile, "),
        (PI + "benchmark_model = { path = 'x', sha = 'abc' }", "device 'bench-pi': it has no benchmark_model.sha256: add one"),
        (PI + "cores = 'huge'", "device 'bench-pi': cores: 'huge' is none of big, mid, little, all, a mask such as f0 and a list such as 4-7"),
        (PI + "runner = 'fast'", "device 'bench-pi': runner: Input should be 'native', 'python' or 'benchmark_model'"),
        (PI + "cores = 4", "device 'bench-pi': cores: Input should be a valid string"),
        (PI + "threads = 0", "device 'bench-pi': threads: Input should be greater than or equal to 1"),
        (PI + "benchmark_model = { path = 'x', sha256 = 'abc' }", "device 'bench-pi': benchmark_model.sha256: String should match pattern"),
        (PI + PI, "names two devices 'bench-pi'"),
        (PI.replace("raspberry-pi-5-8gb", "pixel-8"), "device 'bench-pi': unknown profile 'pixel-8': did you mean 'pixel-7'?"),
    ],
)
def test_a_wrong_lab_file_is_named_with_its_fault(text: str, fault: str) -> None:
    (Path.cwd() / "lab.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        lab()
    assert "lab.toml" in str(caught.value)
    assert fault in str(caught.value)


def test_of_three_files_the_virtual_labs_comes_last() -> None:
    for path, host in ((virtual_lab_file(), "virtual"), (user_lab_file(), "user")):
        path.parent.mkdir(parents=True)
        path.write_text(PI.replace("pi@bench", host) + PI.replace("bench-pi", f"{host}-pi"), encoding="utf-8")
    assert {device.name: device.address for device in lab()} == {"bench-pi": "ssh:user", "user-pi": "ssh:pi@bench", "virtual-pi": "ssh:pi@bench"}
    lab_toml(PI)
    assert [device.address for device in lab() if device.name == "bench-pi"] == ["ssh:pi@bench"]


def test_a_new_entry_goes_behind_what_is_there_byte_for_byte() -> None:
    path = lab_toml(PI + "threads = 2  # no newline here")
    before = path.read_bytes()
    path.chmod(0o640)
    append(path, "phone", "adb:1A2B3C", "pixel-7")
    assert path.read_bytes().startswith(before + b"\n\n[[device]]\n")
    assert path.stat().st_mode & 0o777 == 0o640
    assert [(device.name, device.address, device.profile.name if device.profile else "") for device in read_lab(path)] == [
        ("bench-pi", "ssh:pi@bench", "raspberry-pi-5-8gb"),
        ("phone", "adb:1A2B3C", "pixel-7"),
    ]
    append(path, "other", "adb:4D5E6F", None)
    assert len(read_lab(path)) == 3


def test_the_file_is_made_where_there_is_none_and_a_link_stays_one() -> None:
    append(user_lab_file(), "phone", "adb:1A2B3C", None)
    assert user_lab_file().read_text() == '[[device]]\nname = "phone"\naddress = "adb:1A2B3C"\n'
    Path("real.toml").write_text(PI)
    Path("lab.toml").symlink_to("real.toml")
    append(Path("lab.toml"), "board", "ssh:pi@shelf", None)
    assert Path("lab.toml").is_symlink()
    assert "shelf" in Path("real.toml").read_text()


def test_a_name_with_odd_characters_is_written_so_that_it_is_read_again() -> None:
    for number, name in enumerate(['the "big" one', "Küche \\ 2", "a\tb"]):
        append(Path("lab.toml"), name, f"ssh:h{number}", None)
        assert name in [device.name for device in lab()]


@pytest.mark.parametrize(
    ("name", "address", "fault"), [("bench-pi", "ssh:pi@shelf", "there is a device 'bench-pi' already"), ("x", "ssh:pi@bench", "in the lab")]
)
def test_a_name_or_address_that_is_taken_in_any_file_is_refused(name: str, address: str, fault: str) -> None:
    user_lab_file().parent.mkdir()
    user_lab_file().write_text(PI)
    path = lab_toml("# mine\n")
    with pytest.raises(InputError, match=fault):
        append(path, name, address, None)
    assert path.read_text() == "# mine\n"


def test_a_file_that_takes_no_more_is_left_alone_and_says_what_to_write() -> None:
    path = lab_toml("device = []\n")
    with pytest.raises(InputError, match=r"by hand: .*adb:1A2B3C"):
        append(path, "phone", "adb:1A2B3C", None)
    assert path.read_text() == "device = []\n"
    assert os.listdir() == ["lab.toml"]


def test_a_folder_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="is a file: choose another folder"):
        append(tmp_path / "file" / "lab.toml", "phone", "adb:1A2B3C", None)


def test_the_lab_file_here_is_written_to_if_there_is_one() -> None:
    assert place_for_new() == user_lab_file()
    path = lab_toml("")
    assert place_for_new() == path
