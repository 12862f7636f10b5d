"""What was found out about a file on a device in, its `Measurement` out: which samples count, and what a reader has to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from edgekit.agent import Delegation, LatencyResult
from edgekit.conditions import in_words
from edgekit.protocol import Protocol, Settings, Subject
from edgekit.records import Accuracy, Conditions, Latency, Measurement, Memory, Minute, Parity
from edgekit.statistics import DRIFT, latency, minutes, told_latency
from edgekit.units import duration_text

if TYPE_CHECKING:
    from edgekit.workbench import Bench


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check of a file gave."""

    parity: Parity
    accuracy: Accuracy | None
    wrong: str | None
    """Why its outputs are not good enough."""
    memory: Memory
    peak_was_reset: bool


@dataclass(frozen=True, slots=True)
class Pass:
    """One process of the agent that measured latency."""

    result: LatencyResult
    samples_ns: tuple[int, ...]
    ended: str | None
    """How it ended before it was done."""
    before: Mapping[str, str]
    after: Mapping[str, str]
    mark: str
    """Why its samples are kept but not counted; "" where they are."""
    unfit: str
    """Why the device was not fit when it began; "" where it was."""


def measurement(
    bench: Bench, subject: Subject, protocol: Protocol, settings: Settings, checked: Checked, passes: Sequence[Pass], *, complete: bool
) -> Measurement:
    """A measurement as far as it is. Latency is None where the outputs were wrong, and where an agent was ended early."""
    whole = [one for one in passes if not one.ended]
    counted = [one for one in whole if not one.mark] or whole  # where each was disturbed, all count and the notes say so
    ended = early(passes)
    refused = f"no latency: {checked.wrong}" if checked.wrong else ended and not counted and f"no latency: {ended}"
    good = None if checked.wrong or not counted else latency_of(counted)
    floor = None if checked.peak_was_reset else "model_rss may be too high: this kernel does not let the peak be reset"
    notes = (refused or ended, floor, *remarks(bench, passes, protocol, complete))
    return Measurement(
        artifact_sha256=subject.sha256,
        device=bench.transport.address,
        protocol=protocol.name,
        parity=checked.parity,
        accuracy=checked.accuracy,
        latency=good,
        memory=checked.memory,
        conditions=conditions(bench, settings, passes),
        samples_ns=tuple(one.samples_ns for one in passes),
        notes=tuple(note for note in notes if note),
        marks=tuple(one.mark or (f"partial: {one.ended}" if one.ended else "") for one in passes),
        complete=complete,
        minutes=over_time(passes[-1]) if passes and protocol.is_sustained else (),
    )


def latency_of(counted: Sequence[Pass]) -> Latency | None:
    """Statistics over all processes that count."""
    loads, firsts = [one.result.load_ns for one in counted], [one.result.first_ns for one in counted]
    summary = counted[-1].result.summary
    if summary is not None:
        return told_latency(summary.n, summary.min_ns, summary.p50_ns, summary.mean_ns, summary.std_ns, loads, firsts)
    samples = [one.samples_ns for one in counted if one.samples_ns]
    return latency(samples, loads, firsts) if samples else None


def over_time(one: Pass) -> tuple[Minute, ...]:
    """Latency and clock, minute by minute."""
    return tuple(
        Minute(number, n, p50_ns, max((khz for ms, _, khz in one.result.clock if ms // 60_000 + 1 == number), default=None))
        for number, n, p50_ns in minutes(one.samples_ns, one.result.every or 1)
    )


def throttles(minutes: Sequence[Minute]) -> str | None:
    """What a sustained measurement shows, in one sentence: a device that slows down while its clock falls is throttled, whatever it says.

    The first minute is compared with the median of the last half: a single slow minute is no drift.
    """
    if len(minutes) < 2:
        return None
    first, late = minutes[0], minutes[len(minutes) // 2 :]
    ratio = median(one.p50_ns for one in late) / first.p50_ns
    clocks = [one.clock_khz for one in late if one.clock_khz]
    words = f"minute 1 {duration_text(first.p50_ns)}, minute {minutes[-1].minute} {duration_text(minutes[-1].p50_ns)}"
    if first.clock_khz and clocks:
        words += f"; clock {first.clock_khz // 1000} MHz, then {round(median(clocks)) // 1000} MHz"
    if ratio <= DRIFT:
        return f"sustained: {words}: it keeps its speed"
    fell = first.clock_khz and clocks and median(clocks) < first.clock_khz / DRIFT
    cause = "throttled, for its clock fell" if fell else "throttled or disturbed: it does not tell its clock" if not clocks else "disturbed, for its clock held"
    return f"sustained: {words}: {100 * (ratio - 1):.0f} % slower, {cause}"


def conditions(bench: Bench, settings: Settings, passes: Sequence[Pass]) -> Conditions:
    """All that is needed to repeat it."""
    first, last = (passes[0], passes[-1]) if passes else (None, None)
    delegate = first.result.delegate if first else None
    return Conditions(
        runtime=first.result.runtime.name if first else "",
        runtime_version=first.result.runtime.version if first else "",
        runtime_build=bench.runner.build,
        delegate_asked=delegate.asked if delegate else settings.delegate or "",
        delegate_ran=delegate.ran if delegate else "",
        threads=settings.threads,
        cores=first.result.cores if first else (),
        device=dict(bench.told.identity),
        before=in_words(first.before) if first else {},
        after=in_words(last.after) if last else {},
        emulated=bench.emulated,
        runner=bench.runner.name,
        cores_asked=settings.cores_asked,
        ops=delegate.ops if delegate else None,
        ops_outside=delegate.outside if delegate else None,
        time_outside=delegate.time_outside if delegate else None,
    )


def early(passes: Sequence[Pass]) -> str | None:
    """What there is to say where an agent was ended early."""
    ended = next((one for one in passes if one.ended), None)
    return f"partial, the agent {ended.ended}; {len(ended.samples_ns)} runs of it were kept" if ended else None


def remarks(bench: Bench, passes: Sequence[Pass], protocol: Protocol, complete: bool) -> list[str]:
    """What a reader of the figures has to know."""
    found = [f"emulated: {bench.told.identity['emulation']}"] if bench.emulated else []
    found += bench.notes
    if bench.platform.description.untested:
        found.append(f"untested on hardware: {bench.platform.description.untested}")
    unsteady = [one.result.warm_up for one in passes if one.result.warm_up and not one.result.warm_up.steady]
    if unsteady and not bench.emulated:
        found.append(f"not steady after {unsteady[0].seconds:.1f} s of warm-up: something else keeps the device busy, or it changes its frequency")
    hot = [one.unfit for one in passes if one.unfit]
    if hot:
        found.append(f"the device was not fit to be measured: {hot[0]}")
    marks = [one.mark for one in passes if one.mark]
    if marks and len(marks) == len(passes):
        found.append(f"{marks[0]}; so were all of its processes: measure again when the device is quiet and cool")
    elif marks:
        found.append(f"{len(marks)} of {len(passes)} processes do not count ({marks[0]})")
    if passes and (said := left_out(passes[0].result.delegate)):
        found.append(said)
    if passes and protocol.is_sustained and (said := throttles(over_time(passes[-1]))):
        found.append(said)
    if not complete and not any(one.ended for one in passes):
        found.append(f"{len(passes)} of {protocol.processes} processes so far")
    if any((one.result.every or 1) > 1 for one in passes):
        found.append("too many runs to record each: the figures are of some, taken evenly over time")
    return found


def left_out(delegate: Delegation) -> str | None:
    """What of a file the delegate did not compute; None where that is nothing, or not known."""
    if not delegate.outside:
        return None
    names = ", ".join(f"{count} {op}" for op, count in list(delegate.outside.items())[:3]) + (", …" if len(delegate.outside) > 3 else "")
    if delegate.ran == "none":
        return f"no delegate: the runtime's own kernels compute all {delegate.ops} ops ({names})"
    return f"{sum(delegate.outside.values())} of {delegate.ops} ops outside {delegate.ran} ({names})"
