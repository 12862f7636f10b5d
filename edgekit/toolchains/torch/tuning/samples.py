"""A tensor folder and labels in, training and validation samples in memory out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit.hub.graph import Refusal

Array = np.ndarray[Any, Any]
Tensor = Any

VALIDATION = 0.1
"""Share of the training samples that decide when to stop, where no others are given."""
MOST_VALIDATION = 1000
LEAST_VALIDATION = 8
LEAST_TRAINING = 32
"""Fewer tell a network nothing that it could be tuned by."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs [n, …] in the order of the hub's, and a class index or target for each sample, if known."""

    inputs: tuple[Tensor, ...]
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def rows(self, index: Tensor) -> Samples:
        return Samples(tuple(one[index] for one in self.inputs), None if self.labels is None else self.labels[index])

    def batches(self, size: int) -> Iterator[Samples]:
        for index in torch.arange(len(self)).split(size):
            yield self.rows(index)


def read(folder: Path, inputs: list[str], labels: Path | None) -> Samples:
    """Samples as `samples` workers write them: `0.npy`, `1.npy`, … [n, 1, …], the hub's batch of one within.

    Raises:
        Refusal: an input has no batch axis, or there are not as many labels as samples.
    """
    arrays = [np.load(folder / f"{place}.npy") for place in range(len(inputs))]
    for name, one in zip(inputs, arrays, strict=True):
        if one.ndim < 2 or one.shape[1] != 1:
            raise Refusal(f"input {name!r} has no batch axis of 1 ({list(one.shape[1:])}): tuning runs several samples at once, so export the model with one")
    given = None if labels is None else np.load(labels)
    if given is not None and len(given) != len(arrays[0]):
        raise Refusal(f"there are {len(given)} labels for {len(arrays[0])} training samples: give one for each")
    return Samples(tuple(torch.from_numpy(one.reshape(len(one), *one.shape[2:])) for one in arrays), None if given is None else torch.from_numpy(given))


def divide(samples: Samples, seed: int) -> tuple[Samples, Samples]:
    """Training and validation samples, drawn by a fixed seed.

    Raises:
        Refusal: too few.
    """
    n = len(samples)
    validation = min(MOST_VALIDATION, max(LEAST_VALIDATION, round(n * VALIDATION)))
    if n - validation < LEAST_TRAINING:
        raise Refusal(f"{n} training samples are too few to tune by: give at least {LEAST_TRAINING + LEAST_VALIDATION}, better some hundreds, with --train")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    return samples.rows(order[validation:]), samples.rows(order[:validation])
