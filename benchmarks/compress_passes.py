"""Every training-free pass on a 100 MB network: seconds, and the peak memory of a process that loads the network, changes it and saves it.

    python benchmarks/compress_passes.py [STEP …]

The bars: 10 s for the pass, and 3 × the model for the process, the model and the interpreter with numpy and onnx included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.convert_many import network

STEPS = ("prune50", "prune2:4", "prune50block4", "channels50", "lowrank50", "cluster16", "cluster256", "cluster16group8", "ternary", "binary")
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


def main(steps: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        model = hub(network(Path(scratch, "convnet.onnx")))
        size, missed = model.stat().st_size, 0
        print(f"a model of {size / 1e6:.0f} MB; bars {BAR_SECONDS} s and {BAR_TIMES * size / 1e6:.0f} MB")
        print(f"{'step':<16} {'s':>6} {'CPU s':>6} {'loaded':>8} {'passed':>8} {'saved':>8} MB, peaks so far")
        for step in steps:
            argv = [sys.executable, "-c", CHILD, str(model), str(Path(scratch, "made.onnx")), step]
            root = str(Path(__file__).resolve().parent.parent)
            done = subprocess.run(argv, cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{step} ended with {done.returncode}: {done.stderr[-2000:]}")
            seconds, worked, *peaks, note = done.stdout.strip().split("\t")
            met = float(seconds) <= BAR_SECONDS and int(peaks[-1]) <= BAR_TIMES * size
            missed += not met
            figures = f"{float(seconds):6.2f} {float(worked):6.2f} {' '.join(f'{int(peak) / 1e6:8.0f}' for peak in peaks)}"
            print(f"{step:<16} {figures}    {'met' if met else 'missed'}  {note}", flush=True)
        sys.exit(missed > 0)


def hub(model: Path) -> Path:
    """The network with the shapes of all its tensors, as passes get it."""
    import onnx

    from edgekit.hub.shapes import infer

    held = onnx.load(model)
    infer(held)
    onnx.save(held, model)
    return model


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or STEPS)
