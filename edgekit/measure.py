"""Files and a device that is ready in, `Measurement`s out: outputs first, then latency in fresh processes, the files in turn.

    for subject, found in measure(bench, subjects, PROTOCOLS["full"], Settings(), progress):
        ...  # each as far as it is: a measurement that is not complete will come again

Each file is checked first, in a process of its own: the outputs of every sample come back and are compared with the source model's,
and what memory that took is told. Only a file that is right is timed. Processes that time are run in turns (A B C A B C), so that a
device that drifts does so for all files alike; before each one the device has to be fit, and one that was throttled or disturbed is
kept, marked, and repeated.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekit.agent import CheckResult, LatencyResult, Progress, read
from edgekit.conditions import throttled_between, unfit
from edgekit.errors import AgentError, DeviceError, EdgekitError, InputError, SetupError
from edgekit.hub.bounds import judge
from edgekit.hub.integers import folder_to_floats
from edgekit.hub.parity import NothingToCompareError, compare, top1_accuracy
from edgekit.measurement import Checked, Pass, measurement
from edgekit.protocol import Protocol, Settings, Subject
from edgekit.records import Accuracy, Measurement, Memory, Parity
from edgekit.records_json import to_json
from edgekit.statistics import DISTURBED, DRIFT, drift, spread
from edgekit.workbench import Bench

GATE_S = 300.0
"""A phone in a hand cools from throttling to fit in two to four minutes; one that does not by then will not."""
GATE_ASK_S = 5.0

Found = Measurement | EdgekitError


@dataclass
class Going:
    """One file on its way through the protocol."""

    subject: Subject
    processes: int
    repeats: int
    job: dict[str, Any] = field(default_factory=dict)
    checked: Checked | None = None
    passes: list[Pass] = field(default_factory=list)
    failed: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing more is to come: it failed, it is wrong, its agent was ended, enough processes count, or too many had to be repeated."""
        if self.failed or (self.checked and self.checked.wrong) or any(one.ended for one in self.passes):
            return True
        counted = sum(not one.mark for one in self.passes)
        return counted >= self.processes or len(self.passes) >= self.processes + self.repeats

    @property
    def complete(self) -> bool:
        """Whether it went to its end."""
        return self.over and not self.failed and not any(one.ended for one in self.passes)


def measure(bench: Bench, subjects: Sequence[Subject], protocol: Protocol, settings: Settings, progress: Progress) -> Iterator[tuple[Subject, Found]]:
    """Measure files on a device, in turns; yields what is known of each whenever that has become more.

    What goes wrong with one file is yielded in place of its measurement and does not stop the others; once the connection is lost,
    that is what is yielded for all that are not done.
    """
    bench.send_ahead(subjects, progress)
    going = [Going(subject, protocol.processes, protocol.repeats) for subject in subjects]
    while not all(one.over for one in going):
        for one in going:
            if one.over:
                continue
            try:
                advance(bench, one, protocol, settings, named(f"{one.subject.format} {one.subject.recipe}", progress))
            except (DeviceError, SetupError, InputError) as exc:
                one.failed = True
                if one.checked is not None and one.passes:
                    yield one.subject, measurement(bench, one.subject, protocol, settings, one.checked, one.passes, complete=False)
                yield one.subject, exc
                continue
            assert one.checked is not None
            yield one.subject, measurement(bench, one.subject, protocol, settings, one.checked, one.passes, complete=one.complete)


def advance(bench: Bench, one: Going, protocol: Protocol, settings: Settings, progress: Progress) -> None:
    """Check a file, if it was not, and time it in one more process."""
    if one.checked is None:
        one.job = bench.prepare(one.subject, settings, progress)
        one.checked = check(bench, one.subject, one.job, protocol, progress)
        if one.checked.wrong:
            return
    before, why = gate(bench, settings, progress)
    progress(f"process {len(one.passes) + 1}", None)
    told = bench.run("latency", {**one.job, "n_samples": 1}, protocol, progress)
    if told.result is None:
        raise AgentError(bench.transport.address, f"the agent {told.ended}")
    result = read(LatencyResult, told.result, bench.transport.address)
    taken = Pass(result, tuple(told.samples_ns), told.ended, before, {}, "", why)
    one.passes.append(taken)  # before the device is asked again: what was measured is not lost with it
    if told.ended is None:
        after = bench.state()
        one.passes[-1] = replace(taken, after=after, mark="" if bench.emulated else marked(told.samples_ns, before, after, result.cores))


def check(bench: Bench, subject: Subject, job: dict[str, Any], protocol: Protocol, progress: Progress) -> Checked:
    """The outputs that the device makes, compared; and the memory that it took to make them."""
    told = bench.run("check", job, protocol, progress)
    if told.ended is not None or told.result is None:
        raise AgentError(bench.transport.address, f"the agent {told.ended}")
    result = read(CheckResult, told.result, bench.transport.address)
    runs = bench.runs(subject.format)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        for i in range(len(subject.outputs)):
            runs.pull(f"{i}.npy", Path(scratch) / f"{i}.npy")
        if subject.integers is not None:
            folder_to_floats(Path(scratch), to_json(subject.integers.outputs))
        parity, accuracy = compared(bench.transport.address, subject, Path(scratch))
        wrong = judge(asdict(parity), subject.recipe, subject.bound) if subject.held_to is None else departs(bench.transport.address, subject, Path(scratch))
    figures = result.model_dump(exclude={"job", "peak_was_reset"})
    return Checked(parity, accuracy, wrong, Memory(**figures), result.peak_was_reset)


def compared(address: str, subject: Subject, outputs: Path) -> tuple[Parity, Accuracy | None]:
    """The device's outputs against the source model's."""
    try:
        parity = Parity(**compare(subject.reference, outputs, len(subject.outputs)))
        if subject.labels is None:
            return parity, None
        value, baseline = (top1_accuracy(folder, subject.labels) for folder in (outputs, subject.reference))
    except NothingToCompareError as exc:
        raise AgentError(address, f"what came back cannot be compared with the source model's outputs: {exc}; convert it again") from exc
    return parity, Accuracy("top1", value, baseline, parity.n)


def departs(address: str, subject: Subject, outputs: Path) -> str | None:
    """What is wrong with a device's outputs, held to those of the compressed network that the file is of; None where nothing is."""
    try:
        words = judge(compare(subject.held_to or subject.reference, outputs, len(subject.outputs)), subject.recipe, subject.bound)
    except NothingToCompareError as exc:
        raise AgentError(address, f"what came back cannot be compared with the compressed model's outputs: {exc}; convert it again") from exc
    return words and words.replace("the source model's", "the compressed model's")


def gate(bench: Bench, settings: Settings, progress: Progress) -> tuple[dict[str, str], str]:
    """Wait until the device is fit to be measured; gives its state then, and why it still is not ("" if it is)."""
    state, started = bench.state(), time.monotonic()
    why = unfit(state)
    while why and settings.wait and (left_s := started + GATE_S - time.monotonic()) > 0:
        progress(f"waiting for the device, up to {left_s:.0f} s more: {why}", None)
        time.sleep(min(GATE_ASK_S, left_s))
        state = bench.state()
        why = unfit(state)
        bench.waited_s += GATE_ASK_S
    return state, why or ""


def marked(samples_ns: Sequence[int], before: dict[str, str], after: dict[str, str], cores: Sequence[int]) -> str:
    """Why a process' samples are not to be counted; "" where they are."""
    held = throttled_between(before, after, cores)
    if held:
        return f"throttled: {held}"
    if not samples_ns:
        return ""
    if (wide := spread(samples_ns)) > DISTURBED:
        return f"disturbed: its p90 is {wide:.2f} times its p50, so something else ran on the device"
    if (slower := drift(samples_ns)) > DRIFT:
        return f"slowed down by {100 * (slower - 1):.0f} % while it was measured"
    return ""


def named(title: str, progress: Progress) -> Progress:
    """Progress that says which file it is about."""
    say: Callable[[str, float | None], None] = lambda text, fraction: progress(f"{title}: {text}", fraction)  # noqa: E731
    return say
