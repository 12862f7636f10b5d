"""Every training-free pass on a 100 MB network: seconds, and the peak memory of a process that loads the network, changes it and saves it.

    python benchmarks/compress_passes.py [STEP …] [--runs N]

The bars: 10 s for the pass, and 3 × the model for the process, the model and the interpreter with numpy and onnx included.
Seconds are the wall's, of one thread; CPU seconds beside them tell how busy the machine was. `channels` weighs by the weights, with no data.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.convert_many import network
from benchmarks.ratio import median_interval, verdict

ROOT = Path(__file__).resolve().parent.parent
STEPS = (
    *("prune50", "prune2:4", "prune50block4", "channels50", "student:width50", "lowrank50", "cluster16", "cluster256", "cluster16group8"),
    *("ternary", "binary", "bits8", "bits4"),
)
BAR_SECONDS = 10
BAR_TIMES = 3

CHILD = """
import importlib, sys, time
from pathlib import Path
import onnx
from edgekit.compress.steps import read_step
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec
from edgekit.hub.save import save
def peak():
    # not ru_maxrss: that of a child begins with what its parent had
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
given, made, step = sys.argv[1:]
found = read_step(step)
run = importlib.import_module(f"edgekit.compress.{found.technique.name}")
model = onnx.load(given)
peaks = [peak()]
started, worked = time.perf_counter(), time.process_time()
notes = run.apply(model, Spec(), found.strength, Wish())
seconds, worked = time.perf_counter() - started, time.process_time() - worked
peaks.append(peak())
save(model, Path(made))
print(seconds, worked, *peaks, peak(), notes[0], sep="\\t")
"""


def main(steps: tuple[str, ...], runs: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        model = hub(network(Path(scratch, "convnet.onnx")))
        size, verdicts = model.stat().st_size, []
        print(f"a model of {size / 1e6:.0f} MB; medians of {runs} runs [95 % interval]; bars {BAR_SECONDS} s and {BAR_TIMES} x the model")
        print(f"{'step':<16} {'s':<34} {'CPU s':>6}  {'peak / model':<34} MB loaded, passed, saved")
        for step in steps:
            found = [run(model, Path(scratch, "made.onnx"), step) for _ in range(runs)]
            seconds, worked, *peaks = (np.asarray(column, float) for column in list(zip(*found, strict=True))[:5])
            for values, bar in ((seconds, BAR_SECONDS), (peaks[-1] / size, BAR_TIMES)):
                middle, low, high = median_interval(values)
                verdicts.append((f"{middle:.2f} [{low:.2f}, {high:.2f}]", verdict(low, high, bar)))
            times, memory = (f"{figures:<21} {said:<12}" for figures, said in verdicts[-2:])
            print(
                f"{step:<16} {times} {np.median(worked):6.2f}  {memory} {', '.join(f'{np.median(peak) / 1e6:.0f}' for peak in peaks)}  {found[0][-1]}",
                flush=True,
            )
        sys.exit(any(said == "missed" for _, said in verdicts))


def run(model: Path, made: Path, step: str) -> list[str]:
    """One process: seconds, CPU seconds, peaks in bytes (loaded, passed, saved), the pass's first note."""
    argv = [sys.executable, "-c", CHILD, str(model), str(made), step]
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{step} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.strip().split("\t")


def hub(model: Path) -> Path:
    """The network with the shapes of all its tensors, as passes get it."""
    import onnx

    from edgekit.hub.shapes import infer

    held = onnx.load(model)
    infer(held)
    onnx.save(held, model)
    return model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="*", default=STEPS)
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    main(tuple(args.steps), args.runs)
