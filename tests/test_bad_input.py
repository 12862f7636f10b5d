"""What people get wrong: each is one sentence with cause and cure, the right exit code, and nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.conftest import missing
from tests.lab.cli import EDGEKIT, edgekit
from tests.lab.packages import nmp_onnx

pytestmark = pytest.mark.toolchain


def save(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str], initializers: tuple[onnx.TensorProto, ...] = ()) -> Path:
    """A graph `x` → `y` of float32."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], list(initializers))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


@pytest.fixture
def relu(tmp_path: Path) -> Path:
    return save(tmp_path / "relu.onnx", [helper.make_node("Relu", ["x"], ["y"], name="r")], [1, 8])


def refused(code: int, *argv: object, **env: str) -> str:
    """Run a command that must fail with this code; gives its sentence."""
    said = edgekit(*argv, **env)
    assert said.code == code, said
    assert said.stdout == ""
    return said.error


def test_not_a_model(tmp_path: Path) -> None:
    text = tmp_path / "notes.onnx"
    text.write_text("shopping: milk\n")
    assert "is not an ONNX model" in refused(2, "convert", text, "-o", tmp_path / "out")
    picture = tmp_path / "cat.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    assert "is a file of an unknown kind: give .onnx, .keras, .h5, .hdf5, .pt2, .tflite or a SavedModel folder" in refused(2, "inspect", picture)
    assert "there is no file" in refused(2, "inspect", tmp_path / "absent.onnx")
    pickle = tmp_path / "weights.pth"
    pickle.write_bytes(b"\x80\x04.")
    assert "which edgekit never loads" in refused(2, "inspect", pickle)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_onnx(tmp_path: Path, share: float) -> None:
    whole = nmp_onnx().read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole[: int(len(whole) * share)])
    assert "cut.onnx" in refused(2, "convert", cut, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "head"), [("cut.keras", b"PK\x03\x04"), ("cut.h5", b"\x89HDF\r\n\x1a\n"), ("cut.pt2", b"PK\x03\x04")])
def test_truncated_models_of_frameworks(tmp_path: Path, name: str, head: bytes) -> None:
    cut = tmp_path / name
    cut.write_bytes(head + bytes(500))
    assert name in refused(2, "inspect", cut)


def test_an_operator_of_nobody_is_named_with_its_node(tmp_path: Path) -> None:
    custom = save(tmp_path / "custom.onnx", [helper.make_node("Frobnicate", ["x"], ["y"], name="f1", domain="com.example")], [1, 8])
    words = refused(2, "convert", custom, "-o", tmp_path / "out")
    assert "Frobnicate" in words
    assert "f1" in words


def test_an_operator_that_a_format_does_not_carry_fails_that_format_only(tmp_path: Path) -> None:
    grid = onnx.numpy_helper.from_array(np.zeros((1, 4, 4, 2), np.float32), "grid")
    sample = helper.make_node("GridSample", ["x", "grid"], ["y"], name="p1", mode="bicubic")
    said = edgekit("convert", save(tmp_path / "sampled.onnx", [sample], [1, 3, 8, 8], (grid,)), "--to", "all", "-o", tmp_path / "out", "--json")
    assert said.code == 4
    by_format = {artifact["format"]: artifact for artifact in said.json["artifacts"]}
    assert by_format["onnx"]["status"] == "ok"
    for name in ("tflite", "coreml"):
        assert by_format[name]["status"] == "failed"
        assert "GridSample" in by_format[name]["error"]
        assert "p1" in by_format[name]["error"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sampled.fp32.onnx", "sampled.fp32.onnx.json"]


def test_dynamic_shapes_say_which_shape_to_give(tmp_path: Path) -> None:
    dynamic = save(tmp_path / "dynamic.onnx", [helper.make_node("Relu", ["x"], ["y"])], ["n", 3, "h", "w"])
    words = refused(2, "inspect", dynamic)
    assert "--shape x=1x3x" in words
    given = edgekit("inspect", dynamic, "--shape", "x=1x3x32x48", "--json")
    assert given.code == 0
    assert given.json["outputs"][0]["shape"] == [1, 3, 32, 48]
    assert "did you mean 'x'" in refused(2, "inspect", dynamic, "--shape", "xx=1x3x32x48")
    assert "a is no size: write one such as 224" in refused(2, "inspect", dynamic, "--shape", "x=1xAx3")
    assert "0 has a size of 0: the least is 1" in refused(2, "inspect", dynamic, "--shape", "x=1x0x3")


def test_unknown_names_come_with_the_nearest(tmp_path: Path, relu: Path) -> None:
    out = ("-o", tmp_path / "out")
    assert "did you mean 'w8a8'?" in refused(2, "convert", relu, "--recipe", "w8a", *out)
    assert "did you mean 'tflite'?" in refused(2, "convert", relu, "--to", "tflit", *out)
    assert "did you mean" in refused(2, "deploy", relu, "--target", "rasberry-pi-5")
    assert "did you mean 'deploy'?" in refused(2, "deplyo", relu)
    assert "did you mean 'torch'?" in refused(2, "toolchains", "install", "torhc")
    assert not (tmp_path / "out").exists()


def test_a_recipe_that_no_format_carries_is_refused_before_any_work(tmp_path: Path, relu: Path) -> None:
    assert "Core ML has no activations quantized at run time: use w8" in refused(2, "convert", relu, "--to", "coreml", "--recipe", "w8d", "-o", tmp_path)
    assert "give some with --data" in refused(2, "convert", relu, "--to", "tflite", "--recipe", "w8a8", "-o", tmp_path)


DATA = {
    "a wrong name": ({"y": np.zeros((32, 8), np.float32)}, "did you mean 'x'?"),
    "a wrong shape": ({"x": np.zeros((32, 9), np.float32)}, "has shape [32, 9], and the model needs"),
    "a wrong dtype": ({"x": np.zeros((32, 8), np.uint8)}, "is uint8, and the model takes float32"),
    "NaN": ({"x": np.full((32, 8), np.nan, np.float32)}, "has NaN or infinite values, first in sample 0"),
    "nothing": ({"x": np.zeros((0, 8), np.float32)}, "is empty"),
    "too little": ({"x": np.zeros((3, 8), np.float32)}, "give at least 16"),
    "objects": ({"x": np.array([{}] * 32, dtype=object)}, "holds Python objects, which are never loaded"),
    "labels that do not fit": ({"x": np.zeros((32, 8), np.float32), "labels": np.zeros(31, np.int64)}, "do not have the same number of samples"),
}


@pytest.mark.parametrize("what", DATA)
def test_calibration_data_with(what: str, tmp_path: Path, relu: Path) -> None:
    arrays, words = DATA[what]
    np.savez(tmp_path / "data.npz", **arrays)
    assert words in refused(2, "convert", relu, "--to", "onnx", "--recipe", "w8a8", "--data", tmp_path / "data.npz", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_that_is_not_there_or_no_data(tmp_path: Path, relu: Path) -> None:
    assert "is not there: give a .npz or .npy file" in refused(2, "convert", relu, "--data", tmp_path / "absent.npz", "-o", tmp_path)
    (tmp_path / "junk.npz").write_bytes(b"PK\x03\x04junk")
    assert "is not an .npz or .npy file, or is truncated" in refused(2, "convert", relu, "--data", tmp_path / "junk.npz", "-o", tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of 256 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True).returncode != 0:
        missing("the right to mount a small file system", "run the tests as root")
    yield folder  # type: ignore[misc]
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_where_the_files_go(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(150_000))
    words = refused(3, "convert", nmp_onnx(), "--to", "onnx", "-o", small_disk / "out")
    assert "the disk is full: free some space and repeat the command" in words
    assert list((small_disk / "out").iterdir()) == []


def test_a_full_disk_under_the_cache(small_disk: Path, tmp_path: Path) -> None:
    from edgekit.places import cache_dir

    (small_disk / "toolchains").symlink_to(cache_dir() / "toolchains")
    words = refused(3, "convert", nmp_onnx(), "--to", "tflite", "-o", tmp_path / "out", EDGEKIT_CACHE_DIR=str(small_disk))
    assert "the disk is full" in words
    assert not (tmp_path / "out").exists()


def worker_of(edgekit_pid: int, verb: str) -> int | None:
    """The pid of edgekit's child that runs this verb."""
    for child in Path(f"/proc/{edgekit_pid}/task/{edgekit_pid}/children").read_text().split():
        try:
            if f"/{verb}.py" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
        except OSError:
            continue
    return None


def test_a_worker_that_the_system_kills_ends_its_variant_only(tmp_path: Path) -> None:
    from edgekit.places import cache_dir

    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "toolchains").symlink_to(cache_dir() / "toolchains")
    argv = [str(EDGEKIT), "convert", str(nmp_onnx()), "--to", "tflite,onnx", "-o", str(tmp_path / "out"), "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "EDGEKIT_CACHE_DIR": str(cache)}) as running:
        end = time.monotonic() + 60
        while (worker := worker_of(running.pid, "write_tflite")) is None and time.monotonic() < end:
            time.sleep(0.005)
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        stdout, stderr = running.communicate(timeout=120)
    assert running.returncode == 4, stderr
    import json

    by_format = {artifact["format"]: artifact for artifact in json.loads(stdout)["artifacts"]}
    assert "was killed by the system" in by_format["tflite"]["error"]
    assert by_format["onnx"]["status"] == "ok"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["nmp.fp32.onnx", "nmp.fp32.onnx.json"]
    assert not list((cache / "results").glob(".job-*"))
