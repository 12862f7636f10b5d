"""One job on stdin, `FOLDER/result.json` and files out: runs one deployable file on this device, for latency or for memory.

    python3 -I -S agent.pyz FOLDER < job.json

(agent.pyz is the Python files of this folder and of one platform's as a zip, this one as `__main__.py`.) A platform brings `runtimes.py` (what
it runs), `process.py` (what a process holds) and `conditions.py` (how the device is). Needs Python 3.10, numpy and the file's runtime; the
last two lie in the folder that the job calls `site`. The job:

    job           its name, which the result repeats
    mode          latency | memory
    artifact      the file; format: one that the platform runs
    site          a folder with site-packages
    inputs        one .npy of [n, *shape] for each input; inputs_spec, outputs_spec: [{name, dtype, shape}]
    n_samples     how many samples to run; absent: all
    threads       for the operators
    protocol      warm_up_min_s, warm_up_max_s, min_runs, min_s, max_samples

Progress is JSON lines on the original stdout. `latency` writes the outputs of all samples (`0.npy, 1.npy, …`), then
`result.json` with `"complete": false`, then `samples.i64` (latencies in ns, little-endian int64) as it measures, then
`result.json` whole: an agent that is killed leaves what it had. A refusal is `{"error": {"message", "op"}}`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from array import array
from collections.abc import Callable
from typing import Any

import conditions
import process
from refusal import Json, Refused, attempt
from runtimes import RUNTIMES

Say = Callable[[str], None]

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy only moves bytes here; its threads would stand in the way

WINDOW_NS = 100_000_000
STEADY = 1.02
FLUSH_NS = 250_000_000
MEMORY_SAMPLES = 5


def open_inputs(job: Json) -> list[Any]:
    """The samples, mapped: [n, *shape] for each input."""
    import numpy as np

    tensors = [np.load(path, mmap_mode="r", allow_pickle=False) for path in job["inputs"]]
    if len(tensors) != len(job["inputs_spec"]):
        raise Refused(f"there are samples for {len(tensors)} inputs, not {len(job['inputs_spec'])}: give one array for each")
    for spec, tensor in zip(job["inputs_spec"], tensors, strict=True):
        if tensor.dtype.name != spec["dtype"] or list(tensor.shape[1:]) != spec["shape"] or not len(tensor):
            raise Refused(f"the samples of {spec['name']!r} are {tensor.dtype} {list(tensor.shape)}, not {spec['dtype']} [n, *{spec['shape']}]")
    return tensors


def sample(tensors: list[Any], index: int) -> list[Any]:
    """One sample of each input, copied out of the file."""
    return [tensor[index].copy() for tensor in tensors]


def latency(job: Json, folder: str, say: Say) -> Json:
    """Load, first run, the outputs of every sample through this one session; then warm-up, then timed runs on sample 0."""
    import numpy as np

    runtime = RUNTIMES[job["format"]]()
    tensors = open_inputs(job)
    before = conditions.state()
    say("loading")
    start = time.perf_counter_ns()
    attempt(runtime, "loading", runtime.load, job["artifact"], job["threads"])  # the file is in the page cache: it was just verified
    load_ns = time.perf_counter_ns() - start
    attempt(runtime, "loading", runtime.bind, job["inputs_spec"], job["outputs_spec"])

    say("running the samples")
    n, first_ns, kept = job.get("n_samples") or len(tensors[0]), 0, []
    for index in range(n):
        runtime.feed(sample(tensors, index))
        start = time.perf_counter_ns()
        returned = attempt(runtime, "running", runtime.invoke)
        first_ns = first_ns or time.perf_counter_ns() - start
        for place, value in enumerate(runtime.outputs(returned)):
            if index == 0:
                kept.append(np.lib.format.open_memmap(os.path.join(folder, f"{place}.npy"), "w+", value.dtype, (n, *value.shape)))
            kept[place][index] = value
    for one in kept:
        one.flush()

    result: Json = {
        "job": job["job"],
        "complete": False,
        "load_ns": load_ns,
        "first_ns": first_ns,
        "runtime": {"name": runtime.name, "version": runtime.version},
        "delegate_asked": runtime.delegate_asked,
        "delegate_ran": runtime.delegate_ran(),
        "cores": conditions.cores(),
        "before": before,
        "after": {},
    }
    write_result(folder, result)
    runtime.feed(sample(tensors, 0))
    say("warming up")
    warm = warm_up(runtime.invoke, job["protocol"])
    with open(os.path.join(folder, "samples.i64"), "wb", buffering=0) as file:
        every = timed(runtime.invoke, warm["median_ns"], job["protocol"], file, say)
    return {**result, "complete": True, "warm_up": warm, "every": every, "after": conditions.state()}


def warm_up(invoke: Callable[[], Any], protocol: Json) -> Json:
    """Run until steady: the medians of three windows (0.1 s, at least 3 runs) in a row within 2 %; or until the time cap."""
    clock, started, medians = time.perf_counter_ns, time.perf_counter_ns(), []
    while True:
        window: list[int] = []
        opened = clock()
        while len(window) < 3 or clock() - opened < WINDOW_NS:
            start = clock()
            invoke()
            window.append(clock() - start)
        medians.append(statistics.median(window))
        took_s = (clock() - started) / 1e9
        steady = len(medians) >= 3 and max(medians[-3:]) <= STEADY * min(medians[-3:])
        if took_s >= protocol["warm_up_max_s"] or (steady and took_s >= protocol["warm_up_min_s"]):
            return {"median_ns": int(medians[-1]), "seconds": took_s, "steady": steady}


def timed(invoke: Callable[[], Any], expected_ns: int, protocol: Json, file: Any, say: Say) -> int:
    """Time single runs on fixed inputs and write them as they come; returns k, where every k-th run was recorded.

    The timed region is the bare call: `Interpreter.invoke()`, or `InferenceSession.run(names, feed)` with what it allocates for its
    outputs. Inputs were set before; outputs are not fetched. k is 1 unless more than `max_samples` runs fit the time.
    """
    expected_ns = max(expected_ns, 1)
    every: int = max(1, round(protocol["min_s"] * 1e9 / expected_ns / protocol["max_samples"]))
    block = min(4096, max(1, FLUSH_NS // (expected_ns * every)))
    buffer, clock = array("q", bytes(8 * block)), time.perf_counter_ns
    recorded, started = 0, clock()
    while True:
        for i in range(block):
            for _ in range(every - 1):
                invoke()
            start = clock()
            invoke()
            buffer[i] = clock() - start
        file.write(buffer)
        recorded += block
        took_s = (clock() - started) / 1e9
        if recorded >= protocol["min_runs"] and took_s >= protocol["min_s"]:
            return every
        say(f"measuring: {recorded * every} runs in {took_s:.0f} s")


def memory(job: Json, folder: str, say: Say) -> Json:
    """What the model adds to a process that already holds Python, numpy, the runtime's code and one sample: `process.Memory` has the figures."""
    runtime = RUNTIMES[job["format"]]()
    tensors = open_inputs(job)
    one = sample(tensors, 0)
    held = process.Memory()
    say("loading")
    attempt(runtime, "loading", runtime.load, job["artifact"], job["threads"])
    attempt(runtime, "loading", runtime.bind, job["inputs_spec"], job["outputs_spec"])
    say("measuring memory")
    for index in range(min(job.get("n_samples") or len(tensors[0]), MEMORY_SAMPLES)):
        runtime.feed(one if index == 0 else sample(tensors, index))
        runtime.outputs(attempt(runtime, "running", runtime.invoke))
    return {"job": job["job"], "complete": True, **held.figures()}


MODES = {"latency": latency, "memory": memory}


def write_result(folder: str, result: Json) -> None:
    """`result.json`, whole or not at all."""
    aside = os.path.join(folder, "result.json.aside")
    with open(aside, "w") as file:
        json.dump(result, file)
    os.replace(aside, os.path.join(folder, "result.json"))


def main(folder: str) -> None:
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no progress

    def say(text: str) -> None:
        channel.write(json.dumps({"text": text}) + "\n")
        channel.flush()

    job = json.load(sys.stdin)
    shutil.rmtree(folder, ignore_errors=True)  # what the job before this one left
    os.makedirs(folder)
    sys.path.insert(0, job["site"])
    try:
        result = MODES[job["mode"]](job, folder, say)
    except Refused as refusal:
        result = {"job": job["job"], "error": refusal.record}
    write_result(folder, result)
    channel.write(json.dumps({"result": result}) + "\n")  # the same once more, to save the host a journey
    channel.flush()
    os._exit(0)  # no destructors: a runtime that hangs in its own would lose nothing but time


if __name__ == "__main__":
    main(sys.argv[1])
