"""What a device gets to run files without Python: the bundle, the words that jobs are put in, and outputs that are those of the Python agent."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import native
from edgekit.agent import CheckResult
from edgekit.errors import InputError, SetupError
from edgekit.runtime import agent_archive, platform, site_packages
from tests.lab.native import FORMS, MACHINE, SHORT, bundles, do, files, job, model, specs, unpacked
from tests.lab.tiny import Tiny

LINUX, ANDROID = platform("linux"), platform("android")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


__all__ = ["bundles", "files", "model"]


def test_a_job_is_text_in_which_names_and_paths_may_be_anything() -> None:
    words = native.encode(
        {
            "job": "a1",
            "mode": "check",
            "artifact": "/d/my model\n.onnx",
            "format": "onnx",
            "threads": 2,
            "cores": [4, 5],
            "n_samples": None,
            "protocol": SHORT,
            "inputs": ["/d/a b.npy"],
            "inputs_spec": specs(("in\\put", "float32", (1, 64))),
            "outputs_spec": specs(("ausgänge", "int64", ())),
        },
        "/d/bundle",
    ).decode()

    assert words.splitlines()[:6] == ["job a1", "mode check", "format onnx", "artifact /d/my model\\n.onnx", "threads 2", "library /d/bundle/libonnxruntime.so"]
    assert words.endswith("input float32 1,64 /d/a b.npy\ninput_name in\\\\put\noutput int64 -\noutput_name ausgänge\n")
    assert "cores 4,5\n" in words
    assert "min_runs 50\n" in words
    assert "n_samples" not in words
    assert f"runtime_version {native.runtime_version('onnx')}\n" in words


def test_samples_for_other_inputs_are_refused() -> None:
    with pytest.raises(InputError, match="there are samples for 0 inputs, not 1"):
        native.encode({"job": "", "mode": "", "artifact": "", "format": "onnx", "threads": 1, "inputs": [], "inputs_spec": [{}], "outputs_spec": []}, "/d")


def test_a_phone_brings_its_c_library_and_a_board_has_its_own() -> None:
    assert native.minimum_glibc(LINUX, "tflite", "aarch64") == "2.34"
    assert native.minimum_glibc(ANDROID, "tflite", "aarch64") is None
    assert native.machines(platform("macos")) == ()
    with pytest.raises(SetupError, match="no native runner for a armv7l device: use one of x86_64, aarch64"):
        native.bundle(LINUX, "tflite", "armv7l")
    with pytest.raises(InputError, match="the native runner on macOS, CPU and Core ML runs no tflite files, only none"):
        native.bundle(platform("macos"), "tflite", "arm64")


@pytest.mark.toolchain
@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", [LINUX, ANDROID], ids=["linux", "android"])
def test_a_bundle_is_small_whole_and_made_once(target: Any, form: str, machine: str) -> None:
    archive = native.bundle(target, form, machine)
    made = archive.stat().st_mtime_ns

    with tarfile.open(archive) as packed:
        modes = {entry.name: entry.mode for entry in packed}
        contents = json.load(packed.extractfile("contents.json") or pytest.fail("no contents"))
        runner = packed.extractfile("runner")
        assert runner is not None
        elf = runner.read()

    assert archive.stat().st_size <= 15e6
    assert set(contents["files"]) == set(modes) - {"contents.json"}
    assert modes["run"] == modes["runner"] == 0o755
    assert (native.LOADERS[machine] in modes) == target.description.own_libc
    assert int.from_bytes(elf[18:20], "little") == {"aarch64": 183, "x86_64": 62}[machine]
    assert max(tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_([\d.]+\d)\0", elf)) <= (2, 17)
    assert str(Path.home()).encode() not in elf
    assert native.bundle(target, form, machine).stat().st_mtime_ns == made


@pytest.mark.toolchain
@pytest.mark.parametrize("form", FORMS)
def test_outputs_are_those_of_the_python_agent(form: str, model: Tiny, files: dict[str, Path], bundles: dict[str, str], tmp_path: Path) -> None:
    asked = job(model, files[form])
    site = unpacked(site_packages(LINUX, form, MACHINE, PYTHON), tmp_path / "site")
    argv = [sys.executable, "-I", "-S", str(agent_archive(LINUX)), str(tmp_path / "python")]
    subprocess.run(argv, input=json.dumps({**asked, "site": site}).encode(), capture_output=True, check=True)

    told = do(asked, bundles[form], tmp_path / "native")

    ours, theirs = np.load(tmp_path / "native/0.npy"), np.load(tmp_path / "python/0.npy")
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(ours, np.load(model.reference / "0.npy"), atol=1e-5)
    result = CheckResult.model_validate(told[-1]["result"])
    assert result.floor_rss_bytes is not None
    assert result.peak_rss_bytes is not None
    assert 1e6 < result.floor_rss_bytes <= 20e6
    assert 0 < (result.private_dirty_bytes or 0) < (result.pss_bytes or 0) <= result.peak_rss_bytes
    assert result.peak_was_reset


@pytest.mark.lab
@pytest.mark.toolchain
@pytest.mark.parametrize("form", FORMS)
def test_an_arm_phone_gets_the_same_outputs_by_the_loader_that_it_is_sent(form: str, model: Tiny, files: dict[str, Path], tmp_path: Path) -> None:
    from edgekit.lab.root import qemu_folder

    qemu = qemu_folder(lambda *_: None) / "usr/bin/qemu-aarch64"
    bundle = unpacked(native.bundle(ANDROID, form, "aarch64"), tmp_path / "bundle")
    loader = [str(qemu), "-cpu", "cortex-a76", f"{bundle}/{native.LOADERS['aarch64']}", "--library-path", bundle, f"{bundle}/runner", str(tmp_path / "job")]
    assert f'exec "$here/{native.LOADERS["aarch64"]}" --library-path "$here" "$here/runner" "$1"' in Path(bundle, "run").read_text()

    done = subprocess.run(loader, input=native.encode(job(model, files[form]), bundle), capture_output=True, check=True)

    assert "error" not in json.loads(done.stdout.splitlines()[-1])["result"]
    np.testing.assert_allclose(np.load(tmp_path / "job/0.npy"), np.load(model.reference / "0.npy"), atol=1e-5)


def test_a_device_with_an_older_c_library_is_refused_before_anything_is_made() -> None:
    native.refuse_older_libc(LINUX, "tflite", "aarch64", "glibc 2.36")
    native.refuse_older_libc(LINUX, "tflite", "x86_64", "glibc 2.31")
    native.refuse_older_libc(ANDROID, "tflite", "aarch64", "")
    for libc in ("glibc 2.31", "musl 1.2.5", ""):
        with pytest.raises(SetupError, match=r"LiteRT for aarch64 needs glibc 2\.34 on the device, and it has .*: install a newer system there"):
            native.refuse_older_libc(LINUX, "tflite", "aarch64", libc)
