"""`edgekit convert` from an empty cache against the bare converter in a fresh process: wall-clock ratios on MobileNetV2.

    python benchmarks/convert_overhead.py MODEL.onnx [PAIRS]

Ours reads, runs the reference, writes, verifies and delivers; the bare script only converts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratio import interleaved, of_pairs
from edgekit.places import cache_dir
from edgekit.toolchains.catalog import toolchain

BARE = {
    "tflite": """import shutil, sys, onnx2tf
shutil.copy(sys.argv[1], "copy.onnx")
onnx2tf.convert(input_onnx_file_path="copy.onnx", output_folder_path="out", non_verbose=True)""",
    "coreml": """import sys, onnx2coreml
onnx2coreml.convert(sys.argv[1], compute_precision="fp32").save("model.mlpackage")""",
}
BAR = 1.3


def timed(argv: list[str], cwd: Path, env: dict[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True)
    took = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"{argv} failed:\n{done.stderr[-2000:]}")
    return took


def ours(model: Path, fmt: str) -> float:
    """A conversion as a user calls it, with nothing in the cache but the toolchains."""
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch, "cache")
        cache.mkdir()
        (cache / "toolchains").symlink_to(cache_dir() / "toolchains")
        env = {**os.environ, "EDGEKIT_CACHE_DIR": str(cache), "EDGEKIT_DATA_DIR": str(Path(scratch, "data"))}
        argv = [str(Path(sys.executable).parent / "edgekit"), "convert", str(model), "--to", fmt, "-o", str(Path(scratch, "out"))]
        return timed(argv, Path(scratch), env)


def bare(model: Path, fmt: str) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        return timed([str(toolchain("convert").python), "-c", BARE[fmt], str(model)], Path(scratch), dict(os.environ))


def main(model: Path, pairs: int) -> None:
    for fmt in BARE:
        ours(model, fmt), bare(model, fmt)  # both once, to warm the disk's cache
        mine, theirs = interleaved(lambda fmt=fmt: ours(model, fmt), lambda fmt=fmt: bare(model, fmt), pairs)
        print(of_pairs(f"convert {fmt} against the bare converter", mine, theirs, BAR), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 8)
