"""What is made on the host for a device: which packages, which of their files, and that the same content gives the same bytes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import DeviceError, InputError, SetupError
from edgekit.runtime import ASK, agent_archive, contents, pack, platform, platform_of, site_packages
from edgekit.toolchains.catalog import toolchain
from edgekit.transport import Completed

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
LINUX = platform()


@pytest.mark.parametrize("python", LINUX.description.pythons)
def test_every_python_has_its_versions(python: str) -> None:
    tflite, _ = contents(LINUX.description, "tflite", "aarch64", python)
    onnx, _ = contents(LINUX.description, "onnx", "x86_64", python)

    assert [name.partition("==")[0] for name in tflite] == ["ai-edge-litert", "numpy"]
    assert [name.partition("==")[0] for name in onnx] == ["numpy", "onnxruntime"]
    assert (onnx[1] == "onnxruntime==1.23.2") == (python == "3.10")


def test_a_device_runs_the_versions_that_the_files_were_verified_with() -> None:
    tflite, _ = contents(LINUX.description, "tflite", "x86_64", "3.13")
    onnx, _ = contents(LINUX.description, "onnx", "x86_64", "3.13")

    locked = toolchain("convert").versions
    assert {*tflite, *onnx} == {f"{name}=={locked[name]}" for name in ("ai-edge-litert", "onnxruntime", "numpy")}


def test_the_native_runner_runs_the_same_versions_everywhere() -> None:
    locked = toolchain("convert").versions

    for target in (LINUX, platform("android")):
        found = {one.package: one.version for one in target.description.native.values()}
        assert found == {name: locked[name] for name in ("ai-edge-litert", "onnxruntime")}
        assert set(target.description.zig) == set(target.description.machines)
        assert all(set(one.glibc) == set(target.description.zig) for one in target.description.native.values())


@pytest.mark.parametrize(("words", "name"), [("Linux\n", "linux"), ("Linux\nAndroid\n", "android"), ("Darwin\n", "macos")], ids=["board", "phone", "Mac"])
def test_a_device_is_known_by_what_it_answers(words: str, name: str) -> None:
    assert platform_of(Answers(words)).folder.name == name


def test_a_system_that_is_not_known_is_named() -> None:
    with pytest.raises(DeviceError, match=r"ssh:there: it runs FreeBSD: use a device with one of Linux, Linux Android, Darwin"):
        platform_of(Answers("FreeBSD\n"))


def test_a_phone_is_known_by_its_getprop_wherever_that_is(tmp_path: Path) -> None:
    (tmp_path / "getprop").write_text("#!/bin/sh\n")
    (tmp_path / "getprop").chmod(0o755)

    said = [
        subprocess.run(["sh", "-c", ASK], env={"PATH": path}, capture_output=True, text=True).stdout for path in (f"{tmp_path}:/bin:/usr/bin", "/bin:/usr/bin")
    ]

    assert said == ["Linux\nAndroid\n", "Linux\n"]


def test_android_has_no_python_to_send_packages_to() -> None:
    with pytest.raises(InputError, match="Android, CPU has no Python: use the native runner"):
        contents(platform("android").description, "tflite", "aarch64", "3.13")


class Answers:
    """A device that answers every command with the same words."""

    address = "ssh:there"

    def __init__(self, words: str) -> None:
        self.words = words

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        return Completed(tuple(argv), 0, self.words, "")

    def push(self, *_: Any, **__: Any) -> None: ...

    def pull(self, *_: Any, **__: Any) -> None: ...

    def close(self) -> None: ...


def test_what_has_no_wheels_is_refused_with_the_cure() -> None:
    with pytest.raises(SetupError, match=r"armv7l device: use one of x86_64, aarch64"):
        contents(LINUX.description, "tflite", "armv7l", "3.11")
    with pytest.raises(SetupError, match=r"Python 3\.9 on the device: install one of 3\.10, 3\.11"):
        contents(LINUX.description, "tflite", "aarch64", "3.9")
    with pytest.raises(InputError, match=r"no runtime for coreml: convert to one of tflite, onnx"):
        contents(LINUX.description, "coreml", "aarch64", "3.11")


def test_only_what_is_kept_is_packed_and_the_bytes_do_not_depend_on_times(tmp_path: Path) -> None:
    for folder, mtime in (("a", 1_000_000_000), ("b", 1_500_000_000)):
        for name in ("pkg/__init__.py", "pkg/tests/test_x.py", "pkg/x.pyi", "other/y.py"):
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
            path.touch()
            os.utime(path, (mtime, mtime))
    packed = []
    for folder in ("a", "b"):
        file = io.BytesIO()
        pack(tmp_path / folder, (("pkg/*",), ("*/tests/*", "*.pyi")), file, {"pkg/__init__.py"})
        packed.append(file.getvalue())

    assert packed[0] == packed[1]
    with tarfile.open(fileobj=io.BytesIO(packed[0])) as archive:
        assert [(entry.name, entry.mode) for entry in archive] == [("pkg/__init__.py", 0o755)]


def test_the_agent_is_one_file_with_the_same_bytes_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "one"))
    first = agent_archive(LINUX)
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "two"))
    second = agent_archive(LINUX)

    assert first.read_bytes() == second.read_bytes()
    assert sorted(zipfile.ZipFile(first).namelist()) == ["__main__.py", "clock.py", "cpu.py", "npy.py", "process.py", "refusal.py", "runtimes.py"]


def test_a_platform_of_the_users_own_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "targets" / "linux"
    own.mkdir(parents=True)
    text = (LINUX.folder / "target.toml").read_text().replace('title = "Linux (glibc), CPU"', 'title = "my own"')
    (own / "target.toml").write_text(text)
    monkeypatch.chdir(tmp_path)

    assert platform().description.title == "my own"


def test_a_platform_that_is_wrong_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "targets" / "linux"
    own.mkdir(parents=True)
    (own / "target.toml").write_text("title = 1")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SetupError, match=r"target\.toml cannot be read"):
        platform()
    with pytest.raises(SetupError, match="no platform 'beos'"):
        platform("beos")


@pytest.mark.toolchain
@pytest.mark.parametrize(("form", "module"), [("tflite", "ai_edge_litert.interpreter"), ("onnx", "onnxruntime")])
def test_what_is_left_of_a_runtime_still_works_alone(form: str, module: str, tmp_path: Path) -> None:
    archive = site_packages(LINUX, form, "x86_64", PYTHON)
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")

    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import numpy, {module}; numpy.load; print(sys.modules[{module!r}].__file__)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.startswith(str(tmp_path))
    assert archive.stat().st_size < 26_000_000


@pytest.mark.toolchain
def test_a_board_gets_files_for_its_own_processor_and_a_second_time_nothing_is_made() -> None:
    archive = site_packages(LINUX, "tflite", "aarch64", "3.13")
    made = archive.stat().st_mtime_ns

    with tarfile.open(archive) as packed:
        library = packed.extractfile("ai_edge_litert/libpywrap_litert_common.so")
        assert library is not None
        elf_machine = int.from_bytes(library.read(20)[18:20], "little")

    assert elf_machine == 183  # EM_AARCH64
    assert site_packages(LINUX, "tflite", "aarch64", "3.13").stat().st_mtime_ns == made
