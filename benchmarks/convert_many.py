"""ONNX → three formats of a 100 MB network in one command against the slowest format alone: wall-clock; and the workers' peak memory.

    python benchmarks/convert_many.py [PAIRS]

Memory is told of fp32, and of w8 with w8a8, which are calibrated on samples made up.

Each conversion starts from a cache that holds the toolchains alone. The bars: 1.2 × the slowest single one, where two processors allow;
6 × the model + 400 MB for each worker.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.convert_overhead import timed
from benchmarks.ratio import interleaved, of_pairs
from edgekit.places import cache_dir
from edgekit.toolchains.room import needed_bytes

FORMATS = ("tflite", "coreml", "onnx")
BAR = 1.2
SAMPLES = 32
STAGES = ((64, 2), (128, 2), (256, 2), (512, 9))
"""Channels and residual convolutions (3 × 3) of each stage: 25 million weights, most of them in the last, as in a ResNet-50."""


def network(path: Path) -> Path:
    """Write the network: [1, 3, 64, 64] → [1, 1000], random weights (He et al. 2015) that keep activations in range."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def stored(name: str, array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def conv(given: str, given_channels: int, channels: int, stride: int, name: str) -> str:
        spread = np.sqrt(2 / (9 * given_channels))
        kernel = stored(f"{name}_w", rng.standard_normal((channels, given_channels, 3, 3)) * spread)
        bias = stored(f"{name}_b", rng.standard_normal(channels) * 0.01)
        nodes.append(helper.make_node("Conv", [given, kernel, bias], [f"{name}_c"], name=name, strides=[stride] * 2, pads=[1] * 4, kernel_shape=[3, 3]))
        nodes.append(helper.make_node("Relu", [f"{name}_c"], [name], name=f"{name}_relu"))
        return name

    last, channels = "image", 3
    for stage, (wide, depth) in enumerate(STAGES):
        last, channels = conv(last, channels, wide, 2, f"s{stage}"), wide
        for block in range(depth):
            inner = conv(last, wide, wide, 1, f"s{stage}b{block}")
            nodes.append(helper.make_node("Add", [last, inner], [f"s{stage}r{block}"], name=f"s{stage}add{block}"))
            last = f"s{stage}r{block}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"))
    matrix = stored("fc_w", rng.standard_normal((channels, 1000)) / np.sqrt(channels))
    nodes.append(helper.make_node("Gemm", ["flat", matrix, stored("fc_b", np.zeros(1000))], ["scores"], name="fc"))
    graph = helper.make_graph(
        nodes,
        "convnet",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1000])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@contextmanager
def fresh_cache() -> Iterator[Path]:
    """A cache with nothing but the toolchains."""
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch, "cache")
        cache.mkdir()
        (cache / "toolchains").symlink_to(cache_dir() / "toolchains")
        yield cache


def convert(model: Path, formats: tuple[str, ...], peaks: dict[str, int] | None = None, more: tuple[str, ...] = ()) -> float:
    """Seconds of one conversion as a user calls it; the workers' peaks go into `peaks`."""
    with fresh_cache() as cache:
        env = {**os.environ, "EDGEKIT_CACHE_DIR": str(cache), "EDGEKIT_DATA_DIR": str(cache.parent / "data")}
        argv = [str(Path(sys.executable).parent / "edgekit"), "convert", str(model), "--to", ",".join(formats), "-o", str(cache.parent / "out"), *more]
        took = timed(argv, cache.parent, env)
        for result in (cache / "results").glob("*/result.json"):
            worker = json.loads(result.read_text())["worker"]
            if peaks is not None:
                peaks[worker["verb"]] = max(peaks.get(worker["verb"], 0), worker["peak_rss_bytes"])
        return took


def main(pairs: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        model = network(Path(scratch, "convnet.onnx"))
        alone = {fmt: min(convert(model, (fmt,)) for _ in range(2)) for fmt in FORMATS}
        slowest = max(alone, key=lambda fmt: alone[fmt])
        print(", ".join(f"{fmt} alone {seconds:.1f} s" for fmt, seconds in alone.items()), flush=True)
        peaks: dict[str, int] = {}
        mine, theirs = interleaved(lambda: convert(model, FORMATS, peaks), lambda: convert(model, (slowest,)), pairs)
        print(of_pairs(f"three formats against {slowest} alone", mine, theirs, BAR), flush=True)
        tell("fp32", peaks, model)
        data, quantized = Path(scratch, "data.npz"), dict[str, int]()
        np.savez(data, image=np.random.default_rng(1).standard_normal((SAMPLES, 3, 64, 64)).astype(np.float32))
        convert(model, FORMATS, quantized, ("--recipe", "w8,w8a8", "--data", str(data)))
        tell("w8, w8a8", quantized, model)


def tell(recipes: str, peaks: dict[str, int], model: Path) -> None:
    """Print each worker's peak memory, largest first."""
    bar = needed_bytes(model.stat().st_size)
    for verb, peak in sorted(peaks.items(), key=lambda item: -item[1]):
        told = "met" if peak <= bar else "missed"
        print(f"{recipes}: peak memory of {verb:<19} {peak / 1e6:.0f} MB of {bar / 1e6:.0f} MB: {told}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
