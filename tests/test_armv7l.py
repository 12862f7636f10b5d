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


def test_the_board_needs_no_python_and_a_c_library_that_is_young_enough() -> None:
    without = Device("zero", "ssh:zero", None, "/nowhere/python3")

    assert runner_for(without, LINUX, told(python="")).name == "python"
    assert runtime(without, LINUX, told(python="")).verdict == "ok"
    old = runtime(BOARD, LINUX, told(libc="glibc 2.31", python="3.9.2"))
    assert (old.verdict, old.cure) == ("fail", "install a system with glibc 2.36 or later, such as Debian 12: the runtimes need it")


def test_onnx_is_refused_in_words_before_anything_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path))

    with pytest.raises(InputError, match="there is no ONNX Runtime for 32-bit Arm: convert to tflite, or install a 64-bit system there"):
        site_packages(LINUX, "onnx", "armv7l", "3.11")
    with pytest.raises(SetupError, match="what armv7l devices are sent is not here: run `edgekit toolchains install armv7l`"):
        require(LINUX, "armv7l", "")


def test_a_python_that_nothing_is_made_for_is_refused_before_any_work() -> None:
    with pytest.raises(SetupError, match=r"no wheels for Python 3\.9 on the device"):
        require(LINUX, "aarch64", "3.9")


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
    assert os.access(tmp_path / "python/bin/python3.11", os.X_OK)
    assert not [name for name in libraries if name.startswith(("lib/libc.", "lib/ld-"))]  # the board's own: another's would not go with its loader
    machines = {(tmp_path / name).read_bytes()[4:20:14] for name in [*libraries, "python/bin/python3.11"]}
    assert machines == {b"\x01\x28"}  # ELF of 32 bits, Arm (elf(5))
    assert {"lib/libblas.so.3", "lib/liblapack.so.3", "lib/libgfortran.so.5"} <= set(names)
    packages = ("gcc-12-base", "libblas3", "libexpat1", "libffi8", "liblapack3", "python3-numpy", "python3.11-minimal", "zlib1g")
    assert {"numpy/LICENSE.txt", *(f"licences/{name}.copyright" for name in packages)} <= set(names)
    assert archive.stat().st_size < 15_000_000


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
    python = {"usr/bin/python3.11": b"python", "usr/lib/python3.11/os.py": b"os", "usr/share/doc/python3.11-minimal/copyright": b"PSF"}
    deb(given / "python3.11-minimal_3.deb", python, {})
    deb(given / "python3-numpy_1.deb", {"usr/lib/python3/dist-packages/numpy/__init__.py": b"", "usr/bin/f2py": b""}, {})
    for name in ("blas/libblas.so.3", "lapack/liblapack.so.3", "libexpat.so.1", "libffi.so.8", "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1"):
        short = name.rpartition("/")[2]
        deb(given / f"{short}_1.deb", {f"{place}/{name}.2.3": name.encode()}, {f"{place}/{name}": f"{short}.2.3"})

    lacks = installed(home, str(given))

    assert "without lib/libgfortran.so.5;" in lacks
    assert "edgekit toolchains install armv7l" in lacks
    assert not (home / "site").exists()

    gfortran = {f"{place}/libgfortran.so.5": b"gfortran", "usr/share/gdb/auto-load/usr/lib/arm-linux-gnueabihf/libgfortran.so.5.0.0-gdb.py": b"python"}
    deb(given / "libgfortran5_12.deb", gfortran, {})
    assert installed(home, str(given)) == ""
    site = home / "site"
    assert [(site / "lib" / name).read_bytes() for name in ("libgfortran.so.5", "libblas.so.3", "libz.so.1")] == [
        b"gfortran",
        b"blas/libblas.so.3",
        b"libz.so.1",
    ]
    assert (site / "python/lib/python3.11/os.py").read_bytes() == b"os"
    for name in ("licences/python3.11-minimal.copyright", "numpy/__init__.py", "python/bin/python3.11", "tflite_runtime/interpreter.py"):
        assert (site / name).is_file()
    assert not list(site.rglob("f2py"))


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
