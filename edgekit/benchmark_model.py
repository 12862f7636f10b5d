"""Jobs in, what the user's own `benchmark_model` made of them on a device out; it takes the place of an agent.

`benchmark_model` is a program of LiteRT's (`tflite/tools/benchmark`) for whatever LiteRT runs on, GPUs of phones among that. It comes
in no package: the user names a copy and its SHA-256 in lab.toml. It reads inputs from files (`--input_layer_value_files`, raw bytes) and
writes the outputs of its last run, all in one file (`--output_filepath`), so that what it measures is verified like everything else.
What it does not tell stays unknown: it keeps its samples to itself, and only some builds print a median.

Each sample is run in a process of its own, since the tool takes its inputs once; sample 0 is run many times in one process and its last
outputs count, so that a file that is right only once is found. The device's half is `targets/common/benchmark_model.sh`.

Held to the tool's sources and documentation, with a stand-in that follows them: no genuine copy could be had where edgekit is tested.
"""

from __future__ import annotations

import math
import re
import shlex
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.agent import PULL_S, Progress, Told
from edgekit.benchmark_model_told import DELEGATES, broken, latency, memory, undelegated
from edgekit.errors import AgentError, DeviceTimeout, InputError
from edgekit.facts import benchmark_model as facts
from edgekit.files import sha256_file
from edgekit.places import shipped
from edgekit.tflite_order import Order, order_of
from edgekit.transport import Transport
from edgekit.transport.streams import last_line

NEEDED = {"output_filepath", "input_layer", "input_layer_shape", "input_layer_value_files", "use_gpu", "use_xnnpack"}
MACHINES = {62: ("x86_64",), 183: ("aarch64", "arm64"), 40: ("armv7l", "armv8l", "aarch64"), 3: ("i386", "i686", "x86_64")}
"""e_machine of an ELF file → `uname -m` of the devices that may run it."""


ONCE = ("--num_runs=1", "--min_secs=0", "--warmup_runs=0", "--warmup_min_secs=0")
CHECK = ("--num_runs=10", "--min_secs=0.5", "--warmup_runs=0", "--warmup_min_secs=0", "--report_peak_memory_footprint=true")
PROFILE = ("--num_runs=20", "--min_secs=0.5", "--warmup_runs=1", "--warmup_min_secs=0", "--enable_op_profiling=true")
LONGEST_S = 150
"""After which the tool ends by itself, unless told otherwise."""

ANSWER = re.compile(r"= (\w+) ?(.*)")


def verified(path: Path, sha256: str) -> Path:
    """The user's copy, if it is the one that lab.toml says.

    Raises:
        InputError: it is not there, or has another SHA-256.
    """
    if not path.is_file():
        raise InputError(f"there is no benchmark_model at {path}, where lab.toml has it: correct the path")
    found = sha256_file(path)
    if found != sha256.lower():
        raise InputError(f"{path} has the SHA-256 {found}, and lab.toml says {sha256.lower()}: correct the one that is wrong")
    return path


@dataclass(slots=True)
class Answer:
    """What the device's half said: its own words, and what the tool printed in each of its runs that are shown."""

    words: list[tuple[str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=lambda: [""])

    def take(self, line: str) -> None:
        if line.startswith("| "):
            self.texts[-1] += line[2:] + "\n"
        elif match := ANSWER.fullmatch(line):
            self.words.append((match[1], match[2]))
            if match[1] == "profile":
                self.texts.append("")


@dataclass(frozen=True, slots=True)
class BenchmarkModelRuns:
    """The tool on a device, and the folder there that its jobs write to."""

    transport: Transport
    tool: str
    folder: str

    def run(self, job: Mapping[str, Any], *, deadline_s: float, progress: Progress) -> Told:
        """Run a job of the modes `check` and `latency` to its end.

        Raises:
            InputError: the tool cannot be given such inputs, or that delegate.
            AgentError: it does not run there, refused the file or the delegate, or told nothing that is sure.
            DeviceError: the connection, the device's disk.
        """
        order = self.order(job)
        script = f"{self.assignments(job, order)}\n{(shipped('targets') / 'common' / 'benchmark_model.sh').read_text(encoding='utf-8')}\n"
        script += "check\n" if job["mode"] == "check" else "time_it\n"
        answer = Answer()

        def listen(line: str) -> None:
            answer.take(line)
            if line.startswith("= sample "):
                number, _, of = line.removeprefix("= sample ").partition(" ")
                progress(f"running the samples: {number} of {of}", None)

        progress("running the samples" if job["mode"] == "check" else "measuring", None)
        try:
            done = self.transport.run(["sh", "-s"], stdin=script.encode(), timeout_s=deadline_s, check=False, on_line=listen)
        except DeviceTimeout:
            return Told(ended=f"was stopped after {deadline_s:.0f} s; allow more time or use fewer samples")
        if answer.words[-1:] != [("end", "")]:
            reason = signal.Signals(done.code - 128).name if done.code - 128 in set(signal.Signals) else f"code {done.code}"
            return Told(ended=f"was ended with the shell that started it ({reason}); look at the device with `edgekit doctor`, then repeat the command")
        told = [facts.parse(text) for text in answer.texts]
        self.require(answer, told[0], job)
        result = memory(told[0]) if job["mode"] == "check" else latency(told, job.get("delegate"), job.get("cores") or ())
        if result is None:
            message = "what benchmark_model printed cannot be read with certainty: repeat the command, or give another build of it"
            raise AgentError(self.transport.address, message, argv=[self.tool], stdout=answer.texts[0])
        return Told(result={"job": "benchmark_model", **result})

    def pull(self, name: str, destination: Path) -> Path:
        """Fetch a file that a job wrote."""
        self.transport.pull(f"{self.folder}/{name}", destination, timeout_s=PULL_S)
        return destination

    def order(self, job: Mapping[str, Any]) -> Order:
        """In which order the file has its inputs and outputs: the tool knows them by their place only."""
        if len(job["inputs_spec"]) == len(job["outputs_spec"]) == 1:
            return Order((0,), (0,))
        with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
            local = Path(scratch) / "model.tflite"
            self.transport.pull(job["artifact"], local, timeout_s=PULL_S)
            return order_of(local.read_bytes(), *([spec["name"] for spec in job[side]] for side in ("inputs_spec", "outputs_spec")))

    def assignments(self, job: Mapping[str, Any], order: Order) -> str:
        """What the script is to know, as shell."""
        inputs = [(job["inputs"][index], job["inputs_spec"][index]) for index in order.inputs]
        outputs = [(index, job["outputs_spec"][index]) for index in order.outputs]
        for _, spec in (*inputs, *outputs):
            check_spec(spec)
        if not all(spec["shape"] for _, spec in inputs):
            raise InputError("benchmark_model cannot be given an input without dimensions: use --runner native")
        given = [f"{i} {bytes_of(spec)} {shlex.quote(path)}" for i, (path, spec) in enumerate(inputs)]
        taken = [
            f"{i} {bytes_of(spec)} {shlex.quote(np.dtype(spec['dtype']).str)} {''.join(f'{size},' for size in spec['shape']) or chr(39) * 2}"
            for i, spec in outputs
        ]
        common = self.options(job, [spec for _, spec in inputs])
        values = {
            "folder": self.folder,
            "tool": self.tool,
            "mask": f"{sum(1 << core for core in job['cores']):x}" if job.get("cores") else "",
            "n": str(job.get("n_samples") or ""),
            "size": str(sum(bytes_of(spec) for _, spec in outputs)),
        }
        lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
        lines += [function("inputs", [f'"$1" {one}' for one in given]), function("outputs", [f'"$1" {one}' for one in taken])]
        runs = (("tool_once", "", ONCE), ("tool_often", "show", how_often(job)), ("tool_profile", "optional", PROFILE))
        lines += [function(name, [f"run {shlex.quote(show)} {shlex.join([*common, *options])}"]) for name, show, options in runs]
        return "\n".join(lines)

    def options(self, job: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> list[str]:
        """The tool's flags that all runs of a job share. It takes inputs by their place: the names here are its own."""
        asked = job.get("delegate")
        if asked is not None and asked not in DELEGATES:
            raise InputError(f"benchmark_model is not asked for the delegate {asked!r} by this version: use one of {', '.join(DELEGATES)}")
        return [
            f"--graph={job['artifact']}",
            f"--num_threads={job['threads']}",
            "--input_layer=" + ",".join(f"i{i}" for i in range(len(inputs))),
            "--input_layer_shape=" + ":".join(",".join(map(str, spec["shape"])) for spec in inputs),
            "--input_layer_value_files=" + ",".join(f"i{i}:{i}.in" for i in range(len(inputs))),
            "--output_filepath=out.bin",
            *([DELEGATES[asked][1]] if asked else []),
        ]

    def require(self, answer: Answer, told: facts.Told, job: Mapping[str, Any]) -> None:
        """Raise what went wrong, each as one sentence."""
        words = dict(answer.words)
        complaint = self.complaint(words, answer.texts[0], told, job) or undelegated(told, job.get("delegate"))
        if complaint:
            raise AgentError(self.transport.address, complaint, argv=[self.tool], stdout=answer.texts[0])

    def complaint(self, words: Mapping[str, str], text: str, told: facts.Told, job: Mapping[str, Any]) -> str | None:
        """What kept the tool from doing its job: cause and cure."""
        unknown = NEEDED.intersection(told.unknown_flags)
        if unknown:
            flags = ", ".join(f"--{flag}" for flag in sorted(unknown))
            return f"this benchmark_model does not know {flags}, so what it computes cannot be verified: give a build of LiteRT's tflite/tools/benchmark"
        if "taskset" in words:
            return "there is no taskset on the device, which holds benchmark_model to some cores: leave out --cores"
        if "absent" in words:
            return "benchmark_model is no longer on the device: repeat the command"
        if "unreadable" in words:
            return "the samples on the device cannot be read: repeat the command"
        if "disk" in words:
            return f"nothing can be written to {self.folder}: free some space on the device"
        if "failed" in words:
            built, _, machine = words.get("machine", "").partition(" ")
            if built.isdecimal() and machine not in MACHINES.get(int(built), (machine,)):
                return f"this benchmark_model is built for {MACHINES[int(built)][0]}, and the device is {machine}: give the build for it in lab.toml"
            code = words.get("code", "")
            return broken(int(code) if code.isdecimal() else 1, told.fault or last_line(text))
        if "missing" in words:
            return "benchmark_model ended well but wrote no outputs (--output_filepath), so it cannot be verified: give a newer build of tflite/tools/benchmark"
        if "size" in words:
            wanted = sum(bytes_of(spec) for spec in job["outputs_spec"])
            return f"benchmark_model wrote {words['size']} bytes of outputs and not {wanted}: the file's outputs are not the model's; convert it again"
        return None


def how_often(job: Mapping[str, Any]) -> Sequence[str]:
    """The flags of the run that counts. The tool has no rule for when it is steady, so it warms up for as long as the protocol allows."""
    if job["mode"] == "check":
        return CHECK
    protocol = job["protocol"]
    longest_s = LONGEST_S + 10 * math.ceil(protocol["min_s"] + protocol["warm_up_max_s"])
    warm_up = ("--warmup_runs=1", f"--warmup_min_secs={protocol['warm_up_max_s']}")
    return (f"--num_runs={protocol['min_runs']}", f"--min_secs={protocol['min_s']}", *warm_up, f"--max_secs={longest_s}")


def function(name: str, lines: Sequence[str]) -> str:
    """A shell function."""
    return "\n".join([f"{name}() {{", *lines, "}"])


def check_spec(spec: Mapping[str, Any]) -> None:
    """
    Raises:
        InputError: the tool cannot be given or asked for such a tensor.
    """
    sizes = spec["shape"]
    if any(not isinstance(size, int) for size in sizes) or spec["dtype"] in ("str", "string", "object"):
        raise InputError(f"{spec['name']!r} is {spec['dtype']} {list(sizes)}: benchmark_model needs numbers and fixed sizes; use --runner native")


def bytes_of(spec: Mapping[str, Any]) -> int:
    """How long one sample of a tensor is."""
    return int(np.dtype(spec["dtype"]).itemsize * math.prod(spec["shape"]))
