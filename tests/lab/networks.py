"""The networks that tests convert: made once by the examples' and the lab's own scripts, kept in the user's cache by content.

A script is run in the toolchain of its framework, so a network is its framework's own file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgekit.places import cache_dir
from edgekit.toolchains.catalog import toolchain
from tests.lab.packages import mnist_csv

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "examples/mnist/train.py"
MOBILENET_KERAS = ROOT / "tests/lab/models/mobilenet_keras.py"
MOBILENET_TORCH = ROOT / "tests/lab/models/mobilenet_torch.py"


def made(script: Path, home: str, *argv: str) -> Path:
    """The folder that a script filled; `argv` names files in it. The key is the script, its arguments and the lock."""
    key = hashlib.sha256(script.read_bytes() + repr(argv).encode() + toolchain(home).lock_digest.encode()).hexdigest()[:16]
    folder = cache_dir() / "lab" / f"{script.stem}-{key}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent))
        env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run([toolchain(home).python, script, *argv], cwd=scratch, env=env, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            shutil.rmtree(scratch)
            raise RuntimeError(f"{script.name} failed: {done.stderr[-2000:]}")
        scratch.rename(folder)
    return folder


def mobilenet_keras() -> Path:
    return made(MOBILENET_KERAS, "tensorflow", "mobilenet.keras", "mobilenet_savedmodel") / "mobilenet.keras"


def mobilenet_savedmodel() -> Path:
    return mobilenet_keras().with_name("mobilenet_savedmodel")


def mobilenet_pt2() -> Path:
    return made(MOBILENET_TORCH, "torch", "mobilenet.pt2") / "mobilenet.pt2"


def digits(network: str, seed: int = 0) -> tuple[Path, Path]:
    """`depthwise` (19 k parameters) or `cnn` (420 k), trained on MNIST 5k; and the 1,000 samples kept out, as .npz."""
    folder = made(TRAIN, "torch", "--network", network, "--csv", str(mnist_csv()), "--out", ".", "--seed", str(seed))
    return folder / f"{network}.pt2", folder / "digits.npz"
