"""The native runner as a board runs it: a job on stdin, JSON lines and outputs out, refusals for what cannot be."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekit import native
from edgekit.agent import LatencyResult
from edgekit.runtime import platform
from edgekit.toolchains.catalog import toolchain
from tests.lab.native import FORMS, SHORT, bundles, do, files, graph, io_job, job, model, refusal, specs, written_tflite
from tests.lab.tiny import Tiny, tiny
from tests.test_agent import MAKE_CUSTOM

LINUX = platform("linux")


__all__ = ["bundles", "files", "model"]


@pytest.mark.toolchain
@pytest.mark.parametrize("form", FORMS)
def test_timed_runs_are_told_raw_as_they_come(form: str, model: Tiny, files: dict[str, Path], bundles: dict[str, str], tmp_path: Path) -> None:
    told = do(job(model, files[form], "latency"), bundles[form], tmp_path / "job")

    samples = [one for line in told for one in line.get("samples_ns", [])]
    partial = next(line["partial"] for line in told if "partial" in line)
    result = LatencyResult.model_validate(told[-1]["result"])
    assert result.recorded == len(samples) >= 50
    assert min(samples) > 0
    assert partial.items() <= told[-1]["result"].items()
    assert {"recorded", "clock"} & partial.keys() == set()
    assert result.load_ns > 0
    assert result.first_ns >= min(samples)
    assert (result.runtime.name, result.runtime.version) == (native.TITLES[form], native.runtime_version(form))
    assert result.delegate.ran == {"onnx": "CPUExecutionProvider", "tflite": "XNNPACK"}[form]
    assert (result.delegate.ops, result.delegate.outside) == {"onnx": (None, None), "tflite": (1, {})}[form]
    assert result.cores == tuple(sorted(os.sched_getaffinity(0)))
    assert list((tmp_path / "job").iterdir()) == []


@pytest.mark.toolchain
def test_ops_outside_the_delegate_are_counted_by_kind(bundles: dict[str, str], tmp_path: Path) -> None:
    pad = helper.make_node("Pad", ["y", "pads"], ["z"], mode="reflect")  # XNNPACK has no such padding
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), pad, helper.make_node("Mul", ["z", "z"], ["out"])]
    there, back = specs(("x", "float32", (200, 300))), specs(("out", "float32", (200, 302)))
    sides = [[(one["name"], TensorProto.FLOAT, one["shape"]) for one in side] for side in (there, back)]
    path = graph(tmp_path, nodes, sides[0], sides[1], {"pads": np.array([0, 1, 0, 1])})
    np.save(tmp_path / "0.npy", np.random.default_rng(0).standard_normal((2, 200, 300)).astype(np.float32))
    asked = io_job(written_tflite(path), [tmp_path / "0.npy"], there, back)

    do(asked, bundles["tflite"], tmp_path / "job")
    outputs = np.load(tmp_path / "job/0.npy")
    result = LatencyResult.model_validate(do({**asked, "mode": "latency"}, bundles["tflite"], tmp_path / "job")[-1]["result"])

    np.testing.assert_allclose(outputs, np.pad(2 * np.load(tmp_path / "0.npy"), ((0, 0), (0, 0), (1, 1)), mode="reflect") ** 2, rtol=1e-6)
    assert result.delegate.ran == "XNNPACK"
    assert result.delegate.outside == {"MIRROR_PAD": 1}
    assert result.delegate.ops == 3
    assert 0 < (result.delegate.time_outside or 0) < 1


@pytest.mark.toolchain
@pytest.mark.parametrize("form", FORMS)
def test_tensors_are_matched_by_name_in_whatever_order_they_are_asked(form: str, bundles: dict[str, str], tmp_path: Path) -> None:
    nodes = [helper.make_node("Sub", ["b", "a"], ["z"]), helper.make_node("Add", ["a", "b"], ["y"])]
    inputs, outputs = [(n, TensorProto.FLOAT, [1, 4]) for n in "ba"], [(n, TensorProto.FLOAT, [1, 4]) for n in "zy"]
    path = graph(tmp_path, nodes, inputs, outputs, {})
    a, b = np.random.default_rng(0).standard_normal((2, 3, 1, 4)).astype(np.float32)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    there, back = specs(("a", "float32", (1, 4)), ("b", "float32", (1, 4))), specs(("y", "float32", (1, 4)), ("z", "float32", (1, 4)))

    do(io_job(written_tflite(path) if form == "tflite" else path, [tmp_path / "a.npy", tmp_path / "b.npy"], there, back), bundles[form], tmp_path / "job")

    np.testing.assert_allclose(np.load(tmp_path / "job/0.npy"), a + b, atol=1e-6)
    np.testing.assert_allclose(np.load(tmp_path / "job/1.npy"), b - a, atol=1e-6)


@pytest.mark.toolchain
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_every_type_goes_in_and_comes_back(shape: tuple[int, ...], bundles: dict[str, str], tmp_path: Path) -> None:
    names = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]
    codes = [helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in names]
    nodes = [helper.make_node("Identity", [f"in {name}"], [f"out\\{name}"]) for name in names]
    sides = [[(pattern.format(name), code, list(shape)) for name, code in zip(names, codes, strict=True)] for pattern in ("in {}", "out\\{}")]
    path = graph(tmp_path, nodes, *sides, {})
    samples = {name: np.random.default_rng(0).integers(0, 2 if name == "bool" else 100, (4, *shape)).astype(name) for name in names}
    for name, values in samples.items():
        np.save(tmp_path / f"{name}.npy", values)

    there, back = specs(*((f"in {name}", name, shape) for name in names)), specs(*((f"out\\{name}", name, shape) for name in names))
    do(io_job(path, [tmp_path / f"{name}.npy" for name in names], there, back), bundles["onnx"], tmp_path / "job")

    for i, (name, values) in enumerate(samples.items()):
        found = np.load(tmp_path / f"job/{i}.npy")
        assert found.dtype.name == name
        np.testing.assert_array_equal(found, values)


@pytest.mark.toolchain
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs_spec": specs(("picture", "float32", (1, 64)))}, "the file has no input 'picture' but 'image'"),
        ({"outputs_spec": specs(("scores", "float32", (1, 11)))}, r"output 'scores' is float32 \[1, 10\], not float32 \[1, 11\]"),
        ({"outputs_spec": []}, r"the file has 1 outputs \('scores'\), not 0"),
        ({"delegate": "gpu"}, "has no delegate 'gpu' here"),
        ({"n_samples": 21}, "there are 20 samples on the device, not 21"),
        ({"cores": [1000]}, r"does not let a process run on cores \[1000\] \(.*\): name others with --cores"),
        ({"inputs": ["/nowhere/0.npy"]}, r"samples of 'image' cannot be opened on the device \(No such file"),
        ({"mode": "dance"}, "has no mode 'dance'"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(
    form: str, changes: dict[str, Any], words: str, model: Tiny, files: dict[str, Path], bundles: dict[str, str], tmp_path: Path
) -> None:
    assert re.search(words, refusal(job(model, files[form], **changes), bundles[form], tmp_path / "job")["message"])


@pytest.mark.toolchain
def test_samples_that_are_not_what_was_asked_are_refused(model: Tiny, bundles: dict[str, str], tmp_path: Path) -> None:
    whole = (model.samples / "0.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-1])
    (tmp_path / "other").write_bytes(b"no array")
    np.save(tmp_path / "double.npy", np.zeros((3, 1, 64)))
    np.save(tmp_path / "columns.npy", np.asfortranarray(np.zeros((3, 1, 64), np.float32)))

    found = {
        name: refusal(job(model, model.onnx, inputs=[str(tmp_path / name)]), bundles["onnx"], tmp_path / "job")["message"]
        for name in ("cut.npy", "other", "double.npy", "columns.npy")
    }

    assert "it is shorter than its header says" in found["cut.npy"]
    assert "it begins otherwise" in found["other"]
    assert "are '<f8' (3, 1, 64), not float32" in found["double.npy"]
    assert "not float32 of the input's shape" in found["columns.npy"]


@pytest.mark.toolchain
@pytest.mark.parametrize("mode", ["latency", "check"])
def test_an_op_that_the_runtime_lacks_is_named(mode: str, model: Tiny, files: dict[str, Path], bundles: dict[str, str], tmp_path: Path) -> None:
    foreign = onnx.load(model.onnx)
    foreign.graph.node[0].CopyFrom(helper.make_node("Warp", ["image"], ["scores"], domain="example"))
    foreign.opset_import.append(helper.make_opsetid("example", 1))
    onnx.save(foreign, tmp_path / "foreign.onnx")
    for name in ("Convolution2DTransposeBias", "NobodyKnows"):  # the first is taken when the file is loaded, for the GPU's sake
        code = MAKE_CUSTOM.replace("Convolution2DTransposeBias", name)
        subprocess.run([toolchain("convert").python, "-c", code, files["tflite"], tmp_path / f"{name}.tflite"], check=True)

    names = ("foreign.onnx", "Convolution2DTransposeBias.tflite", "NobodyKnows.tflite")
    found = [refusal(job(model, tmp_path / name, mode), bundles[name.rpartition(".")[2]], tmp_path / "job") for name in names]

    assert [one["op"] for one in found] == ["example:Warp", "Convolution2DTransposeBias", "NobodyKnows"]
    assert all("lacks the op" in one["message"] and "convert without that op" in one["message"] for one in found)


@pytest.mark.toolchain
@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_damaged_is_refused_even_where_the_runtime_crashes(
    form: str, model: Tiny, files: dict[str, Path], bundles: dict[str, str], tmp_path: Path
) -> None:
    whole = files[form].read_bytes()
    path = tmp_path / f"damaged.{form}"
    messages = []
    for content in (b"no model at all", b"", whole[: len(whole) // 2], *(whole[:at] + b"\xff\xff\x7f" + whole[at + 3 :] for at in range(8, 200, 12))):
        path.write_bytes(content)
        told = do(job(model, path), bundles[form], tmp_path / "job")[-1]["result"]
        messages += [told["error"]["message"]] if "error" in told else []

    assert len(messages) >= 3
    assert all(re.search("failed loading the file|crashed (loading|running) the file|the file('s| has)", one) for one in messages), messages


@pytest.mark.toolchain
def test_a_job_runs_on_the_cores_that_it_names(model: Tiny, files: dict[str, Path], bundles: dict[str, str], tmp_path: Path) -> None:
    one = min(os.sched_getaffinity(0))

    told = do(job(model, files["onnx"], "latency", cores=[one]), bundles["onnx"], tmp_path / "job")

    assert told[-1]["result"]["cores"] == [one]


@pytest.mark.toolchain
@pytest.mark.parametrize("form", FORMS)
def test_threads_are_as_many_as_asked(form: str, files: dict[str, Path], model: Tiny, bundles: dict[str, str], tmp_path: Path) -> None:
    asked = job(model, files[form], "latency", threads=3, protocol={**SHORT, "min_s": 60.0})
    with started(asked, bundles[form], tmp_path / "job") as process:
        measuring(process)
        threads = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
        process.kill()

    assert threads == 3


def started(job: dict[str, Any], bundle: str, folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(native.argv(bundle, str(folder)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(native.encode(job, bundle))
    process.stdin.close()
    return process


def measuring(process: subprocess.Popen[bytes]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Wait for the first samples: what was told before them, and they."""
    assert process.stdout is not None
    told = iter(process.stdout)
    before = [json.loads(line) for line in takewhile(lambda line: b"measuring: " not in line, told)]
    first: dict[str, Any] = json.loads(next(told))
    return before, first


@pytest.mark.toolchain
def test_a_runner_that_is_killed_has_told_its_samples(model: Tiny, bundles: dict[str, str], tmp_path: Path) -> None:
    with started(job(model, model.onnx, "latency", protocol={**SHORT, "min_s": 60.0}), bundles["onnx"], tmp_path / "job") as process:
        before, first = measuring(process)
        process.send_signal(signal.SIGKILL)

    assert before[-1]["partial"]["warm_up"]["median_ns"] > 0
    assert len(first["samples_ns"]) > 10


@pytest.mark.toolchain
def test_memory_is_what_the_model_adds(model: Tiny, bundles: dict[str, str], tmp_path: Path) -> None:
    large = tiny(tmp_path / "large", width=2048, n=2, layers=3)  # 33.6 MB of weights

    small_result, large_result = (do(job(one, one.onnx), bundles["onnx"], tmp_path / "job")[-1]["result"] for one in (model, large))

    assert large_result["model_rss_bytes"] - small_result["model_rss_bytes"] > 33e6
    assert large_result["model_rss_bytes"] < 150e6
    assert large_result["peak_rss_bytes"] > large_result["model_rss_bytes"] + 5e6
