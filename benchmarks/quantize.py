"""Static int8 MobileNetV2 by edgekit against litert-quantizer alone on the same float file: p50 latency and error, in one run.

    python benchmarks/quantize.py MODEL [PAIRS]

Both are calibrated on the same samples and have float32 inputs and outputs. The error is the energy of what the quantized file's outputs
lack against the float file's, sample by sample, on samples that neither has seen: a ratio below 1 is a higher SQNR.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratio import Ratio, interleaved, of_pairs
from edgekit.toolchains.catalog import toolchain

LATENCY_BAR = 1.02
NOISE_BAR = 1.0
CALIBRATION, FRESH = 64, 32
EDGEKIT = Path(sys.executable).parent / "edgekit"

ALONE = """
import sys
import numpy as np
from litert_quantizer import Quantizer, recipe
source, target, data = sys.argv[1:4]
name, samples = next(iter(np.load(data).items()))
ends = [{"regex": ".*", "operation": end, "algorithm_key": "no_quantize"} for end in ("INPUT", "OUTPUT")]
quantizer = Quantizer(source, recipe.static_wi8_ai8() + ends)
ranges = quantizer.calibrate({"serving_default": [{name: sample[None]} for sample in samples]}, num_threads=1)
open(target, "wb").write(quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)
"""

LATENCY = """
import sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(sys.argv[1], num_threads=1); model.allocate_tensors()
(one,) = model.get_input_details()
model.set_tensor(one["index"], np.random.default_rng(0).standard_normal(one["shape"]).astype(np.float32))
samples, started = [], time.perf_counter()
while time.perf_counter() - started < 1.0 or len(samples) < 60:
    start = time.perf_counter_ns(); model.invoke(); samples.append(time.perf_counter_ns() - start)
print(sorted(samples[len(samples) // 4:])[(len(samples) - len(samples) // 4) // 2] / 1e6)
"""

NOISE = """
import json, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
samples = np.load(sys.argv[1])
def outputs(path):
    model = Interpreter(path, num_threads=1); model.allocate_tensors()
    (one,), (other,) = model.get_input_details(), model.get_output_details()
    for sample in samples:
        model.set_tensor(one["index"], sample[None]); model.invoke()
        yield model.get_tensor(other["index"]).astype(np.float64)
files = [list(outputs(path)) for path in sys.argv[2:]]
print(json.dumps([[float(np.sum((a - b) ** 2)) for a, b in zip(files[0], other)] for other in files[1:]] + [float(sum(np.sum(a**2) for a in files[0]))]))
"""


def within(code: str, *argv: object) -> str:
    """What a script says that runs in the converters' environment."""
    done = subprocess.run([toolchain("convert").python, "-c", code, *map(str, argv)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    return done.stdout.splitlines()[-1] if done.stdout else ""


def compare(model: Path, pairs: int, scratch: Path) -> tuple[Ratio, Ratio, float, float]:
    """Latency, error, and the SQNR of ours and of the other in dB."""
    described = subprocess.run([EDGEKIT, "inspect", model, "--json"], check=True, capture_output=True, text=True)
    (spec,) = json.loads(described.stdout)["inputs"]
    rng, data = np.random.default_rng(0), scratch / "data.npz"
    np.savez(data, **{spec["name"]: rng.standard_normal((CALIBRATION, *spec["shape"][1:])).astype(np.float32)})
    np.save(scratch / "fresh.npy", rng.standard_normal((FRESH, *spec["shape"][1:])).astype(np.float32))
    asked = ["--to", "tflite", "--recipe", "fp32,w8a8", "--data", data, "-o", scratch]
    subprocess.run([EDGEKIT, "convert", model, *asked], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    whole, mine, alone = scratch / f"{model.stem}.fp32.tflite", scratch / f"{model.stem}.w8a8.tflite", scratch / "alone.tflite"
    within(ALONE, whole, alone, data)
    noise, other, power = json.loads(within(NOISE, scratch / "fresh.npy", whole, mine, alone))
    latency = interleaved(lambda: float(within(LATENCY, mine)), lambda: float(within(LATENCY, alone)), pairs)
    return (
        of_pairs("w8a8 latency against litert-quantizer alone", *latency, LATENCY_BAR, "ms"),
        of_pairs("w8a8 error against litert-quantizer alone", noise, other, NOISE_BAR, "energy"),
        float(10 * np.log10(power / sum(noise))),
        float(10 * np.log10(power / sum(other))),
    )


def main(model: Path, pairs: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        latency, error, mine, other = compare(model, pairs, Path(scratch))
    print(latency)
    print(error)
    print(f"SQNR {mine:.1f} dB against {other:.1f} dB", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
