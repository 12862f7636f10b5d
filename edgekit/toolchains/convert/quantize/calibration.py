"""Calibration samples in; out, how the values of every inner tensor are distributed, and samples kept aside to judge by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit.hub.ranges import Histogram
from edgekit.toolchains.convert.runtime.runners import Array, Spec

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

MOST_JUDGES = 16
RANDOM = 4
"""Seeded samples to judge by where no data was given."""

MOST_VALUES = 65_536
"""Of a larger tensor each sample gives so many values to the histogram (and all to its least and largest)."""

Tensors = Callable[[list[Array]], Iterable[tuple[str, Array]]]
"""Feeds → inner tensors by name, float32."""


class CalibrationSet:
    """The samples of a folder: a quarter, at most MOST_JUDGES, is kept aside to judge by; of fewer than 8 all serve both ends."""

    def __init__(self, folder: Path | None, inputs: list[Spec]) -> None:
        self.inputs = inputs
        self.arrays = [np.load(folder / f"{i}.npy", mmap_mode="r", allow_pickle=False) for i in range(len(inputs))] if folder else []
        self.count = len(self.arrays[0]) if self.arrays else 0
        aside = min(MOST_JUDGES, self.count // 4) if self.count >= 8 else 0
        self.fit = range(self.count - aside)
        self.aside = range(self.count - aside, self.count) if aside else range(self.count)

    @property
    def origin(self) -> str:
        """What the judges are, for a note."""
        return f"{len(self.aside)} calibration samples kept aside" if self.count >= 8 else f"{self.count} samples" if self.count else f"{RANDOM} random samples"

    @property
    def constant(self) -> bool:
        """Whether all samples together hold, in each input, one value only: they say nothing of what the model meets."""
        return bool(self.arrays) and sum(array.size for array in self.arrays) > len(self.arrays) and all(map(one_value, self.arrays))

    def feeds(self, index: int) -> list[Array]:
        return [np.asarray(array[index]).astype(spec["dtype"]) for array, spec in zip(self.arrays, self.inputs, strict=True)]

    def judges(self) -> list[list[Array]]:
        """Without data: seeded values in -1..1, 0 for integers."""
        if self.count:
            return [self.feeds(index) for index in self.aside]
        rng = np.random.default_rng(0)
        return [[made_up(spec, rng) for spec in self.inputs] for _ in range(RANDOM)]

    def samples(self, progress: Callable[[str, float], None]) -> Iterator[list[Array]]:
        """Those to calibrate with, one after the other."""
        for index in self.fit:
            yield self.feeds(index)
            progress("calibrating", (index + 1) / len(self.fit))


def one_value(array: Array) -> bool:
    """Whether all values are the same; read sample by sample, to the first that is not."""
    return array.size == 0 or all(bool((sample == array.flat[0]).all()) for sample in array)


def require_variety(job: Job, calibration: CalibrationSet) -> None:
    """Refuse to set ranges by samples in which every value is the same: all ranges would be as good as none."""
    if calibration.constant:
        recipe = job.options["recipe"]
        job.refuse(f"the calibration samples are constant, each input holds one value only, so {recipe} has no ranges to go by: give real ones with --data")


def made_up(spec: Spec, rng: np.random.Generator) -> Array:
    dtype = np.dtype(spec["dtype"])
    values = rng.uniform(-1, 1, spec["shape"]) if dtype.kind == "f" else np.zeros(spec["shape"])
    return np.asarray(values, dtype)


@dataclass(slots=True)
class Statistics:
    """What calibration saw of every tensor."""

    histograms: dict[str, Histogram] = field(default_factory=dict)
    means: dict[str, Array] = field(default_factory=dict)
    """Tensor → mean of each channel over all samples; only of tensors that were asked for."""


def collect(tensors: Tensors, samples: Iterable[list[Array]], channel_axes: Mapping[str, int]) -> Statistics:
    """Run the samples through and count; `channel_axes` names the tensors whose channel means are wanted."""
    found, n = Statistics(), 0
    for feeds in samples:
        n += 1
        for name, values in tensors(feeds):
            count(found.histograms.setdefault(name, Histogram()), values)
            if name in channel_axes:
                rest = tuple(i for i in range(values.ndim) if i != channel_axes[name] % values.ndim)
                mean = values.mean(axis=rest, dtype=np.float64)
                found.means[name] = found.means.get(name, np.zeros_like(mean)) + mean
    for total in found.means.values():
        total /= n
    return found


def count(histogram: Histogram, values: Array) -> None:
    """Add a tensor, or, of a large one, its extremes and every so-manieth value, in a step that meets every channel."""
    flat = values.reshape(-1)
    if flat.size > MOST_VALUES:
        step = -(-flat.size // MOST_VALUES)
        while math.gcd(step, flat.size) > 1:
            step += 1
        histogram.add(np.array([flat.min(), flat.max()]))
        flat = flat[::step]
    histogram.add(flat)
