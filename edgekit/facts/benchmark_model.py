"""What LiteRT's `benchmark_model` prints (stdout and stderr together) in, a frozen record out: None wherever it is not sure.

The forms are those of the tool's sources: `tensorflow/lite/tools/benchmark` from 2018 on, now `tflite/tools/benchmark` of LiteRT
(`benchmark_model.cc`, `benchmark_tflite_model.cc`, its README), `tsl/util/stats_calculator.{h,cc}` (the `count=…` lines and the
tables), `tflite/profiling/profile_summarizer.cc` (what the tables' rows are) and `tflite/core/subgraph.cc` (`Replacing … node(s)`).
Every line may begin with `INFO: `, or with what Android's logcat puts before it. What a line says twice has to agree, or both are None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MIB = 1024 * 1024
WHOLE = r"(0|[1-9][0-9]{0,14})"
NUMBER = r"((?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?(?:e\+0[0-9])?)"
"""As C++ streams print a double: six significant digits."""


def form(pattern: str) -> re.Pattern[str]:
    """The form of one line; `<n>` stands for a whole number, `<x>` for any."""
    return re.compile(pattern.replace("<n>", WHOLE).replace("<x>", NUMBER), re.ASCII)


LOGCAT = r"(?:\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} +\d+ +\d+ )?(?:[VDIWEF][ /][\w.]+ *(?:\( *\d+\))?: )?"
BEFORE = form(LOGCAT + "(?:(?:VERBOSE|INFO|WARN(?:ING)?|ERROR|FATAL): )?")
RUNNING = form(r"Running benchmark for (?:at least )?<n> iterations\b.*")
SAME = form(r"count=<n> curr=<n>(?:\(all same\))?( p5=.*)?")
VARIED = form(r"count=<n> first=<n> curr=<n> min=<n> max=<n> avg=<x> std=<n>( p5=.*)?")
PERCENTILES = form(r" p5=<n> median=<n> p95=<n>")
TIMINGS = form(r"Inference timings in us: Init: <n>, First inference: <n>, Warmup \(avg\): <x>, Inference \(avg\): <x>")
OLD_TIMINGS = form(r"Average inference timings in us: Warmup: <x>, Init: <n>, (?:Inference|no stats): <x>")
SESSION = form(r"Initialized session in <x>ms\.?")
DELTA = form(r"Memory footprint delta from the start of the tool \(MB\): init=<x> overall=<x>")
PEAK = form(r"Overall peak memory footprint \(MB\) via periodic monitoring: <x>")
APPLIED = form(
    r"(?:Explicitly applied|Applied) (\w+) delegate, and the model graph will be (completely|partially) executed (?:by|w/) the delegate"
    r"(?: w/ <n> delegate kernels)?\."
)
NOT_APPLIED = form(r"Though (\w+) delegate is explicitly applied, the model graph will not be executed (?:by|w/) the delegate\.")
REPLACED = form(r"Replacing <n>(?: out of <n>)? node\(s\) with delegate \((\w+)\) node, yielding <n> partitions(?: for [\w ]+)?\.")
UNKNOWN = form(r"Unconsumed cmdline flags: (.+)")
FAULTS = form(
    r"(?:Can(?:not|n't| not) open .* library|Failed to (?:mmap|load|initialize|apply|allocate|parse|create|read|compile)"
    r"|Encountered unresolved custom op|Didn't find op for builtin|Node number \d+ .* failed|Disallowed CPU fallback"
    r"|Cannot find the corresponding input_layer|Inputs mismatch|Input tensor #|Wrong input|The number of items in|The size of .* It should be).*"
)
HEADING = form(r"Operator-wise Profiling Info for Regular Benchmark Runs:")
TABLE = form(r"=+ Run Order =+")
COLUMNS = form(r"\s*\[node type\]\s+(?:\[start\]\s+)?\[first\]\s+\[avg ms\]\s+\[%\]\s+\[cdf%\]\s+\[mem KB\]\s+\[times called\]\s+\[Name\]")
ROW = form(r"\s*(\S.*?)\s+(?:\d+\.\d{3}\s+)?\d+\.\d{3}\s+(\d+\.\d{3})\s+(\d{1,3}\.\d{3})%\s+(\d{1,3}\.\d{3})%\s+-?\d+\.\d{3}\s+<n>\s+(\S.*)")
EXECUTED = form(r"Number of nodes executed: <n>")
DELEGATE_NODE = form(r"TfLite\w*Delegate\w*|DELEGATE")

DELEGATES = {"TfLiteXNNPackDelegate": "XNNPACK", "TfLiteGpuDelegateV2": "GPU", "TfLiteGpuDelegate": "GPU", "TfLiteNnapiDelegate": "NNAPI"}
"""Classes of delegates as the runtime names them → the names that `benchmark_model` itself uses."""


@dataclass(frozen=True, slots=True)
class Runs:
    """One `count=…` line: statistics of runs that went one after the other, in µs."""

    count: int
    first_us: int
    min_us: int
    max_us: int
    mean_us: float
    std_us: int
    p5_us: int | None = None
    p50_us: int | None = None
    p95_us: int | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a delegate that was asked for by a flag."""

    delegate: str
    """`GPU`, `XNNPACK`, `NNAPI`, …"""
    extent: str
    """`completely`, `partially` or `not`."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """Operators that a delegate took over."""

    delegate: str
    nodes: int
    out_of: int | None
    partitions: int


@dataclass(frozen=True, slots=True)
class Node:
    """One row of the table of operators in the order they ran."""

    op: str
    """Such as `CONV_2D`; a delegate's node or kernel has the name it gave itself."""
    delegate: str | None
    """The delegate that ran it, `unnamed` where the row is a kernel inside one; None for the interpreter's own."""
    share: float
    """Of the time of all rows."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one run of `benchmark_model` told; None is what it did not, or not surely."""

    load_us: int | None = None
    """From the file to allocated tensors: `Init`."""
    first_us: int | None = None
    warm_up: Runs | None = None
    runs: Runs | None = None
    growth_bytes: int | None = None
    """Peak resident memory (on Apple's systems phys_footprint) above that at the tool's start."""
    peak_bytes: int | None = None
    """The largest that a thread saw which looked every 50 ms: of ru_maxrss on Linux and Android."""
    applied: tuple[Applied, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    nodes: tuple[Node, ...] | None = None
    """Operators of the primary graph as they ran, with `--enable_op_profiling`."""
    unknown_flags: tuple[str, ...] = ()
    """Flags that this build of the tool does not know, by name."""
    fault: str | None = None
    """The first line that says what failed."""


def parse(text: str) -> Told:
    """Read all that a run printed; a run that did not come to its end gives no times."""
    whole = text[: text.rfind("\n") + 1]  # a last line without its end may have been cut within a number
    lines = [BEFORE.sub("", line.rstrip(), count=1) for line in whole.split("\n")]
    warm_up, runs = phases(lines)
    load_us, first_us, means = timings(lines)
    session = only(SESSION, lines)
    if session and (load_us is None or not agree(float(session[1]) * 1000, load_us)):
        load_us = None
    if means is None or warm_up is None or not agree(warm_up.mean_us, means[0]) or (first_us is not None and warm_up.first_us != first_us):
        warm_up = None
    if means is None or runs is None or not agree(runs.mean_us, means[1]):
        runs = None
    if warm_up is None and first_us and means and means[0]:  # a first run that its own line contradicts
        first_us = None
    delta, peak = only(DELTA, lines), only(PEAK, lines)
    growth_bytes, peak_bytes = (round(float(one) * MIB) if one else None for one in (delta and delta[2], peak and peak[1]))
    if growth_bytes is not None and peak_bytes is not None and growth_bytes > peak_bytes:
        growth_bytes = peak_bytes = None
    return Told(
        load_us=load_us,
        first_us=first_us or None,
        warm_up=warm_up,
        runs=runs,
        growth_bytes=growth_bytes,
        peak_bytes=peak_bytes,
        applied=tuple(applied(lines)),
        replaced=tuple(replaced(lines)),
        nodes=profile(lines),
        unknown_flags=tuple(flag.lstrip("-").partition("=")[0] for found in all_of(UNKNOWN, lines) for flag in found[1].split()),
        fault=next((line for line in lines if FAULTS.fullmatch(line)), None),
    )


def phases(lines: Sequence[str]) -> tuple[Runs | None, Runs | None]:
    """The statistics of warm-up and of the runs that count: two phases are announced, each is followed by one line."""
    starts = [number for number, line in enumerate(lines) if RUNNING.fullmatch(line)]
    if len(starts) != 2:
        return None, None
    found = []
    for start, end in zip(starts, [starts[1], len(lines)], strict=True):
        counts = [line for line in lines[start:end] if line.startswith("count=")]
        found.append(statistics(counts[0]) if len(counts) == 1 else None)
    return found[0], found[1]


def statistics(line: str) -> Runs | None:
    """One `count=…` line; None if it is not one, or if its figures cannot all be true."""
    if same := SAME.fullmatch(line):
        count, value, rest = int(same[1]), int(same[2]), same[3]
        figures = (count, value, value, value, float(value), 0)
    elif varied := VARIED.fullmatch(line):
        count, first, newest, low, high, std = (int(varied[index]) for index in (1, 2, 3, 4, 5, 7))
        mean, rest = float(varied[6]), varied[8]
        if not (count > 1 and low < high and low <= min(first, newest) <= max(first, newest) <= high and low <= mean <= high and std <= high - low):
            return None
        figures = (count, first, low, high, mean, std)
    else:
        return None
    if rest is None:
        return Runs(*figures) if count else None
    percentiles = PERCENTILES.fullmatch(rest)
    if percentiles is None or not count:
        return None
    p5, p50, p95 = (int(one) for one in percentiles.groups())
    return Runs(*figures, p5, p50, p95) if figures[2] <= p5 <= p50 <= p95 <= figures[3] else None


def timings(lines: Sequence[str]) -> tuple[int | None, int | None, tuple[float, float] | None]:
    """Load, first run and the means of warm-up and runs, out of the line that ends a run; the first is 0 where there was no warm-up."""
    if found := only(TIMINGS, lines):
        return int(found[1]), int(found[2]), (float(found[3]), float(found[4]))
    if found := only(OLD_TIMINGS, lines):
        return int(found[2]), None, (float(found[1]), float(found[3]))
    return None, None, None


def applied(lines: Sequence[str]) -> Iterator[Applied]:
    for line in lines:
        if found := APPLIED.fullmatch(line):
            yield Applied(found[1], found[2])
        elif found := NOT_APPLIED.fullmatch(line):
            yield Applied(found[1], "not")


def replaced(lines: Sequence[str]) -> Iterator[Replaced]:
    for found in all_of(REPLACED, lines):
        nodes, out_of = int(found[1]), int(found[2]) if found[2] else None
        if out_of is None or nodes <= out_of:
            yield Replaced(DELEGATES.get(found[3], found[3]), nodes, out_of, int(found[4]))


def profile(lines: Sequence[str]) -> tuple[Node, ...] | None:
    """The rows of the last table in run order, of the regular runs; None unless they add up."""
    heading = max((number for number, line in enumerate(lines) if HEADING.fullmatch(line)), default=None)
    table = next((number for number in range((heading or 0), len(lines)) if TABLE.fullmatch(lines[number])), None)
    if table is None or (heading is None and any("Profiling Info" in line for line in lines)):
        return None
    if not COLUMNS.fullmatch(lines[table + 1] if table + 1 < len(lines) else ""):
        return None
    rows = []
    for line in lines[table + 2 :]:
        if not line.strip():
            break
        rows.append(ROW.fullmatch(line))
    reached, nodes = 0.0, []
    for row in rows:
        if row is None or abs(reached + float(row[3]) - float(row[4])) > 0.002:  # a row is missing before this one, or it is not one
            return None
        reached = float(row[4])
        nodes.append(node(row[1], row[6], round(float(row[3]) / 100, 5)))
    executed = next((int(found[1]) for line in lines[table:] if (found := EXECUTED.fullmatch(line))), None)
    complete = abs(reached - 100) < 0.5
    return tuple(one for one in nodes if one is not None) if complete and executed in (None, len(rows)) and nodes else None


def node(kind: str, name: str, share: float) -> Node | None:
    """One row as an operator; None for what is none, such as `AllocateTensors/0`.

    An operator's name is the list of its outputs, `[MobilenetV1/Logits/Softmax]:30`; a kernel that a delegate timed itself is `Delegate/…`.
    """
    if name.startswith("Delegate/"):
        return Node(kind, "unnamed", share)
    if not name.startswith("["):
        return None
    op = re.split(r"[:/]", kind)[0]
    return Node(op, DELEGATES.get(op, op) if DELEGATE_NODE.fullmatch(op) else None, share)


def all_of(pattern: re.Pattern[str], lines: Sequence[str]) -> Iterator[re.Match[str]]:
    return (found for line in lines if (found := pattern.fullmatch(line)))


def only(pattern: re.Pattern[str], lines: Sequence[str]) -> re.Match[str] | None:
    """The line of this form; None if there are several that differ."""
    found = list(all_of(pattern, lines))
    return found[0] if len({one[0] for one in found}) == 1 else None


def agree(a: float, b: float) -> bool:
    """Whether two figures are one, each printed with six significant digits."""
    return abs(a - b) <= 1e-5 * max(abs(a), abs(b))
