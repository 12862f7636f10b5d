"""The user's benchmark_model as a runner, held to the tool's documented interface by a stand-in that can do each thing wrong."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.agent import CheckResult, LatencyResult, Told, read
from edgekit.benchmark_model import BenchmarkModelRuns, verified
from edgekit.device import BenchmarkModel, Device
from edgekit.errors import AgentError, InputError
from edgekit.places import shipped
from edgekit.tflite_order import order_of
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Job, run
from edgekit.transport import Completed, Transport, connect
from tests.conftest import missing
from tests.lab.bench import opened, taken
from tests.lab.tiny import Tiny, tiny

SCRIPT = shipped("targets") / "common/benchmark_model.sh"
STAND_IN = Path(__file__).parent / "lab/benchmark_model.py"
SHORT = {"warm_up_min_s": 0.0, "warm_up_max_s": 0.02, "min_runs": 5, "min_s": 0.02, "max_samples": 16384}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The tiny model, and its weights as the file that the stand-in computes."""
    made = tiny(tmp_path_factory.mktemp("tiny"), n=2)
    np.save(made.onnx.parent / "model.npy", (np.random.default_rng(0).standard_normal((64, 10)) / 8).astype(np.float32))
    return made


def tool(folder: Path, lie: str = "", python: str = sys.executable) -> Path:
    path = folder / "benchmark_model"
    path.write_text(f'#!/bin/sh\nexec {python} {STAND_IN} {f"--lie={lie!r}" if lie else ""} "$@"\n')
    path.chmod(0o755)
    return path


def job(model: Tiny, mode: str, **changes: Any) -> dict[str, Any]:
    specs = [[{"name": one.name, "dtype": one.dtype, "shape": list(one.shape)} for one in side] for side in (model.inputs, model.outputs)]
    return {
        "mode": mode,
        "format": "tflite",
        "artifact": str(model.onnx.parent / "model.npy"),
        "inputs": [str(model.samples / "0.npy")],
        "inputs_spec": specs[0],
        "outputs_spec": specs[1],
        "threads": 1,
        "protocol": SHORT,
    } | changes


def do(path: Path, job: dict[str, Any], deadline_s: float = 60.0) -> Told:
    with connect("local:") as transport:
        return BenchmarkModelRuns(transport, str(path), str(path.parent / "a job")).run(job, deadline_s=deadline_s, progress=lambda *_: None)


def test_the_outputs_of_all_samples_come_back_with_the_memory(model: Tiny, tmp_path: Path) -> None:
    told = do(tool(tmp_path), job(model, "check"))

    assert told.result is not None
    found = read(CheckResult, told.result, "local")
    assert (found.peak_rss_bytes, found.model_rss_bytes) == (12.5 * 2**20, 2.25 * 2**20)
    np.testing.assert_allclose(np.load(tmp_path / "a job/0.npy"), np.load(model.reference / "0.npy"), atol=1e-6)


def test_what_it_does_not_tell_of_latency_stays_unknown(model: Tiny, tmp_path: Path) -> None:
    told = do(tool(tmp_path), job(model, "latency", n_samples=1, cores=[0]))

    assert told.result is not None
    found = read(LatencyResult, told.result, "local")
    assert told.samples_ns == []
    assert found.summary is not None
    assert found.summary.n >= 5
    assert found.summary.min_ns <= (found.summary.p50_ns or 0)
    assert found.load_ns > 0
    assert found.first_ns > 0
    assert found.cores == (0,)
    assert found.delegate.model_dump() == {"asked": "XNNPACK", "ran": "XNNPACK", "ops": 4, "outside": {"RESHAPE": 1}, "time_outside": 0.125}


@pytest.mark.parametrize(("delegate", "asked", "ran"), [("cpu", "none", "none"), ("xnnpack", "XNNPACK", "XNNPACK"), ("gpu", "GPU", "XNNPACK, GPU")])
def test_the_delegate_that_was_asked_for_is_the_one_that_ran(delegate: str, asked: str, ran: str, model: Tiny, tmp_path: Path) -> None:
    told = do(tool(tmp_path), job(model, "latency", n_samples=1, delegate=delegate))

    assert told.result is not None
    found = told.result["delegate"]
    assert (found["asked"], found["ran"]) == (asked, ran)


def test_outputs_that_change_from_run_to_run_are_the_ones_that_count(model: Tiny, tmp_path: Path) -> None:
    do(tool(tmp_path, "state"), job(model, "check"))

    found, reference = np.load(tmp_path / "a job/0.npy"), np.load(model.reference / "0.npy")
    np.testing.assert_allclose(found[1:], reference[1:], atol=1e-6)
    assert np.abs(found[0] - reference[0]).max() > 0.4


@pytest.mark.parametrize(
    ("lie", "changes", "words"),
    [
        ("crash", {}, r"benchmark_model crashed \(SIGSEGV\)"),
        ("op", {}, r"benchmark_model failed \(Encountered unresolved custom op: Convolution2DTransposeBias\.\): convert the file again"),
        ("short", {}, r"wrote 36 bytes of outputs and not 40: the file's outputs are not the model's"),
        ("forgets", {}, r"ended well but wrote no outputs \(--output_filepath\), so it cannot be verified"),
        ("old", {}, r"does not know --output_filepath, so what it computes cannot be verified"),
        ("compiled", {}, r"does not know --input_layer, --input_layer_shape, --input_layer_value_files, --output_filepath"),
        ("no gpu", {"delegate": "gpu"}, r"failed \(Failed to apply GPU delegate\.\)"),
        ("untaken", {"delegate": "gpu"}, r"the GPU delegate was asked for and takes no operator of this file: leave out --delegate"),
        ("silent", {"delegate": "gpu"}, r"nothing that benchmark_model printed says that the GPU delegate was applied"),
        ("", {"inputs_spec": [{"name": "image", "dtype": "float32", "shape": [1, 32]}]}, r"The size of 0\.in is 128 bytes\. It should be 256 bytes"),
        ("", {"artifact": "/dev/null/absent.npy"}, r"benchmark_model failed \("),
        ("", {"inputs": ["/etc/passwd"]}, r"the samples on the device cannot be read"),
    ],
)
def test_a_failure_is_one_sentence(lie: str, changes: dict[str, Any], words: str, model: Tiny, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=rf"^local: .*{words}") as caught:
        do(tool(tmp_path, lie), job(model, "check", **changes))

    assert "\n" not in str(caught.value)


def test_figures_that_cannot_all_be_true_are_no_result(model: Tiny, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="cannot be read with certainty"):
        do(tool(tmp_path, "garbled"), job(model, "latency", n_samples=1))


def test_one_that_hangs_is_stopped(model: Tiny, tmp_path: Path) -> None:
    told = do(tool(tmp_path, "hang"), job(model, "check"), deadline_s=1.0)

    assert (told.result, told.ended) == (None, "was stopped after 1 s; allow more time or use fewer samples")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"delegate": "tpu"}, "'tpu'.*use one of cpu, xnnpack, gpu"),
        ({"inputs_spec": [{"name": "image", "dtype": "float32", "shape": []}]}, "cannot be given an input without dimensions"),
        ({"inputs_spec": [{"name": "image", "dtype": "float32", "shape": ["batch", 64]}]}, "needs numbers and fixed sizes"),
    ],
)
def test_what_it_cannot_be_asked_is_refused_before_it_runs(changes: dict[str, Any], words: str, model: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        do(tmp_path / "absent", job(model, "check", **changes))


def test_a_tool_for_another_processor_is_named(model: Tiny, tmp_path: Path) -> None:
    elf = bytearray(Path("/bin/true").read_bytes()[:64])
    elf[18] = 183 if elf[18] != 183 else 62
    path = tmp_path / "benchmark_model"
    path.write_bytes(elf)
    path.chmod(0o755)

    with pytest.raises(AgentError, match=r"is built for (aarch64|x86_64), and the device is \w+: give the build for it in lab\.toml"):
        do(path, job(model, "check"))


@dataclass
class Garbling:
    """A transport to a device whose answers are damaged on the way."""

    lines: Sequence[str]
    address: str = "adb:1A2B"

    def run(self, argv: Sequence[str], *, on_line: Callable[[str], None], **_: object) -> Completed:
        for line in self.lines:
            on_line(line)
        return Completed(tuple(argv), 0, "", "")


@pytest.mark.parametrize(
    "lines",
    [
        ["= machine x y", "= code ?", "= failed", "= end"],
        ["= machine 62", "= code 1\x00", "= failed", "= end"],
        ["= size many", "= end"],
        ["| count=1 curr=1", "= code 0", "= done", "= end"],
    ],
)
def test_an_answer_that_is_damaged_is_an_error_in_one_sentence(lines: list[str], model: Tiny) -> None:
    runs = BenchmarkModelRuns(cast(Transport, Garbling(lines)), "/tool", "/folder")

    with pytest.raises(AgentError, match=r"^adb:1A2B: .*benchmark_model"):
        runs.run(job(model, "latency"), deadline_s=1.0, progress=lambda *_: None)


def test_an_answer_without_its_end_is_no_result(model: Tiny) -> None:
    told = BenchmarkModelRuns(cast(Transport, Garbling(["= code 0", "= en"])), "/tool", "/folder").run(
        job(model, "check"), deadline_s=1.0, progress=lambda *_: None
    )

    assert told.result is None
    assert (told.ended or "").startswith("was ended with the shell that started it")


def test_only_the_copy_that_lab_toml_names_is_used(tmp_path: Path) -> None:
    path = tool(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    assert verified(path, digest.upper()) == path
    with pytest.raises(InputError, match=rf"has the SHA-256 {digest}, and lab\.toml says {'0' * 64}"):
        verified(path, "0" * 64)
    with pytest.raises(InputError, match="there is no benchmark_model at"):
        verified(tmp_path / "absent", digest)


@pytest.mark.parametrize(("shell", "tools"), [("dash", ""), ("bash", ""), ("busybox ash", "busybox"), ("mksh", "toybox")])
def test_its_script_runs_under_each_shell_and_with_each_ones_tools(shell: str, tools: str, model: Tiny, tmp_path: Path) -> None:
    if not (shutil.which(shell.split()[0]) and shutil.which(tools or "sh")):
        missing(f"{shell} {tools}", "apt-get install mksh busybox-static toybox")
    path = tool(tmp_path)
    (tmp_path / "bin").mkdir()
    argv = [tools, *(["--list"] if tools == "busybox" else [])]
    applets = subprocess.run(argv, capture_output=True, text=True).stdout.split() if tools else []
    for name in ("od", "tail", "head", "dd", "cat", "cp", "chmod", "rm", "mkdir", "sed", "wc", "uname", "printf"):  # Debian's toybox lacks some
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(tools if name in applets else name)))
    with connect("local:") as transport:
        runs = BenchmarkModelRuns(transport, str(path), str(tmp_path / "a job"))
        asked = job(model, "check")
        script = f"{runs.assignments(asked, runs.order(asked))}\n{SCRIPT.read_text()}\ncheck\n"
    env = {**os.environ, "PATH": f"{tmp_path}/bin" if tools else os.environ["PATH"]}

    done = subprocess.run([str(shutil.which(shell.split()[0])), *shell.split()[1:], "-s"], input=script, capture_output=True, text=True, timeout=60, env=env)

    assert done.stdout.endswith("= done\n= end\n"), done.stdout + done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "a job/0.npy"), np.load(model.reference / "0.npy"), atol=1e-6)


@pytest.mark.toolchain
def test_inputs_and_outputs_go_by_the_order_of_the_file(tmp_path: Path) -> None:
    """Two inputs and two outputs of different sizes, run by LiteRT's interpreter."""
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("z", 3), ("a", 5), ("twice", 3), ("halves", 5))}
    constants = [numpy_helper.from_array(np.full(1, value, np.float32), name) for name, value in (("two", 2.0), ("half", 0.5))]
    nodes = [helper.make_node("Mul", ["z", "two"], ["twice"]), helper.make_node("Mul", ["a", "half"], ["halves"])]
    graph = helper.make_graph(nodes, "pair", [values["z"], values["a"]], [values["twice"], values["halves"]], constants)
    hub = tmp_path / "pair.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), hub)
    artifact = run(Job("convert", "write_tflite", {"hub": hub}), lambda *_: None).folder / "model.tflite"
    samples = [np.arange(2 * size, dtype=np.float32).reshape(2, 1, size) for size in (3, 5)]
    for index, one in enumerate(samples):
        np.save(tmp_path / f"{index}.npy", one)
    specs = {name: {"name": name, "dtype": "float32", "shape": [1, size]} for name, size in (("z", 3), ("a", 5), ("twice", 3), ("halves", 5))}

    do(
        tool(tmp_path, python=str(toolchain("convert").python)),
        {
            "mode": "check",
            "artifact": str(artifact),
            "inputs": [str(tmp_path / "0.npy"), str(tmp_path / "1.npy")],
            "inputs_spec": [specs["z"], specs["a"]],
            "outputs_spec": [specs["twice"], specs["halves"]],
            "threads": 1,
            "protocol": SHORT,
        },
    )

    np.testing.assert_allclose(np.load(tmp_path / "a job/0.npy"), 2 * samples[0])
    np.testing.assert_allclose(np.load(tmp_path / "a job/1.npy"), samples[1] / 2)
    with pytest.raises(InputError, match=r"the file has .*'z'.* where the model has 'z', 'b'"):
        order_of(artifact.read_bytes(), ["z", "b"], ["twice", "halves"])


def test_what_is_no_tflite_file_has_no_order() -> None:
    for content in (b"", b"TFL3", bytes(64), b"\xff" * 64):
        with pytest.raises(InputError, match="no TFLite file that can be read"):
            order_of(content, ["a", "b"], ["c"])


@pytest.mark.toolchain
def test_a_file_is_measured_by_the_copy_that_lab_toml_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a device of lab.toml to a record: outputs compared, a median, operators outside the delegate, and None for what is not told."""
    model = tiny(tmp_path / "tiny", n=3)
    artifact = run(Job("convert", "write_tflite", {"hub": model.onnx}), lambda *_: None).folder / "model.tflite"
    path = tool(tmp_path, python=str(toolchain("convert").python))
    given = BenchmarkModel(path, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "cache"))  # a device of its own

    with opened(device=Device("phone", "local:", None, runner="benchmark_model", benchmark_model=given)) as bench:
        found = taken(bench, model.subject(artifact))
    with pytest.raises(InputError, match=r"and lab\.toml says 0000"), opened(device=unlike(path)) as bench:
        taken(bench, model.subject(artifact))

    assert found.parity.max_rel < 1e-5
    assert found.latency is not None
    assert (found.latency.p90_ns, found.latency.p99_ns, found.latency.p50_low_ns) == (None, None, None)
    assert found.latency.n >= 50
    assert found.samples_ns == ((),)
    assert found.memory is not None
    assert found.memory.model_rss_bytes == 2.25 * 2**20
    assert found.conditions.runner == "benchmark_model"
    assert (found.conditions.delegate_ran, found.conditions.ops_outside, found.conditions.time_outside) == ("XNNPACK", {"RESHAPE": 1}, 0.125)


def unlike(path: Path) -> Device:
    return Device("phone", "local:", None, runner="benchmark_model", benchmark_model=BenchmarkModel(path, "0" * 64))
