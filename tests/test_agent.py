"""The agent as a device runs it: a job on stdin of a bare python3, files in a folder out."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgekit.agent import Agent
from edgekit.errors import AgentError, Unreachable
from edgekit.places import shipped
from edgekit.runtime import agent_archive, platform, site_packages
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Job, run
from edgekit.transport import Completed, connect
from tests.lab.tiny import Tiny, tiny

LINUX = platform()
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SHORT = {"warm_up_min_s": 0.0, "warm_up_max_s": 0.3, "min_runs": 50, "min_s": 0.1, "max_samples": 16384}

# Gives a TFLite file's first op the name of a custom one that no runtime knows.
MAKE_CUSTOM = """
import sys, flatbuffers
from ai_edge_litert import schema_py_generated as schema
model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(open(sys.argv[1], "rb").read(), 0))
code = model.operatorCodes[0]
code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, b"Convolution2DTransposeBias"
builder = flatbuffers.Builder(1024)
builder.Finish(model.Pack(builder), b"TFL3")
open(sys.argv[2], "wb").write(builder.Output())
"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Format → a folder as a device has it."""
    found = {}
    for form in ("tflite", "onnx"):
        folder = tmp_path_factory.mktemp(form)
        with tarfile.open(site_packages(LINUX, form, os.uname().machine, PYTHON)) as archive:
            archive.extractall(folder, filter="data")
        found[form] = str(folder)
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tflite(model: Tiny) -> Path:
    return run(Job("convert", "write_tflite", {"hub": model.onnx}), lambda *_: None).folder / "model.tflite"


def job(model: Tiny, path: Path, site: str, mode: str = "latency", **changes: Any) -> dict[str, Any]:
    specs = [[{"name": one.name, "dtype": one.dtype, "shape": list(one.shape)} for one in side] for side in (model.inputs, model.outputs)]
    return {
        "job": "a1",
        "mode": mode,
        "artifact": str(path),
        "format": path.suffix.removeprefix("."),
        "site": site,
        "inputs": [str(model.samples / "0.npy")],
        "inputs_spec": specs[0],
        "outputs_spec": specs[1],
        "threads": 1,
        "protocol": SHORT,
    } | changes


def start(job: dict[str, Any], folder: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-I", "-S", str(agent_archive(LINUX)), str(folder)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps(job).encode())
    process.stdin.close()
    process.stdin = None
    return process


def do(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a job; its result."""
    process = start(job, folder)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    said = [json.loads(line) for line in out.splitlines()]
    result: dict[str, Any] = said[-1]["result"]
    assert result["job"] == job["job"]
    return {**result, "samples_ns": [one for line in said for one in line.get("samples_ns", [])]}


@pytest.mark.toolchain
@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_all_samples_run_and_the_timed_runs_are_kept_raw(form: str, model: Tiny, tflite: Path, sites: dict[str, str], tmp_path: Path) -> None:
    result = do(job(model, model.onnx if form == "onnx" else tflite, sites[form]), tmp_path / "job")

    assert len(result["samples_ns"]) == result["recorded"] >= 50
    assert sum(result["samples_ns"]) == result["total_ns"]
    assert min(result["samples_ns"]) > 0
    assert result["load_ns"] > 0
    assert result["first_ns"] >= min(result["samples_ns"])
    assert (
        result["delegate"]
        == {
            "onnx": {"asked": "CPUExecutionProvider", "ran": "CPUExecutionProvider", "ops": None, "outside": None},
            "tflite": {"asked": "XNNPACK", "ran": "XNNPACK", "ops": 1, "outside": {}},
        }[form]
    )
    assert result["cores"] == sorted(os.sched_getaffinity(0))


@pytest.mark.toolchain
@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_the_outputs_of_all_samples_are_left_and_the_memory_is_told(form: str, model: Tiny, tflite: Path, sites: dict[str, str], tmp_path: Path) -> None:
    result = do(job(model, model.onnx if form == "onnx" else tflite, sites[form], "check"), tmp_path / "job")

    np.testing.assert_allclose(np.load(tmp_path / "job/0.npy"), np.load(model.reference / "0.npy"), atol=1e-5)
    assert result["peak_rss_bytes"] >= result["floor_rss_bytes"] > result["model_rss_bytes"] > 0


@pytest.mark.toolchain
def test_a_process_runs_on_the_cores_that_it_is_told_to(model: Tiny, sites: dict[str, str], tmp_path: Path) -> None:
    last = max(os.sched_getaffinity(0))

    assert do(job(model, model.onnx, sites["onnx"], cores=[last]), tmp_path / "job")["cores"] == [last]
    assert "does not let a process run on cores [4000]" in do(job(model, model.onnx, sites["onnx"], cores=[4000]), tmp_path / "job")["error"]["message"]


@pytest.mark.toolchain
def test_a_delegate_that_is_not_there_is_refused(model: Tiny, sites: dict[str, str], tmp_path: Path) -> None:
    assert "has no delegate 'gpu' here" in do(job(model, model.onnx, sites["onnx"], delegate="gpu"), tmp_path / "job")["error"]["message"]


@pytest.mark.toolchain
@pytest.mark.parametrize("form", ["onnx", "tflite"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs_spec": [{"name": "picture", "dtype": "float32", "shape": [1, 64]}]}, "the file has no input 'picture' but 'image'"),
        ({"outputs_spec": [{"name": "scores", "dtype": "float32", "shape": [1, 11]}]}, r"output 'scores' is float32 \[1, 10\], not float32 \[1, 11\]"),
        ({"outputs_spec": []}, r"the file has 1 outputs \('scores'\), not 0"),
        ({"inputs": []}, "there are samples for 0 inputs, not 1"),
    ],
)
def test_a_boundary_that_does_not_fit_is_said_in_a_sentence(
    form: str, changes: dict[str, Any], words: str, model: Tiny, tflite: Path, sites: dict[str, str], tmp_path: Path
) -> None:
    result = do(job(model, model.onnx if form == "onnx" else tflite, sites[form], **changes), tmp_path / "job")

    assert re.search(words, result["error"]["message"])


@pytest.mark.toolchain
def test_samples_of_another_dtype_are_refused(model: Tiny, sites: dict[str, str], tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.zeros((3, 1, 64)))

    result = do(job(model, model.onnx, sites["onnx"], inputs=[str(tmp_path / "0.npy")]), tmp_path / "job")

    assert "the samples of 'image' are float64 [3, 1, 64], not float32" in result["error"]["message"]


@pytest.mark.toolchain
@pytest.mark.parametrize("mode", ["latency", "check"])
def test_an_op_that_the_runtime_lacks_is_named(mode: str, model: Tiny, tflite: Path, sites: dict[str, str], tmp_path: Path) -> None:
    foreign = onnx.load(model.onnx)
    foreign.graph.node[0].CopyFrom(helper.make_node("Warp", ["image"], ["scores"], domain="example"))
    foreign.opset_import.append(helper.make_opsetid("example", 1))
    onnx.save(foreign, tmp_path / "foreign.onnx")
    subprocess.run([toolchain("convert").python, "-c", MAKE_CUSTOM, tflite, tmp_path / "foreign.tflite"], check=True)

    found = [do(job(model, tmp_path / f"foreign.{form}", sites[form], mode), tmp_path / "job") for form in ("onnx", "tflite")]

    assert [one["error"]["op"] for one in found] == ["example:Warp", "Convolution2DTransposeBias"]
    assert all("lacks the op" in one["error"]["message"] and "convert without that op" in one["error"]["message"] for one in found)


@pytest.mark.toolchain
@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_a_file_that_is_no_model_is_refused(form: str, model: Tiny, sites: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / f"model.{form}").write_bytes(b"no model at all")

    result = do(job(model, tmp_path / f"model.{form}", sites[form]), tmp_path / "job")

    assert "failed loading the file" in result["error"]["message"]


@pytest.mark.toolchain
def test_memory_is_what_the_model_adds(sites: dict[str, str], model: Tiny, tmp_path: Path) -> None:
    large = tiny(tmp_path / "large", width=2048, n=2, layers=3)  # 33.6 MB of weights

    small_result = do(job(model, model.onnx, sites["onnx"], "check"), tmp_path / "job")
    large_result = do(job(large, large.onnx, sites["onnx"], "check"), tmp_path / "job")

    assert large_result["model_rss_bytes"] - small_result["model_rss_bytes"] > 33e6
    assert large_result["model_rss_bytes"] < 150e6
    assert large_result["peak_rss_bytes"] > large_result["model_rss_bytes"] + 20e6
    assert 20e6 < small_result["pss_bytes"] < small_result["peak_rss_bytes"]
    assert small_result["peak_was_reset"]


@pytest.mark.toolchain
def test_an_agent_that_is_killed_leaves_its_samples(model: Tiny, sites: dict[str, str], tmp_path: Path) -> None:
    process = start(job(model, model.onnx, sites["onnx"], protocol={**SHORT, "min_s": 60.0}), tmp_path / "job")
    assert process.stdout is not None
    told = iter(process.stdout)
    before = [json.loads(line) for line in takewhile(lambda line: b"measuring: " not in line, told)]
    first = json.loads(next(told))
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert before[-1]["partial"]["warm_up"]["median_ns"] > 0
    assert len(first["samples_ns"]) > 10


@pytest.mark.toolchain
def test_a_job_finds_nothing_of_the_one_before(model: Tiny, sites: dict[str, str], tmp_path: Path) -> None:
    do(job(model, model.onnx, sites["onnx"], "check"), tmp_path / "job")

    do(job(model, model.onnx, sites["onnx"]), tmp_path / "job")

    assert list((tmp_path / "job").iterdir()) == []


LYING = """
import json, sys
name = json.load(sys.stdin)["job"]
print(json.dumps({"samples_ns": [1000, 2000, int(sys.argv[1])]}))
print(json.dumps({"result": {"job": name, "recorded": 3, "total_ns": 6000}}))
"""


def test_a_digit_that_was_turned_over_on_the_way_is_found(tmp_path: Path) -> None:
    with connect("local:") as transport:
        told = [Agent(transport, (sys.executable, "-c", LYING, third), lambda job: json.dumps(job).encode(), str(tmp_path)) for third in ("3000", "3001")]

        assert told[0].run({}, deadline_s=60, progress=lambda *_: None).samples_ns == [1000, 2000, 3000]
        with pytest.raises(AgentError, match="the 3 latencies that it measured did not arrive as they were sent"):
            told[1].run({}, deadline_s=60, progress=lambda *_: None)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The agent's own functions."""
    for folder in (shipped("targets") / "common", LINUX.folder):
        monkeypatch.syspath_prepend(str(folder))
    for name in ("agent", "clock", "cpu", "npy", "process", "refusal", "runtimes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "")
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "")
    return __import__("agent")


def test_warm_up_ends_when_steady_and_not_before(agent: Any) -> None:
    steady = agent.warm_up(lambda: time.sleep(0.04), {"warm_up_min_s": 0.0, "warm_up_max_s": 10.0})
    slowing = iter(range(1000))
    unsteady = agent.warm_up(lambda: time.sleep(0.004 * next(slowing)), {"warm_up_min_s": 0.0, "warm_up_max_s": 0.4})

    assert steady["steady"]
    assert 0.36 <= steady["seconds"] < 5.0
    assert 40e6 <= steady["median_ns"] < 60e6
    assert not unsteady["steady"]
    assert unsteady["seconds"] < 2.0


def test_slow_models_run_often_enough_and_fast_ones_long_enough(agent: Any) -> None:
    told: list[int] = []
    ticks = agent.clock.Clock()
    short = {**SHORT, "min_s": 0.2, "max_samples": 1000}

    recorded, total_ns = agent.timed(lambda: time.sleep(0.002), 2_000_000, 1, {**SHORT, "min_s": 0.0}, ticks, lambda text, samples_ns: told.extend(samples_ns))

    assert recorded == len(told) >= 50
    assert total_ns == sum(told)
    assert np.median(told) >= 2_000_000
    assert agent.spacing(1000, short) == 200

    calls: list[int] = []
    recorded, _ = agent.timed(lambda: calls.append(1), 1000, 200, short, ticks, lambda **_: None)

    assert len(calls) == 200 * recorded


class Cut:
    """A transport whose connection ends while an agent speaks: its shell ends with a code and noise, and nothing answers any more."""

    address = "adb:cut"

    def __init__(self, there: bool) -> None:
        self.there = there

    def run(self, argv: tuple[str, ...], *, on_line: Any = None, **_: Any) -> Any:
        if argv != ("agent",):
            if not self.there:
                raise Unreachable(self.address, "no device", argv=argv)
            return Completed(argv, 0, "", "")
        on_line(json.dumps({"samples_ns": [1, 2]}))
        return Completed(argv, 1, "", "protocol fault")


@pytest.mark.parametrize(("there", "words"), [(False, "was lost with its connection"), (True, "failed (protocol fault)")])
def test_an_agent_that_ends_with_its_connection_was_lost(there: bool, words: str) -> None:
    agent = Agent(Cut(there), ("agent",), lambda job: b"", "/folder")  # type: ignore[arg-type]

    told = agent.run({}, deadline_s=1, progress=lambda *_: None)

    assert told.samples_ns == [1, 2]
    assert told.ended is not None
    assert told.ended.startswith(words)
