"""Samples of a model at its default sizes in, samples at other sizes out: what a flexible file is checked with there.

They are made of the default ones, so that values and indices stay in the range that the model knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

Array = np.ndarray[Any, Any]

N = 2
"""Samples of each size; each is run again after every other size."""


def run(job: Job) -> dict[str, Any]:
    """`samples` (tensor folder), option `sizes` ([shape for each input] for each size) → `out/<size>/<input>.npy`, [2, *shape] each."""
    arrays = [np.load(job.inputs["samples"] / f"{index}.npy", mmap_mode="r") for index in range(len(job.options["sizes"][0]))]
    for number, shapes in enumerate(job.options["sizes"]):
        folder = job.out / str(number)
        folder.mkdir()
        for index, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
            np.save(folder / f"{index}.npy", np.stack([resized(array, start, shape) for start in range(N)]))
    return {}


def resized(array: Array, start: int, shape: list[int]) -> Array:
    """One sample of this shape out of an array [n, *default shape]: longer axes go there and back, a longer first one takes further samples too."""
    n, first = array.shape[0], array.shape[1] if array.ndim > 1 else 1
    taken = max(1, -(-shape[0] // first)) if shape and shape[0] != first else 1
    made = np.concatenate([array[(start + i) % n] for i in range(taken)], axis=0) if taken > 1 else np.asarray(array[start % n])
    for axis, size in enumerate(shape):
        there = np.arange(made.shape[axis])
        back = np.concatenate([there, there[::-1]])
        made = np.take(made, np.resize(back, size), axis=axis)
    return made
