"""Numbers and how integers stand for them in; the integers, or the numbers again, out: arrays and tensor folders (numpy only).

How is `{"scale", "zero_point", "dtype"}`: real = scale · (integer - zero_point), one scale for a tensor; None leaves a tensor as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
How = Mapping[str, Any] | None


def to_integers(values: Array, how: How) -> Array:
    """round(values / scale) + zero point, cut off at the dtype's ends."""
    if how is None:
        return values
    ends = np.iinfo(how["dtype"])
    return np.asarray(np.clip(np.rint(values / how["scale"]) + how["zero_point"], ends.min, ends.max), how["dtype"])


def to_floats(values: Array, how: How) -> Array:
    """scale · (values - zero point), float32."""
    if how is None:
        return values
    return np.asarray((values.astype(np.float32) - how["zero_point"]) * np.float32(how["scale"]), np.float32)


def folder_to_integers(source: Path, target: Path, how: Sequence[How]) -> None:
    """Tensor `i` of a folder as `how[i]` wants it, sample by sample."""
    for index, one in enumerate(how):
        values = np.load(source / f"{index}.npy", mmap_mode="r", allow_pickle=False)
        made = np.lib.format.open_memmap(target / f"{index}.npy", "w+", values.dtype if one is None else np.dtype(one["dtype"]), values.shape)
        for sample, given in enumerate(values):
            made[sample] = to_integers(np.asarray(given), one)
        made.flush()


def folder_to_floats(folder: Path, how: Sequence[How]) -> None:
    """In place: tensor `i` of a folder as the numbers that its integers stand for."""
    for index, one in enumerate(how):
        if one is not None:
            path = folder / f"{index}.npy"
            np.save(path, to_floats(np.load(path, allow_pickle=False), one))
