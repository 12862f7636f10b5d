"""One job on stdin, `FOLDER/result.json` and files out: runs one deployable file on this device, for latency or for memory.

    python3 -I -S agent.pyz FOLDER < job.json

(agent.pyz is the Python files of this folder and of one platform's as a zip, this one as `__main__.py`.) A platform brings `runtimes.py` (what
it runs) and `process.py` (what a process holds); a format that it does not know brings `adapter.py` with its `RUNTIME`. Needs Python 3.10,
numpy and the file's runtime; the last two lie in the folder that the job calls `site`. The job:

    job           its name, which the result repeats
    mode          check | latency
    artifact      the file; format: one that the platform runs
    site          a folder with site-packages
    inputs        one .npy of [n, *shape] for each input; inputs_spec, outputs_spec: [{name, dtype, shape}]
    n_samples     how many samples to run; absent: all
    threads       for the operators
    cores         the processors to run on; absent: all
    delegate      which one to ask the runtime for; absent: its default
    protocol      warm_up_min_s, warm_up_max_s, min_runs, min_s, max_samples

`check` runs every sample through one session, writes the outputs (`FOLDER/0.npy, 1.npy, …`) and tells what memory that took. `latency`
warms up and times. All that is told goes to the original stdout, one JSON object a line: `{"text"}` (progress), `{"partial"}` (a latency
result before its samples), `{"samples_ns": […]}` as they are measured, and at the end `{"result"}`: an agent that is killed, or whose
connection is lost, has told what it had. A refusal is `{"result": {"job", "error": {"message", "op"}}}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import clock
import npy
import process
from refusal import Json, Refused, attempt
from runtimes import RUNTIMES

Tell = Callable[..., None]

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy only moves bytes here; its threads would stand in the way

WINDOW_NS = 100_000_000
STEADY = 1.02
FLUSH_NS = 250_000_000
SAY_S = 1.0


def runtime_of(job: Json) -> Any:
    """The runtime of the job's format, its code loaded, on the processors that the job names: threads that it starts inherit them."""
    if job.get("cores"):
        clock.pin(job["cores"])
    if job["format"] in RUNTIMES:
        return RUNTIMES[job["format"]](job.get("delegate"))
    import adapter  # of a format that the platform does not know: edgekit has put it into this archive

    return adapter.RUNTIME(job.get("delegate"))


def open_inputs(job: Json) -> list[npy.Reader]:
    """The samples of each input, [n, *shape]."""
    inputs = [npy.Reader(path) for path in job["inputs"]]
    if len(inputs) != len(job["inputs_spec"]):
        raise Refused(f"there are samples for {len(inputs)} inputs, not {len(job['inputs_spec'])}: give one array for each")
    for spec, one in zip(job["inputs_spec"], inputs, strict=True):
        if one.dtype.name != spec["dtype"] or list(one.shape[1:]) != spec["shape"] or not len(one):
            raise Refused(f"the samples of {spec['name']!r} are {one.dtype} {list(one.shape)}, not {spec['dtype']} [n, *{spec['shape']}]")
    return inputs


def sample(inputs: list[npy.Reader], index: int) -> list[Any]:
    """One sample of each input."""
    return [one.read(index) for one in inputs]


def check(job: Json, folder: str, tell: Tell) -> Json:
    """The outputs of every sample through one session, and what the model adds to a process that already holds Python, numpy, the runtime's
    code and one sample: `process.Memory` has the figures."""
    runtime = runtime_of(job)
    inputs = open_inputs(job)
    one = sample(inputs, 0)
    held = process.Memory()
    tell(text="loading")
    attempt(runtime, "loading", runtime.load, job["artifact"], job["threads"])
    attempt(runtime, "loading", runtime.bind, job["inputs_spec"], job["outputs_spec"])
    tell(text="running the samples")
    n = job.get("n_samples") or len(inputs[0])
    with contextlib.ExitStack() as files:
        written: list[npy.Writer] = []
        said = time.monotonic()
        for index in range(n):
            if time.monotonic() - said > SAY_S:  # whoever waits for a word learns that it lives
                tell(text=f"running the samples: {index} of {n}")
                said = time.monotonic()
            runtime.feed(one if index == 0 else sample(inputs, index))
            for place, value in enumerate(runtime.outputs(attempt(runtime, "running", runtime.invoke))):
                if index == 0:
                    written.append(files.enter_context(npy.Writer(os.path.join(folder, f"{place}.npy"), n, value)))
                written[place].append(value)
    return {"job": job["job"], **held.figures()}


def latency(job: Json, folder: str, tell: Tell) -> Json:
    """Load, first run, warm-up, then timed runs, all on sample 0."""
    runtime = runtime_of(job)
    inputs = open_inputs(job)
    tell(text="loading")
    start = time.perf_counter_ns()
    attempt(runtime, "loading", runtime.load, job["artifact"], job["threads"])  # the file is in the page cache: it was just verified
    load_ns = time.perf_counter_ns() - start
    attempt(runtime, "loading", runtime.bind, job["inputs_spec"], job["outputs_spec"])
    runtime.feed(sample(inputs, 0))
    start = time.perf_counter_ns()
    attempt(runtime, "running", runtime.invoke)
    result: Json = {
        "job": job["job"],
        "load_ns": load_ns,
        "first_ns": time.perf_counter_ns() - start,
        "runtime": {"name": runtime.name, "version": runtime.version},
        "delegate": runtime.delegation(),
        "cores": clock.cores(),
    }
    tell(text="warming up")
    result["warm_up"] = warm_up(runtime.invoke, job["protocol"])
    result["every"] = spacing(result["warm_up"]["median_ns"], job["protocol"])
    tell(partial=result)
    ticks = clock.Clock()
    result["recorded"], result["total_ns"] = timed(runtime.invoke, result["warm_up"]["median_ns"], result["every"], job["protocol"], ticks, tell)
    result["clock"] = ticks.samples
    return result


def warm_up(invoke: Callable[[], Any], protocol: Json) -> Json:
    """Run until steady: the medians of three windows (0.1 s, at least 3 runs) in a row within 2 %; or until the time cap."""
    now, started, medians = time.perf_counter_ns, time.perf_counter_ns(), []
    while True:
        window: list[int] = []
        opened = now()
        while len(window) < 3 or now() - opened < WINDOW_NS:
            start = now()
            invoke()
            window.append(now() - start)
        medians.append(statistics.median(window))
        took_s = (now() - started) / 1e9
        steady = len(medians) >= 3 and max(medians[-3:]) <= STEADY * min(medians[-3:])
        if took_s >= protocol["warm_up_max_s"] or (steady and took_s >= protocol["warm_up_min_s"]):
            return {"median_ns": int(medians[-1]), "seconds": took_s, "steady": steady}


def spacing(expected_ns: int, protocol: Json) -> int:
    """k, where every k-th run is recorded: 1 unless more than `max_samples` runs fit the time."""
    return max(1, round(protocol["min_s"] * 1e9 / max(expected_ns, 1) / protocol["max_samples"]))


def timed(invoke: Callable[[], Any], expected_ns: int, every: int, protocol: Json, ticks: clock.Clock, tell: Tell) -> tuple[int, int]:
    """Time single runs on fixed inputs and tell them as they come; returns how many, and their sum in ns.

    The timed region is the bare call: `Interpreter.invoke()`, or `InferenceSession.run(names, feed)` with what it allocates for its
    outputs. Inputs were set before; outputs are not fetched.
    """
    block = min(4096, max(1, FLUSH_NS // (max(expected_ns, 1) * every)))
    buffer, now = [0] * block, time.perf_counter_ns
    recorded, total_ns, started = 0, 0, now()
    while True:
        for i in range(block):
            for _ in range(every - 1):
                invoke()
            start = now()
            invoke()
            buffer[i] = now() - start
        recorded += block
        total_ns += sum(buffer)
        ticks.read()
        took_s = (now() - started) / 1e9
        tell(text=f"measuring: {recorded * every} runs in {took_s:.0f} s", samples_ns=buffer)
        if recorded >= protocol["min_runs"] and took_s >= protocol["min_s"]:
            return recorded, total_ns


MODES = {"check": check, "latency": latency}


def main(folder: str) -> None:
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no progress

    def tell(**what: Any) -> None:
        channel.write(json.dumps(what) + "\n")
        channel.flush()

    job = json.load(sys.stdin)
    shutil.rmtree(folder, ignore_errors=True)  # what the job before this one left
    os.makedirs(folder)
    sys.path.insert(0, job["site"])
    try:
        result = MODES[job["mode"]](job, folder, tell)
    except Refused as refusal:
        result = {"job": job["job"], "error": refusal.record}
    tell(result=result)
    os._exit(0)  # no destructors: a runtime that hangs in its own would lose nothing but time


if __name__ == "__main__":
    main(sys.argv[1])
