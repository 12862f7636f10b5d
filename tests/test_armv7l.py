"""32-bit Arm: what is sent there, what is refused and why, and the main job on a 32-bit Debian behind a genuine sshd."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.conditions import Told
from edgekit.conditions.told import read_told
from edgekit.device import Device, match_profile
from edgekit.doctor import processor, runtime
from edgekit.errors import InputError, SetupError
from edgekit.lab.virtual import Virtual, down, up
from edgekit.places import data_dir
from edgekit.runners import runner_for
from edgekit.runtime import platform, require, site_packages
from edgekit.toolchains.catalog import HERE, toolchain
from tests.conftest import missing
from tests.lab.cli import edgekit
from tests.lab.networks import digits
from tests.test_native_libc import deb

LINUX = platform()
BOARD = Device("zero", "ssh:zero", None)
SCRIPT = HERE / "armv7l/after_install.py"
MODEL = "Raspberry Pi Zero 2 W Rev 1.0"


def told(**changes: str) -> Told:
    """A Pi Zero 2 W whose system is of 32 bits and whose kernel is of 64."""
    facts = {"model": MODEL, "machine": "aarch64", "bits": "32", "cores": "4", "libc": "glibc 2.36", "python": "3.11.2", "time_s": "1795313670"} | changes
    return read_told("".join(f"{key}\t{value}\n" for key, value in facts.items()) + "end\tok\n")


@pytest.mark.parametrize("machine", ["aarch64", "armv8l", "armv7l"], ids=["64-bit kernel", "64-bit kernel that passes for 32", "32-bit kernel"])
def test_a_32_bit_system_is_run_by_the_python_agent_whatever_its_kernel_is(machine: str) -> None:
    found = told(machine=machine)

    assert (found.machine, runner_for(BOARD, LINUX, found).name) == ("armv7l", "python")
    profile = match_profile(found.identity)
    assert profile is not None
    assert (profile.name, profile.formats) == ("raspberry-pi-zero-2-w-32bit", ("tflite",))
    assert (processor(found, LINUX).verdict, runtime(BOARD, LINUX, found).verdict) == ("ok", "ok")


@pytest.mark.parametrize(
    ("changes", "found"), [({"python": "3.9.2"}, "Python 3.9"), ({"python": "3.13.5"}, "Python 3.13"), ({"libc": "glibc 2.31"}, "glibc 2.31")]
)
def test_the_doctor_names_the_system_that_a_32_bit_board_needs(changes: dict[str, str], found: str) -> None:
    judged = runtime(BOARD, LINUX, told(**changes))

    assert judged.verdict == "fail"
    assert found in judged.found
    assert "Debian 12" in judged.cure


def test_onnx_and_another_python_are_refused_in_words_before_anything_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path))

    with pytest.raises(InputError, match="there is no ONNX Runtime for 32-bit Arm: convert to tflite, or install a 64-bit system there"):
        site_packages(LINUX, "onnx", "armv7l", "3.11")
    with pytest.raises(SetupError, match=r"no packages for Python 3\.9 for armv7l devices: install a system with Python 3\.11, such as Raspberry Pi OS"):
        require(LINUX, "armv7l", "3.9")
    with pytest.raises(SetupError, match=r"no wheels for Python 3\.9 on the device"):
        require(LINUX, "aarch64", "3.9")
    with pytest.raises(SetupError, match="what armv7l devices are sent is not here: run `edgekit toolchains install armv7l`"):
        require(LINUX, "armv7l", "3.11")


def test_a_toolchain_that_could_not_get_all_says_why_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path))
    home = toolchain("armv7l").folder
    home.mkdir(parents=True)
    (home / ".complete").write_text("1")
    (home / ".lacks").write_text("there is nothing: no network")

    with pytest.raises(SetupError, match="there is nothing: no network, then run `edgekit toolchains install armv7l`"):
        require(LINUX, "armv7l", "3.11")


@pytest.mark.toolchain
def test_what_is_sent_is_for_that_machine_and_has_its_licences(tmp_path: Path) -> None:
    archive = site_packages(LINUX, "tflite", "armv7l", "3.11")

    with tarfile.open(archive) as packed:
        names = packed.getnames()
        packed.extractall(tmp_path, filter="data")
    libraries = [name for name in names if ".so" in name]
    machines = {(tmp_path / name).read_bytes()[4:20:14] for name in libraries}
    assert machines == {b"\x01\x28"}  # ELF of 32 bits, Arm (elf(5))
    assert {"lib/libblas.so.3", "lib/liblapack.so.3", "lib/libgfortran.so.5"} <= set(names)
    assert {"numpy/LICENSE.txt", "licences/libblas3.copyright", "licences/gcc-12-base.copyright", "licences/python3-numpy.copyright"} <= set(names)
    assert archive.stat().st_size < 10_000_000


def installed(folder: Path, named: str) -> str:
    """Run the toolchain's own step without apt-get; what it says is missing."""
    env = {key: value for key, value in os.environ.items() if key.startswith("PIP_")} | {"PATH": str(folder / "nothing"), "EDGEKIT_ARMHF": named}
    words = [toolchain("armv7l").python, "-I", SCRIPT, folder]
    return subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.toolchain
def test_packages_that_the_user_names_are_taken_and_what_lacks_is_said(tmp_path: Path) -> None:
    given, home = tmp_path / "given", tmp_path / "toolchains/armv7l"
    given.mkdir()
    home.mkdir(parents=True)
    place = "usr/lib/arm-linux-gnueabihf"
    deb(given / "python3-numpy_1.deb", {"usr/lib/python3/dist-packages/numpy/__init__.py": b"", "usr/bin/f2py": b""}, {})
    deb(given / "libblas3_3.deb", {f"{place}/blas/libblas.so.3.11.0": b"blas"}, {f"{place}/blas/libblas.so.3": "libblas.so.3.11.0"})
    deb(given / "liblapack3_3.deb", {f"{place}/lapack/liblapack.so.3.11.0": b"lapack", "usr/share/doc/liblapack3/copyright": b"BSD"}, {})

    lacks = installed(home, str(given))

    assert "without lib/libgfortran.so.5" in lacks
    assert "edgekit toolchains install armv7l" in lacks
    assert not (home / "site").exists()

    deb(given / "libgfortran5_12.deb", {f"{place}/libgfortran.so.5.0.0": b"gfortran", "usr/share/gdb/libgfortran.so.5.0.0-gdb.py": b"python"}, {})
    assert installed(home, str(given)) == ""
    found = {path.relative_to(home / "site").as_posix() for path in (home / "site").rglob("*") if path.is_file()}
    assert {"lib/libblas.so.3", "licences/liblapack3.copyright", "numpy/__init__.py", "tflite_runtime/interpreter.py"} <= found
    assert (home / "site/lib/libgfortran.so.5").read_bytes() == b"gfortran"


@pytest.fixture(scope="module")
def zero() -> Iterator[Virtual]:
    folder = Path(tempfile.mkdtemp(prefix="edgekit-lab-"))
    try:
        try:
            (device,) = up({"pi": "pi-zero-2-32bit"}, folder)
        except SetupError as exc:
            missing("the virtual lab", str(exc))
        yield device
    finally:
        down(folder, ("pi",))
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def target(zero: Virtual, private_folders: Path) -> Virtual:
    """The 32-bit board, as the target `virtual-pi` of this test."""
    data_dir().mkdir(parents=True, exist_ok=True)
    (data_dir() / "virtual").symlink_to(Path(zero.folder).parent)
    return zero


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.toolchain
def test_a_32_bit_board_gives_the_outputs_of_the_model_and_is_sent_nothing_twice(target: Virtual) -> None:
    network, samples = digits("depthwise")
    argv = ["deploy", network, "--target", "virtual-pi", "--to", "tflite,onnx", "--recipe", "fp32,w8a8", "--data", samples, "--json"]

    first = edgekit(*argv)

    assert first.code == 0, first.stderr
    run = first.json
    assert run["device"]["emulated"]
    assert run["device"]["profile"] == "raspberry-pi-zero-2-w-32bit"
    done = {(one["recipe"], one["format"]): one for one in run["variants"]}
    assert {key: one["status"] for key, one in done.items()} == {
        ("fp32", "tflite"): "ok",
        ("w8a8", "tflite"): "ok",
        ("fp32", "onnx"): "skipped",
        ("w8a8", "onnx"): "skipped",
    }
    assert "there is no ONNX Runtime for 32-bit Arm" in done["fp32", "onnx"]["error"]
    for recipe in ("fp32", "w8a8"):
        one = done[recipe, "tflite"]
        assert one["parity"]["device"]["n"] == one["accuracy"]["n"] == 800
        assert one["accuracy"]["value"] > 0.9
        conditions = one["conditions"]
        assert (conditions["runner"], conditions["runtime"]) == ("python", "TensorFlow Lite 2.14.0")
        assert conditions["delegate"] == {"asked": "none", "ran": "none", "ops": conditions["delegate"]["ops"], "outside": None, "time_outside": None}
        assert one["latency_ns"]["p50"] > 0
        assert "emulated: qemu-user (qemu-arm)" in one["notes"]
    assert done["fp32", "tflite"]["parity"]["device"]["max_rel"] < 1e-4
    assert run["pushed_bytes"] > 10**6
    assert edgekit(*argv).json["pushed_bytes"] == 0


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.toolchain
def test_onnx_is_refused_before_anything_is_converted_or_sent(target: Virtual) -> None:
    network, samples = digits("depthwise")

    said = edgekit("deploy", network, "--target", "virtual-pi", "--to", "onnx", "--data", samples)

    assert said.code != 0
    assert "there is no ONNX Runtime for 32-bit Arm: convert to tflite, or install a 64-bit system there" in said.error
