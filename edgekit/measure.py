"""Files to measure and an open way to a device in, `Measurement`s out.

with Bench.open(transport) as bench:  # one connection, one delivery, one site-packages for a whole run
    measurement = bench.measure(Subject(...), PROTOCOLS["quick"], threads=1)

The outputs of every sample come back from the device and are compared with the source model's before a latency is given: where they
are wrong, `latency` is None and the first note says why. The same holds where the agent was ended before it was done: the raw
samples up to there are in the measurement, and the first note says so.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from pydantic import ValidationError

from edgekit.agent import Agent, LatencyResult, MemoryResult, Progress, read
from edgekit.conditions import Told, in_words
from edgekit.deliver import Delivery
from edgekit.errors import AgentError, DeviceError, InputError
from edgekit.files import sha256_tree
from edgekit.hub.bounds import Bound, judge
from edgekit.hub.parity import NothingToCompareError, compare, top1_accuracy
from edgekit.records import Accuracy, Conditions, Measurement, Memory, Parity, TensorSpec
from edgekit.runtime import Platform, agent_archive, platform_of, site_packages
from edgekit.statistics import DISTURBED, DRIFT, drift, latency, spread
from edgekit.transport import Transport

TELL_S = 60.0


@dataclass(frozen=True, slots=True)
class Protocol:
    """How long to measure. At least `min_runs` runs and `min_s` seconds a process, after a warm-up until steady."""

    name: str
    processes: int
    min_runs: int
    min_s: float
    warm_up_min_s: float
    warm_up_max_s: float
    deadline_s: float
    """For one process, all samples included."""
    max_samples: int = 16_384
    """Runs recorded a process, about; where more fit, every k-th is, so that a record stays small whatever the model's speed."""


PROTOCOLS: Mapping[str, Protocol] = {
    "quick": Protocol("quick", processes=1, min_runs=50, min_s=1.0, warm_up_min_s=0.2, warm_up_max_s=2.0, deadline_s=1800),
    "full": Protocol("full", processes=3, min_runs=1024, min_s=60.0, warm_up_min_s=1.0, warm_up_max_s=10.0, deadline_s=7200),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A file to measure, and what its outputs have to be."""

    path: Path
    sha256: str
    format: str
    recipe: str
    """Whose bounds the outputs are judged by, unless `bound` is given."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    samples: Path
    """Tensor folder of inputs."""
    reference: Path
    """Tensor folder of the source model's outputs on the same samples."""
    labels: Path | None = None
    bound: Bound | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """One process of the agent that measured latency."""

    result: LatencyResult
    samples_ns: tuple[int, ...]
    ended: str | None
    """How it ended before it was done."""


def quiet(text: str, fraction: float | None) -> None:
    """Progress that nobody hears."""


@dataclass
class Bench:
    """A device that is ready to measure: what it said of itself, and what has been put there."""

    transport: Transport
    delivery: Delivery
    target: Platform
    told: Told
    folder: str
    python: str
    there: dict[Path, str] = field(default_factory=dict)
    agent_s: float = 0.0
    """Seconds that agents ran, all in all: what a run spends beyond them is overhead."""

    @classmethod
    def open(cls, transport: Transport, python: str = "python3", target: Platform | None = None) -> Bench:
        """Ask a device what it is and make it ready; `target` where it is not to be asked for its platform.

        Raises:
            DeviceError: it does not answer, or has no such Python.
        """
        described = target or platform_of(transport)
        delivery = Delivery.open(transport, python)
        return cls(transport, delivery, described, tell(transport, described, python), delivery.workdir(), python)

    @property
    def emulated(self) -> bool:
        """Whether the device's processor is emulated."""
        return self.told.emulated

    @property
    def pushed_bytes(self) -> int:
        """What was really sent to the device so far."""
        return self.delivery.pushed_bytes

    def measure(self, subject: Subject, protocol: Protocol = PROTOCOLS["quick"], *, threads: int = 1, progress: Progress = quiet) -> Measurement:
        """Run a file on the device: outputs first, then latency, then memory in a process of its own.

        Raises:
            InputError: the file is not the one that was meant, or no runtime there takes its format.
            SetupError: there are no wheels for the device's processor or Python, or they cannot be fetched.
            AgentError: the runtime there cannot load or run the file, or the agent ended before it had given all outputs.
            DeviceError: the connection, the device's disk, a deadline.
        """
        job = {**self.job(subject, threads, progress), "protocol": asdict(protocol)}
        with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
            passes = [self.latency_pass(job, protocol, len(subject.outputs), Path(scratch), progress)]
            parity, accuracy = self.compare(subject, Path(scratch))
            wrong = judge(asdict(parity), subject.recipe, subject.bound)
            while wrong is None and passes[-1].ended is None and len(passes) < protocol.processes:
                progress(f"process {len(passes) + 1} of {protocol.processes}", None)
                passes.append(self.latency_pass({**job, "n_samples": 1}, protocol, 0, Path(scratch), progress))
            memory, said = (None, None) if passes[-1].ended else self.memory_pass(job, protocol, progress)
        samples_ns = tuple(one.samples_ns for one in passes)
        results = [one.result for one in passes]
        refused = f"no latency: {wrong}" if wrong else early(passes[-1])
        good = None if refused else latency(samples_ns, [one.load_ns for one in results], [one.first_ns for one in results])
        notes = (refused, said, *remarks(passes, self.told, self.target))
        return Measurement(
            artifact_sha256=subject.sha256,
            device=self.transport.address,
            protocol=protocol.name,
            parity=parity,
            accuracy=accuracy,
            latency=good,
            memory=memory,
            conditions=self.conditions(results, threads),
            samples_ns=samples_ns,
            notes=tuple(note for note in notes if note),
        )

    def job(self, subject: Subject, threads: int, progress: Progress) -> dict[str, Any]:
        """Deliver all that a job needs; its description."""
        progress("preparing the runtime", None)
        archive = site_packages(self.target, subject.format, self.told.identity["machine"], self.told.python)
        listener = lambda name, sent, total: progress(f"sending {name}", sent / max(total, 1))  # noqa: E731
        if archive not in self.there:
            self.there[archive] = self.delivery.unpack(archive, listener)
        inputs = [subject.samples / f"{i}.npy" for i in range(len(subject.inputs))]
        names = {agent_archive(self.target): "agent.pyz", **{path: path.name for path in inputs}}
        missing = {name: path for path, name in names.items() if path not in self.there}
        model = f"model{subject.path.suffix}"
        delivered = self.delivery.deliver({**missing, model: subject.path}, listener)
        self.there.update({path: delivered[name] for name, path in missing.items()})
        there = sha256_tree(subject.path) if subject.path.is_dir() else delivered[model]  # the device's store is addressed by content, folders as archives
        if subject.sha256 not in there:
            raise InputError(f"{subject.path} has changed since it was made (its SHA-256 was {subject.sha256[:12]}…): convert the model again")
        return {
            "artifact": delivered[model],
            "format": subject.format,
            "site": self.there[archive],
            "inputs": [self.there[path] for path in inputs],
            "inputs_spec": [asdict(spec) for spec in subject.inputs],
            "outputs_spec": [asdict(spec) for spec in subject.outputs],
            "threads": threads,
        }

    def agent(self) -> Agent:
        return Agent(self.transport, self.python, self.there[agent_archive(self.target)], f"{self.folder}/job")

    def run(self, mode: str, job: Mapping[str, Any], protocol: Protocol, progress: Progress) -> tuple[dict[str, Any] | None, str | None]:
        started = time.monotonic()
        try:
            return self.agent().run({**job, "mode": mode}, deadline_s=protocol.deadline_s, progress=progress)
        finally:
            self.agent_s += time.monotonic() - started

    def latency_pass(self, job: Mapping[str, Any], protocol: Protocol, n_outputs: int, scratch: Path, progress: Progress) -> Pass:
        """One process; the first `n_outputs` of its outputs come back too."""
        content, ended = self.run("latency", job, protocol, progress)
        if content is None:
            raise AgentError(self.transport.address, f"the agent {ended}")
        result = read(LatencyResult, content, self.transport.address)
        for i in range(n_outputs):
            self.agent().pull(f"{i}.npy", scratch / f"{i}.npy")
        try:
            raw = self.agent().pull("samples.i64", scratch / "samples.i64").read_bytes()
        except DeviceError:
            if ended is None:
                raise
            raw = b""  # ended while it warmed up
        return Pass(result, tuple(np.frombuffer(raw[: len(raw) // 8 * 8], "<i8").tolist()), ended)

    def memory_pass(self, job: Mapping[str, Any], protocol: Protocol, progress: Progress) -> tuple[Memory | None, str | None]:
        """Memory, and what has to be said about it. An agent that is ended here costs the figures, not the measurement."""
        content, ended = self.run("memory", job, protocol, progress)
        if content is None:
            return None, f"no memory figures: the agent {ended}"
        result = read(MemoryResult, content, self.transport.address)
        said = None if result.peak_was_reset else "model_rss may be too high: this kernel does not let the peak be reset"
        return Memory(result.peak_rss_bytes, result.model_rss_bytes, result.pss_bytes, result.cgroup_peak_bytes), said

    def compare(self, subject: Subject, outputs: Path) -> tuple[Parity, Accuracy | None]:
        """The device's outputs against the source model's."""
        try:
            parity = Parity(**compare(subject.reference, outputs, len(subject.outputs)))
            if subject.labels is None:
                return parity, None
            value, baseline = (top1_accuracy(folder, subject.labels) for folder in (outputs, subject.reference))
        except NothingToCompareError as exc:
            raise AgentError(self.transport.address, f"what came back cannot be compared with the source model's outputs: {exc}; convert it again") from exc
        return parity, Accuracy("top1", value, baseline, parity.n)

    def conditions(self, results: list[LatencyResult], threads: int) -> Conditions:
        first, last, identity = results[0], results[-1], dict(self.told.identity)
        libc = identity.get("libc", "").partition(" ")[0]
        return Conditions(
            runtime=first.runtime.name,
            runtime_version=first.runtime.version,
            runtime_build=f"{libc or 'unknown libc'} wheel, {self.target.folder.name} {identity['machine']}",
            delegate_asked=first.delegate_asked,
            delegate_ran=first.delegate_ran,
            threads=threads,
            cores=first.cores,
            device=identity,
            before=in_words(first.before),
            after=in_words(last.after),
            emulated=self.told.emulated,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the jobs' folder; a device that can no longer be reached keeps it until the next delivery clears it away."""
        with contextlib.suppress(DeviceError):
            self.delivery.remove()


def tell(transport: Transport, target: Platform, python: str = "python3") -> Told:
    """What a device says of itself, in one round trip.

    Raises:
        AgentError: its Python could not run the question.
    """
    done = transport.run([python, "-I", "-S", "-"], stdin=target.conditions.read_bytes(), timeout_s=TELL_S)
    try:
        return Told.model_validate_json(done.stdout)
    except ValidationError as exc:
        raise AgentError(transport.address, "what the device tells about itself cannot be read: repeat the command", stdout=done.stdout) from exc


def early(one: Pass) -> str | None:
    """The first note of a measurement whose agent was ended early."""
    return f"no latency: partial, the agent {one.ended}; {len(one.samples_ns)} runs of it were kept" if one.ended else None


def remarks(passes: list[Pass], told: Told, target: Platform) -> list[str]:
    """What a reader of the figures has to know."""
    found = [f"emulated: {told.identity['emulation']}"] if told.emulated else []
    if target.description.untested:
        found.append(f"untested on hardware: {target.description.untested}")
    unsteady = [one.result.warm_up for one in passes if one.result.warm_up and not one.result.warm_up.steady]
    if unsteady:
        found.append(f"not steady after {unsteady[0].seconds:.1f} s of warm-up: something else keeps the device busy, or it changes its frequency")
    widest = max((spread(one.samples_ns) for one in passes if one.samples_ns), default=1.0)
    if widest > DISTURBED:
        found.append("disturbed: p90 is well above p50, so something else ran on the device: measure again when it is quiet")
    slowest = max((drift(one.samples_ns) for one in passes if one.samples_ns), default=1.0)
    if slowest > DRIFT:
        found.append(f"slowed down by {100 * (slowest - 1):.0f} % while measuring: look at its temperature and governor")
    every = max((one.result.every or 1 for one in passes), default=1)
    if every > 1:
        found.append(f"one run in {every} was recorded")
    return found
