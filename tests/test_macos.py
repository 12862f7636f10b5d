"""What would run on a Mac, run here: its agent with a stand-in for coremltools, its conditions, and the packages it would get."""

from __future__ import annotations

import json
import os
import platform as python_platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from uv import find_uv_bin

import edgekit.toolchains
from edgekit.agent import CheckResult, LatencyResult, read
from edgekit.conditions import Told, in_words, read_state, read_told, unfit
from edgekit.doctor import libc_finding
from edgekit.errors import AgentError, DeviceError, InputError
from edgekit.places import shipped
from edgekit.runtime import Platform, agent_archive, contents, platform, platform_of
from edgekit.toolchains.jobs import Job, run
from edgekit.transport import Completed, Transport, connect
from tests.conftest import missing
from tests.lab.bench import opened, taken
from tests.lab.tiny import Tiny, tiny

MACOS = platform("macos")
JOB_PROTOCOL = {"warm_up_min_s": 0.0, "warm_up_max_s": 0.3, "min_runs": 50, "min_s": 0.1, "max_samples": 16384}

# The part of coremltools that the agent uses; a "package" is a folder with weights and what its description would say.
STAND_IN = """
import enum, json, types
import numpy as np

__version__ = "9.0"
CODES = {"float16": 65552, "float32": 65568, "int32": 131104}

class ComputeUnit(enum.Enum):
    ALL, CPU_AND_GPU, CPU_ONLY, CPU_AND_NE = range(1, 5)

def feature(name, dtype, shape):
    array = types.SimpleNamespace(dataType=CODES[dtype], shape=shape)
    return types.SimpleNamespace(name=name, type=types.SimpleNamespace(multiArrayType=array))

class MLModel:
    def __init__(self, path, compute_units):
        self.units, self.path = compute_units, path
        with open(f"{path}/description.json") as file:
            self.said = json.load(file)
        self.weights = np.load(f"{path}/weights.npy")

    def get_spec(self):
        sides = {side: [feature(*one) for one in self.said[side]] for side in ("input", "output")}
        return types.SimpleNamespace(description=types.SimpleNamespace(metadata=types.SimpleNamespace(userDefined=self.said["metadata"]), **sides))

    def predict(self, data):
        (name, dtype, shape), (out, *_) = self.said["input"][0], self.said["output"][0]
        assert list(data) == [name] and data[name].dtype == dtype and list(data[name].shape) == shape
        return {out: data[name].astype(np.float32) @ self.weights}

    def get_compiled_model_path(self):
        return self.path + "/compiled.mlmodelc"

class MLCPUComputeDevice: pass
class MLNeuralEngineComputeDevice: pass

def operation(name, device=None, *inner):
    usage = device and types.SimpleNamespace(preferred_compute_device=device(), supported_compute_devices=[])
    return types.SimpleNamespace(operator_name=name, usage=usage, blocks=[types.SimpleNamespace(operations=inner)] if inner else [])

class MLComputePlan:
    @classmethod
    def load_from_path(cls, path, compute_units=ComputeUnit.ALL):
        if not path.endswith(".mlmodelc"):
            raise ValueError(path)
        plan = cls()
        fast = MLCPUComputeDevice if compute_units is ComputeUnit.CPU_ONLY else MLNeuralEngineComputeDevice
        inner = operation("ios16.add", fast)
        operations = [operation("const"), operation("ios16.linear", fast), operation("ios16.cond", MLCPUComputeDevice, inner)]
        main = types.SimpleNamespace(block=types.SimpleNamespace(operations=operations))
        plan.model_structure = types.SimpleNamespace(program=types.SimpleNamespace(functions={"main": main}))
        return plan

    def get_compute_device_usage_for_mlprogram_operation(self, operation):
        return operation.usage

models = types.SimpleNamespace(MLModel=MLModel, compute_plan=types.SimpleNamespace(MLComputePlan=MLComputePlan))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site-packages with numpy and the stand-in."""
    folder = tmp_path / "site"
    (folder / "coremltools").mkdir(parents=True)
    (folder / "coremltools/__init__.py").write_text(STAND_IN)
    (folder / "numpy").symlink_to(Path(np.__file__).parent)
    return folder


def package(folder: Path, dtype: str = "float32", output: str = "scores") -> Path:
    """The tiny model as the stand-in takes it: its output is called `var_1`, which the metadata says is `scores`."""
    path = folder / "tiny.mlpackage"
    path.mkdir()
    weights = (np.random.default_rng(0).standard_normal((64, 10)) / 8).astype(np.float32)
    np.save(path / "weights.npy", weights)
    said = {"input": [["image", dtype, [1, 64]]], "output": [["var_1", "float32", [1, 10]]], "metadata": {"edgekit.name.var_1": output}}
    (path / "description.json").write_text(json.dumps(said))
    return path


def do(model: Tiny, path: Path, site: Path, folder: Path, mode: str = "latency", **changes: Any) -> dict[str, Any]:
    """Run a job of the Mac's agent; its result."""
    job = {
        "job": "a1",
        "mode": mode,
        "artifact": str(path),
        "format": "coreml",
        "site": str(site),
        "inputs": [str(model.samples / "0.npy")],
        "inputs_spec": [{"name": "image", "dtype": "float32", "shape": [1, 64]}],
        "outputs_spec": [{"name": "scores", "dtype": "float32", "shape": [1, 10]}],
        "threads": 1,
        "protocol": JOB_PROTOCOL,
    } | changes
    argv = [sys.executable, "-I", "-S", str(agent_archive(MACOS)), str(folder)]
    done = subprocess.run(argv, input=json.dumps(job), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    result: dict[str, Any] = said[-1]["result"]
    return {**result, "samples_ns": [one for line in said for one in line.get("samples_ns", [])]}


def test_core_ml_runs_all_samples_and_tells_what_it_held(model: Tiny, site: Path, tmp_path: Path) -> None:
    result = do(model, package(tmp_path), site, tmp_path / "job", "check")
    del result["samples_ns"]
    found = read(CheckResult, result, "local")

    np.testing.assert_allclose(np.load(tmp_path / "job/0.npy"), np.load(model.reference / "0.npy"), atol=1e-5)
    assert found.peak_rss_bytes
    assert (found.pss_bytes, found.cgroup_peak_bytes, found.peak_was_reset) == (None, None, False)
    if sys.platform == "linux":  # which has no proc_pid_rusage
        assert (found.model_rss_bytes, found.phys_footprint_bytes) == (None, None)


@pytest.mark.parametrize(
    ("delegate", "ran", "outside"),
    [
        (None, "planned: Neural Engine (2 of 3 operators), CPU (1 of 3 operators)", {"cond": 1}),
        ("cpu", "planned: CPU (3 of 3 operators)", {}),
        ("cpu_ne", "planned: Neural Engine (2 of 3 operators), CPU (1 of 3 operators)", {"cond": 1}),
        ("cpu_gpu", "planned: Neural Engine (2 of 3 operators), CPU (1 of 3 operators)", {"linear": 1, "cond": 1, "add": 1}),
    ],
)
def test_timed_runs_are_kept_with_the_place_of_every_operator(
    delegate: str | None, ran: str, outside: dict[str, int], model: Tiny, site: Path, tmp_path: Path
) -> None:
    result = do(model, package(tmp_path), site, tmp_path / "job", delegate=delegate)

    assert len(result.pop("samples_ns")) >= 50
    found = read(LatencyResult, result, "local")
    assert found.load_ns > 0
    assert found.runtime.name == "Core ML"
    assert found.runtime.version.endswith("by coremltools 9.0")
    asked = f"{delegate or 'all'} compute units"
    assert found.delegate.model_dump() == {"asked": asked, "ran": ran, "ops": 3, "outside": outside, "time_outside": None}


def test_a_mac_without_compute_plans_does_not_tell_where_operators_run(model: Tiny, site: Path, tmp_path: Path) -> None:
    init = site / "coremltools/__init__.py"
    init.write_text(init.read_text().replace('"/compiled.mlmodelc"', '"/compiled"'))

    result = do(model, package(tmp_path), site, tmp_path / "job")

    assert (result["delegate"]["ran"], result["delegate"]["ops"], result["delegate"]["outside"]) == ("not told by Core ML", None, None)


def test_other_compute_units_are_refused(model: Tiny, site: Path, tmp_path: Path) -> None:
    result = do(model, package(tmp_path), site, tmp_path / "job", delegate="gpu")

    assert result["error"]["message"] == "Core ML has no compute units 'gpu': use one of all, cpu, cpu_gpu, cpu_ne"


def test_what_core_ml_narrows_is_given_to_it_narrowed(model: Tiny, site: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.arange(128).reshape(2, 1, 64))
    specs: dict[str, Any] = {
        "inputs_spec": [{"name": "image", "dtype": "int64", "shape": [1, 64]}],
        "outputs_spec": [{"name": "scores", "dtype": "float64", "shape": [1, 10]}],
    }

    do(model, package(tmp_path, "int32"), site, tmp_path / "job", "check", inputs=[str(tmp_path / "0.npy")], **specs)

    assert np.load(tmp_path / "job/0.npy").dtype == np.float64


@pytest.mark.parametrize(
    ("dtype", "output", "words"),
    [
        ("float16", "scores", r"input 'image' is float16 \[1, 64\], not float32 \[1, 64\]"),
        ("float32", "classes", r"the file has no output 'scores' but 'classes'"),
    ],
)
def test_a_boundary_that_does_not_fit_is_said(dtype: str, output: str, words: str, model: Tiny, site: Path, tmp_path: Path) -> None:
    result = do(model, package(tmp_path, dtype, output), site, tmp_path / "job")

    assert re.search(words, result["error"]["message"])


# What Apple's manual pages of sysctl, sw_vers, vm_stat and pmset document, from a laptop that is warm and on its battery.
PROGRAMS = {
    "sysctl": """[ "$1" != -n ] || { echo '{ 1.80 1.95 2.00 }'; exit; }
echo 'hw.model: Mac15,3
hw.ncpu: 8
hw.memsize: 8589934592
machdep.cpu.brand_string: Apple M3
sysctl.proc_translated: 0
kern.boottime: { sec = 1700000000, usec = 123456 } Tue Nov 14 22:13:20 2023
kern.bootsessionuuid: 0A1B2C3D-0000-4111-8222-ABCDEF012345'""",
    "sw_vers": 'case "$1" in -productVersion) echo 15.1;; -buildVersion) echo 24B83;; esac',
    "vm_stat": """echo 'Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               10000.
Pages active:                            123456.
Pages inactive:                           20000.
Pages speculative:                         2000.
"Translation faults":                 345678901.'""",
    "pmset": r"""case "$2" in
therm) printf '2026-01-01 12:00:00 +0000 CPU Power notify\n\tCPU_Scheduler_Limit \t= 100\n\tCPU_Available_CPUs \t= 8\n\tCPU_Speed_Limit \t= 70\n';;
batt) printf "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=4653155)\t84%%; discharging; 5:12 remaining present: true\n";;
esac""",
    "uname": 'case "$1" in -m) echo arm64;; -r) echo 24.1.0;; -n) echo mac.local;; *) echo Darwin;; esac',
}
SCRIPT = b"".join((folder / "conditions.sh").read_bytes() for folder in (shipped("targets") / "common", MACOS.folder))


def conditions(path: str, part: str = "all", shell: str = "sh") -> str:
    argv = [str(shutil.which(shell)), "-s", "--", sys.executable, part]
    done = subprocess.run(argv, input=SCRIPT, env={**os.environ, "PATH": path}, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode()


def test_what_is_not_told_is_absent(tmp_path: Path) -> None:
    for name in ("uname", "date", "id", "df"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))

    told = read_told(conditions(str(tmp_path)))

    assert told.identity.keys() == {"hostname", "machine", "kernel", "python"}
    assert told.state == {}
    assert not told.emulated


@pytest.mark.parametrize("shell", ["sh", "bash"])  # /bin/sh of a Mac is bash, dash or zsh in sh's manner
def test_what_a_mac_tells_is_read_as_documented(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        missing(f"the shell {shell}", f"sudo apt-get install {shell}")
    for name, script in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    told = read_told(conditions(f"{tmp_path}:/bin:/usr/bin", shell=shell))
    state = read_state(conditions(f"{tmp_path}:/bin:/usr/bin", "state", shell))

    expected = {"model": "Mac15,3", "processor": "Apple M3", "memory_kb": "8388608", "os": "macOS 15.1 (24B83)", "machine": "arm64", "cores": "8"}
    assert expected.items() <= told.identity.items()
    assert not told.emulated
    if sys.platform == "darwin":  # elsewhere /proc tells these first
        assert told.boot_id == "0a1b2c3d-0000-4111-8222-abcdef012345"
        assert told.uptime_s == pytest.approx(told.time_s - 1_700_000_000, abs=1)
    assert state == told.state
    assert {"speed_limit": "70 %", "battery": "84 %, discharging", "load": "1.80", "available_memory": "524.3 MB"}.items() <= in_words(state).items()
    assert unfit(state) == "held to 70 % of its speed"
    assert libc_finding("", told, "", MACOS.description.minimum_macos).verdict == "ok"
    older = Told(**{**{name: getattr(told, name) for name in told.__slots__}, "identity": {**told.identity, "os": "macOS 13.6 (22G120)"}})
    assert (libc_finding("", older, "", MACOS.description.minimum_macos).cure or "").startswith("install macOS 15.0 or later")


@dataclass
class Saying:
    """A transport to a device that answers every command with one line."""

    line: str
    address: str = "ssh:somewhere"

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        assert "uname -s" in argv[-1]
        return Completed(tuple(argv), 0, self.line + "\n", "")


def test_a_device_is_asked_which_platform_it_is() -> None:
    def found(line: str) -> Platform:
        return platform_of(cast(Transport, Saying(line)))

    assert [found(line).folder.name for line in ("Linux", "Darwin")] == ["linux", "macos"]
    with pytest.raises(DeviceError, match=r"^ssh:somewhere: it runs FreeBSD: use a device with one of Linux, .*Darwin$"):
        found("FreeBSD")
    assert platform_of(connect("local:")).folder.name == {"Darwin": "macos"}.get(python_platform.system(), "linux")


def test_a_mac_runs_the_versions_that_its_toolchain_is_locked_to() -> None:
    lock = (Path(edgekit.toolchains.__file__).parent / "convert/lock-macos-arm64.txt").read_text()

    for form in MACOS.description.runtimes:
        requirements, _ = contents(MACOS.description, form, "arm64", "3.13")
        assert [one for one in requirements if not re.search(rf"(?m)^{re.escape(one)}\b", lock)] == []


@pytest.mark.toolchain
@pytest.mark.parametrize("python", MACOS.description.pythons)
@pytest.mark.parametrize("form", sorted(MACOS.description.runtimes))
def test_there_are_wheels_for_a_mac_and_core_ml_has_all_it_needs(form: str, python: str, tmp_path: Path) -> None:
    requirements, _ = contents(MACOS.description, form, "arm64", python)
    (tmp_path / "in.txt").write_text("\n".join(requirements))
    argv = ["--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:", "--python-version", python, str(tmp_path / "in.txt")]
    argv += [] if form == "coreml" else ["--no-deps"]  # of the others only what an inference imports is kept
    platform_of_wheels = ["--python-platform", MACOS.description.machines["arm64"]]
    env = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": MACOS.description.minimum_macos}

    done = subprocess.run([find_uv_bin(), "pip", "compile", *platform_of_wheels, *argv], env=env, capture_output=True, text=True)

    if done.returncode != 0 and re.search(r"(?i)failed to fetch|error sending request|dns error|connect", done.stderr):
        missing("the package index", "connect to the network")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(requirements)


def platform_here(folder: Path, packages: str = "") -> None:
    """The Mac's platform as the user's own for this machine, below that folder; `packages` in place of Core ML's."""
    shutil.copytree(MACOS.folder, folder / "targets/linux", ignore=shutil.ignore_patterns("__pycache__"))
    machine = os.uname().machine
    path = folder / "targets/linux/target.toml"
    text = path.read_text().replace('arm64 = "aarch64-apple-darwin"', f'{machine} = "{platform("linux").description.machines[machine]}"')
    if packages:
        text = re.sub(r"(?s)(\[runtimes\.coreml\.packages\]\n).*?\n\n", rf"\1{packages}\n\n", text)
    path.write_text(text)


def wheel_of_stand_in(folder: Path) -> None:
    """The stand-in as a wheel of coremltools of a version that nobody else has."""
    files = {
        "coremltools/__init__.py": STAND_IN,
        "coremltools-99.dist-info/METADATA": "Metadata-Version: 2.1\nName: coremltools\nVersion: 99\n",
        "coremltools-99.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: edgekit\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files["coremltools-99.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files) + "coremltools-99.dist-info/RECORD,,\n"
    with zipfile.ZipFile(folder / "coremltools-99-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


@pytest.mark.toolchain
def test_a_package_is_measured_and_its_record_says_that_no_mac_was_tried(model: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel_of_stand_in(tmp_path)
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "cache"))
    platform_here(tmp_path, 'coremltools = "99"')
    monkeypatch.chdir(tmp_path)

    with opened() as bench:
        subject = model.subject(package(tmp_path))
        found = taken(bench, subject)
        np.save(subject.path / "weights.npy", np.zeros((64, 10), np.float32))
        with pytest.raises(InputError, match=r"tiny\.mlpackage has changed since it was made"):
            taken(bench, subject)

    assert found.latency is not None
    assert found.parity.max_rel < 1e-5
    assert found.conditions.runtime == "Core ML"
    assert found.conditions.ops_outside == {"cond": 1}
    assert any(note.startswith("untested on hardware: ") for note in found.notes)


@pytest.mark.toolchain
@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac can run it: test_measure does")
def test_the_genuine_coremltools_loads_a_package_and_stops_where_a_mac_would_run_it(model: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run(Job("convert", "write_coreml", {"hub": model.onnx}, {"precision": "fp32"}), lambda *_: None).folder / "model.mlpackage"
    platform_here(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "cache"))  # a device of its own

    with opened() as bench, pytest.raises(AgentError, match=r"Core ML .* failed running the file \(Model prediction is only supported on macOS"):
        taken(bench, model.subject(path))
