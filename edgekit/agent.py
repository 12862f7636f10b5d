"""A job for the agent on a device in, its result out: the host's half of the contract in `targets/common/agent.py` and `targets/native`."""

from __future__ import annotations

import json
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgekit.errors import AgentError, DeviceTimeout, Unreachable
from edgekit.transport import Transport
from edgekit.transport.streams import last_line

PULL_S = 300.0
LOST = "was lost with its connection"
GONE = f"{LOST}: check the device's power and its cable or network, then repeat the command"
ANSWER_S = 10.0
START_S, WORK_S, TIMING_S = 120.0, 600.0, 30.0
"""How long an agent may say nothing: until its first word, while it loads and runs the samples, and while it times runs and tells them."""
BLOCK_S, BLOCKS = 0.25, 20
"""It tells what it timed four times a second, or after each run that takes longer; a busy device may take some of that for others."""

Progress = Callable[[str, float | None], None]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RuntimeTold(Record):
    name: str
    version: str


class WarmUp(Record):
    median_ns: int
    seconds: float
    steady: bool


class Delegation(Record):
    """Which delegate was asked for, which ran, and what it left out; None where the runtime does not tell."""

    asked: str
    ran: str
    ops: int | None = None
    outside: Mapping[str, int] | None = None
    time_outside: float | None = None


class Summary(Record):
    """What a runner says that keeps its samples to itself."""

    n: int
    min_ns: int
    p50_ns: int | None
    mean_ns: float
    std_ns: float | None


class LatencyResult(Record):
    """What the mode `latency` tells; the fields with a default are missing where the agent was ended while it measured."""

    job: str
    load_ns: int
    first_ns: int
    runtime: RuntimeTold
    delegate: Delegation
    cores: tuple[int, ...]
    warm_up: WarmUp | None = None
    every: int | None = None
    recorded: int | None = None
    total_ns: int | None = None
    """Of all samples: what was changed on the way shows."""
    clock: tuple[tuple[int, int, int], ...] = ()
    """[elapsed_ms, cpu, kHz]"""
    summary: Summary | None = None
    """In place of samples."""


class CheckResult(Record):
    """What the mode `check` tells; the outputs are files."""

    job: str
    peak_rss_bytes: int | None
    model_rss_bytes: int | None
    peak_was_reset: bool
    floor_rss_bytes: int | None = None
    pss_bytes: int | None = None
    private_dirty_bytes: int | None = None
    swap_bytes: int | None = None
    cgroup_peak_bytes: int | None = None
    arena_bytes: int | None = None
    phys_footprint_bytes: int | None = None


Result = TypeVar("Result", bound=Record)


@dataclass(slots=True)
class Told:
    """What an agent said until it ended."""

    result: Mapping[str, Any] | None = None
    """As far as it came."""
    samples_ns: list[int] = field(default_factory=list)
    ended: str | None = None
    """How it ended before it was done; a clause."""


class Silent(Exception):
    """An agent that has said nothing for too long."""


class Runs(Protocol):
    """What runs jobs on a device: an `Agent`, or what stands in for one."""

    def run(self, job: Mapping[str, Any], *, deadline_s: float, progress: Progress) -> Told: ...

    def pull(self, name: str, destination: Path) -> Path: ...


@dataclass(frozen=True, slots=True)
class Agent:
    """How an agent is started on a device and given its job, and the folder there that its jobs write to, one after the other."""

    transport: Transport
    argv: tuple[str, ...]
    encode: Callable[[Mapping[str, Any]], bytes]
    folder: str

    def run(self, job: Mapping[str, Any], *, deadline_s: float, progress: Progress) -> Told:
        """Run a job to its end, or as far as it comes: a lost connection too leaves what was told until then.

        Raises:
            AgentError: it refused, in its own words, or what it told was garbled on the way.
            Unreachable: the connection was lost before anything was measured.
        """
        name, told, whole = secrets.token_hex(8), Told(), False
        patience_s, heard = START_S, time.monotonic()

        def watch() -> None:
            if time.monotonic() - heard > patience_s:
                raise Silent

        def listen(line: str) -> None:
            nonlocal whole, patience_s, heard
            heard = time.monotonic()
            try:
                message = json.loads(line)
            except ValueError:
                return
            if not isinstance(message, dict):
                return
            if isinstance(message.get("text"), str):
                patience_s = patience_s if told.result else WORK_S
                progress(message["text"], None)
            samples = message.get("samples_ns")
            if isinstance(samples, list) and all(type(one) is int and one >= 0 for one in samples):
                told.samples_ns += samples
            for key in ("partial", "result"):
                content = message.get(key)
                if isinstance(content, dict) and content.get("job") == name:
                    told.result, whole, patience_s = content, key == "result", timing_s(content)

        try:
            stdin = self.encode({**job, "job": name})
            done = self.transport.run(self.argv, timeout_s=deadline_s, check=False, stdin=stdin, on_line=listen, watch=watch)
            if not whole:
                told.ended = early_end(done.code, done.stderr)
                if done.code <= 128 and told.samples_ns and self.is_cut_off():  # what was said last may be noise of a wire that broke
                    told.ended = GONE
        except Silent:
            told.ended = f"said nothing for {patience_s:.0f} s and was stopped: look at what keeps the device busy, or restart it, and repeat the command"
        except DeviceTimeout:
            told.ended = f"was stopped after {deadline_s:.0f} s; allow more time or use fewer samples"
        except Unreachable:
            if not told.samples_ns:
                raise
            told.ended = GONE
        self.check(told)
        return told

    def is_cut_off(self) -> bool:
        """Whether the device is gone."""
        try:
            self.transport.run(("true",), timeout_s=ANSWER_S, check=False)
        except (Unreachable, DeviceTimeout):
            return True
        return False

    def check(self, told: Told) -> None:
        """Raise what the agent refused, and what does not add up."""
        result = told.result or {}
        error = result.get("error")
        if error is not None:
            words = error.get("message") if isinstance(error, dict) else None
            raise AgentError(self.transport.address, str(words or "the agent refused without a word: repeat the command"), argv=self.argv)
        recorded = result.get("recorded")
        if recorded is not None and (recorded, result.get("total_ns")) != (len(told.samples_ns), sum(told.samples_ns)):
            message = f"the {recorded} latencies that it measured did not arrive as they were sent: check the cable, and repeat the command"
            raise AgentError(self.transport.address, message, argv=self.argv)

    def pull(self, name: str, destination: Path) -> Path:
        """Fetch a file that a job wrote."""
        self.transport.pull(f"{self.folder}/{name}", destination, timeout_s=PULL_S)
        return destination


def timing_s(partial: Mapping[str, Any]) -> float:
    """How long an agent may say nothing that times runs, by the median that its warm-up had."""
    try:
        told = LatencyResult.model_validate(partial)
    except ValidationError:
        return WORK_S
    run_s = told.warm_up.median_ns * (told.every or 1) / 1e9 if told.warm_up else 0.0
    return TIMING_S + BLOCKS * max(BLOCK_S, run_s)


def early_end(code: int, stderr: str) -> str:
    """How an agent that gave no result ended: a clause with its cause and cure."""
    if code == 128 + signal.SIGKILL:
        return "was killed by the system; memory has most likely run out: close other programs there or use a smaller model"
    if code > 128 and code - 128 in set(signal.Signals):
        return f"crashed ({signal.Signals(code - 128).name}); the runtime there cannot take this file: use another format"
    if "No space left" in last_line(stderr):
        return "found no space left on the device: free some there and repeat the command"
    return f"failed ({last_line(stderr) or f'code {code}'}); look at the device with `edgekit doctor`, then repeat the command"


def read(kind: type[Result], content: Mapping[str, Any], address: str) -> Result:
    """A result of the agent as a record.

    Raises:
        AgentError: it is not one.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as exc:
        raise AgentError(address, f"the agent's result cannot be read ({exc.error_count()} fields are wrong): repeat the command") from exc
