"""Models in, the same with their bytes damaged out, and how a worker takes each of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.toolchains.catalog import HERE, toolchain

FUZZ_WORKER = Path(__file__).with_name("fuzz_worker.py")
DEADLINE_S = 120.0
"""A worker's own deadline is far longer; a small model that takes this long hangs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a worker took one damaged model: `done`, `refused`, `traceback`, `crashed` or `hung`."""

    end: str
    words: str

    @property
    def worded(self) -> bool:
        """Whether a user gets an answer that is meant for people."""
        return self.end == "done" or (self.end == "refused" and len(self.words) > 20 and "\n" not in self.words and ": " in self.words)


def damaged(content: bytes, seed: int) -> bytes:
    """Up to eight bits flipped, or the end cut off, or a block overwritten by noise, by zeros or by another part of itself."""
    rng = np.random.default_rng(seed)
    made = bytearray(content)
    how = seed % 4
    if how == 0:
        for position in rng.integers(0, len(made), rng.integers(1, 9)):
            made[position] ^= 1 << rng.integers(0, 8)
    elif how == 1:
        del made[rng.integers(0, len(made)) :]
    else:
        size = int(rng.integers(1, min(64, len(made) // 2)))
        start, other = (int(place) for place in rng.integers(0, len(made) - size, 2))
        made[start : start + size] = rng.bytes(size) if how == 2 else content[other : other + size] if seed % 8 == 3 else bytes(size)
    return bytes(made)


def damage(source: Path, target: Path, seed: int) -> Path:
    """A damaged copy of a file; of a folder, one with one of its files damaged."""
    if source.is_file():
        target.write_bytes(damaged(source.read_bytes(), seed))
        return target
    shutil.copytree(source, target)
    files = sorted(path for path in target.rglob("*") if path.is_file() and path.stat().st_size > 4)
    chosen = files[int(np.random.default_rng(seed).integers(0, len(files)))]
    chosen.write_bytes(damaged(chosen.read_bytes(), seed))
    return target


@contextmanager
def taking(home: str, verb: str) -> Iterator[Any]:
    """A function of a job's inputs and options that gives its Ended."""
    argv = [str(toolchain(home).python), "-s", str(FUZZ_WORKER), str(HERE / "worker.py"), str(HERE / home / f"{verb}.py"), str(DEADLINE_S)]
    env = {"PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "KERAS_BACKEND": "tensorflow"}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def take(inputs: dict[str, Path], options: dict[str, Any]) -> Ended:
            process.stdin.write(json.dumps({"inputs": {k: str(v) for k, v in inputs.items()}, "options": options}) + "\n")
            process.stdin.flush()
            return Ended(**json.loads(process.stdout.readline()))

        yield take
        process.stdin.close()


def unworded(ends: Sequence[tuple[int, Ended]]) -> dict[int, str]:
    """Seed → what went wrong, of those that a user would get no worded answer for."""
    return {seed: f"{ended.end}: {ended.words[-400:]}" for seed, ended in ends if not ended.worded}


def counts(ends: Sequence[tuple[int, Ended]]) -> str:
    """`refused 812, done 188`."""
    return ", ".join(f"{end} {n}" for end, n in Counter(ended.end for _, ended in ends).most_common())
