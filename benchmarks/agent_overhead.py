"""p50 by the agent against a bare loop over the same runtime: same site-packages, same threads, same inputs, interleaved pairs.

    python benchmarks/agent_overhead.py MODEL.onnx [PAIRS [THREADS]]

The bare script constructs the runtime, sets random inputs and takes the time of each call: what a careful person would write.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratio import Ratio, interleaved, of_pairs
from edgekit.runtime import agent_archive, platform, site_packages
from edgekit.toolchains.jobs import Job, run

BAR = 1.03
PROTOCOL = {"warm_up_min_s": 0.3, "warm_up_max_s": 1.0, "min_runs": 50, "min_s": 1.0, "max_samples": 16384}

BARE = """
import sys, time; sys.path.insert(0, sys.argv[1])
import numpy as np
path, threads, folder = sys.argv[2], int(sys.argv[3]), sys.argv[4]
feeds = [np.load(f"{folder}/{i}.npy")[0] for i in range(int(sys.argv[5]))]
if path.endswith(".tflite"):
    from ai_edge_litert.interpreter import Interpreter
    model = Interpreter(model_path=path, num_threads=threads); model.allocate_tensors()
    for detail, value in zip(model.get_input_details(), feeds): model.set_tensor(detail["index"], value)
    call = model.invoke
else:
    import onnxruntime
    options = onnxruntime.SessionOptions(); options.intra_op_num_threads = threads; options.inter_op_num_threads = 1
    model = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {one.name: value for one, value in zip(model.get_inputs(), feeds)}
    call = lambda: model.run(None, feed)
samples, started = [], time.perf_counter()
while time.perf_counter() - started < 1.3 or len(samples) < 70:
    start = time.perf_counter_ns(); call(); samples.append(time.perf_counter_ns() - start)
print(sorted(samples[len(samples) // 4:])[(len(samples) - len(samples) // 4) // 2])
"""


def python(*argv: str, stdin: str = "") -> str:
    done = subprocess.run([sys.executable, "-I", "-S", *argv], input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    return done.stdout


def compare(model: Path, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]], pairs: int, threads: int, scratch: Path) -> Ratio:
    """One file: the agent's p50 over the bare loop's."""
    form, target = model.suffix.removeprefix("."), platform()
    with tarfile.open(site_packages(target, form, os.uname().machine, f"{sys.version_info.major}.{sys.version_info.minor}")) as archive:
        archive.extractall(scratch / form, filter="data")
    for i, spec in enumerate(inputs):
        np.save(scratch / f"{i}.npy", np.random.default_rng(i).standard_normal((1, *spec["shape"])).astype(spec["dtype"]))
    job = {
        "job": "benchmark",
        "mode": "latency",
        "artifact": str(model),
        "format": form,
        "site": str(scratch / form),
        "inputs": [str(scratch / f"{i}.npy") for i in range(len(inputs))],
        "inputs_spec": inputs,
        "outputs_spec": outputs,
        "threads": threads,
        "protocol": PROTOCOL,
    }

    def ours() -> float:
        said = [json.loads(line) for line in python(str(agent_archive(target)), str(scratch / "job"), stdin=json.dumps(job)).splitlines()]
        if "error" in (result := said[-1]["result"]):
            sys.exit(result["error"]["message"])
        return float(np.median([one for line in said for one in line.get("samples_ns", [])])) / 1e6

    def bare() -> float:
        return int(python("-c", BARE, str(scratch / form), str(model), str(threads), str(scratch), str(len(inputs)))) / 1e6

    ours(), bare()  # both once: bytecode and the page cache
    return of_pairs(f"agent against a bare loop, {form}, {threads} thread(s)", *interleaved(ours, bare, pairs), BAR, "ms")


def main(model: Path, pairs: int, threads: int) -> None:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    read = run(Job("convert", "read_onnx", {"model": model}, {"shapes": {}}), lambda *_: None)
    hub = read.folder / "hub.onnx"
    tflite = run(Job("convert", "write_tflite", {"hub": hub}), lambda *_: None).folder / "model.tflite"
    for file in (tflite, hub):
        with tempfile.TemporaryDirectory() as scratch:
            print(compare(file, read.result["inputs"], read.result["outputs"], pairs, threads, Path(scratch)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 20, int(sys.argv[3]) if len(sys.argv) > 3 else 1)
