"""Two tensor folders in, how far apart they are out (numpy only).

A tensor folder holds `0.npy, 1.npy, …`, one array [n, *tensor shape] for each output, n samples. Files are read a block at
a time, so a folder of any size needs a few MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BLOCK = 1 << 18
"""Values looked at together: 2 MB of float64."""

NO_ERROR_DB = 999.0
"""`sqnr_db` where the error is exactly zero."""


class NothingToCompareError(ValueError):
    """There are no samples, the reference has no finite value, or the arrays do not fit each other."""


@dataclass(slots=True)
class Sums:
    """Running figures of one output over its blocks."""

    error: float = 0.0
    reference: float = 0.0
    output: float = 0.0
    product: float = 0.0
    max_abs: float = 0.0
    peak: float = 0.0
    compared: int = 0
    has_nan: bool = False
    output_seen: bool = False

    def add(self, reference: Array, output: Array) -> None:
        """Add a block; where the reference itself is NaN or infinite, there is nothing to be right about."""
        known = np.isfinite(reference)
        reference, output = reference[known], output[known]
        finite = np.isfinite(output)
        self.has_nan |= not finite.all()
        self.output_seen |= bool(np.any(output != 0))
        self.compared += reference.size
        reference, output = reference[finite], output[finite]
        if not reference.size:
            return
        error = output - reference
        self.error += float(error @ error)
        self.reference += float(reference @ reference)
        self.output += float(output @ output)
        self.product += float(reference @ output)
        self.max_abs = max(self.max_abs, float(np.abs(error).max()))
        self.peak = max(self.peak, float(np.abs(reference).max()))

    @property
    def max_rel(self) -> float:
        return self.max_abs / (self.peak or 1.0)

    @property
    def cosine(self) -> float:
        if self.reference == 0 or self.output == 0:
            return 1.0 if self.reference == self.output else 0.0
        return float(min(1.0, self.product / np.sqrt(self.reference) / np.sqrt(self.output)))

    @property
    def sqnr_db(self) -> float:
        if self.error == 0:
            return NO_ERROR_DB
        return float(10 * np.log10(self.reference / self.error)) if self.reference else -NO_ERROR_DB

    @property
    def all_zero(self) -> bool:
        return self.reference > 0 and not self.output_seen


def compare(reference: Path, outputs: Path, n_outputs: int) -> dict[str, Any]:
    """The fields of `records.Parity`, over all outputs and samples; of several outputs the worst counts.

    Positions where the reference is NaN or infinite are left out. `has_nan` means: the output is not finite where the
    reference is. `top1_agreement` is given where the first output is float scores of one choice a sample ([n, 1, classes]).

    Args:
        reference: tensor folder of the source model's outputs.
        outputs: tensor folder of the outputs to judge, with the same shapes.

    Raises:
        NothingToCompareError: no samples, no finite value in a reference output, or shapes that differ.
    """
    figures = []
    for i in range(n_outputs):
        expected, found = open_tensor(reference, i), open_tensor(outputs, i)
        if expected.shape != found.shape:
            raise NothingToCompareError(f"output {i} has the shape {list(found.shape)}, its reference {list(expected.shape)}")
        if not (expected.flags.c_contiguous and found.flags.c_contiguous):
            raise NothingToCompareError(f"output {i} is not stored in C order")
        if not expected.shape[0]:
            raise NothingToCompareError(f"output {i} has no samples")
        if not expected.size:
            continue
        sums = Sums()
        for a, b in blocks(expected, found):
            sums.add(a, b)
        if not sums.compared:
            raise NothingToCompareError(f"the source model's own output {i} is NaN or infinite everywhere")
        figures.append(sums)
    if not figures:
        raise NothingToCompareError("the model's outputs are empty")
    return {
        "max_abs": max(f.max_abs for f in figures),
        "max_rel": max(f.max_rel for f in figures),
        "cosine": min(f.cosine for f in figures),
        "sqnr_db": min(f.sqnr_db for f in figures),
        "top1_agreement": top1_agreement(reference, outputs),
        "has_nan": any(f.has_nan for f in figures),
        "all_zero": any(f.all_zero for f in figures),
        "n": int(open_tensor(reference, 0).shape[0]),
    }


def chance(answers: Array, labels: Array, classes: int) -> float:
    """The share that would be right if the same labels (int [n]) were dealt out to the samples at random: the sum over classes of the labels' share times
    the answers' share (Cohen 1960, "A Coefficient of Agreement for Nominal Scales", p. 39). Labels of one class alone are right however they are dealt, so
    there it is one over the number of classes."""
    labelled, answered = (np.bincount(one, minlength=classes) / len(labels) for one in (labels, answers))
    return 1 / classes if np.count_nonzero(labelled) == 1 else float(labelled @ answered)


def top1_accuracy(outputs: Path, labels: Path) -> float:
    """Share of samples whose first output [n, 1, classes] is largest at the label ([n], integer).

    Raises:
        NothingToCompareError: the first output is no scores of classes, or there are not as many labels as samples.
    """
    scores, truth = open_tensor(outputs, 0), np.load(labels, allow_pickle=False)
    if not is_scores(scores):
        raise NothingToCompareError(f"output 0 has the shape {list(scores.shape)}, which is no scores of classes")
    if truth.shape != (scores.shape[0],):
        raise NothingToCompareError(f"there are {truth.shape[0] if truth.ndim else 1} labels for {scores.shape[0]} samples")
    return float(np.mean(top1(scores) == truth))


def top1_agreement(reference: Path, outputs: Path) -> float | None:
    """Share of samples with the largest score at the same place, None where output 0 is no scores."""
    expected = open_tensor(reference, 0)
    if not is_scores(expected):
        return None
    return float(np.mean(top1(expected) == top1(open_tensor(outputs, 0))))


def is_scores(tensor: Array) -> bool:
    """Whether an array [n, …] is one float score for each of several classes a sample."""
    *others, classes = tensor.shape[1:] or (0,)
    return tensor.dtype.kind == "f" and classes > 1 and all(axis == 1 for axis in others)


def top1(scores: Array) -> Array:
    """[n, …, classes] → [n], the place of the largest score."""
    return np.array([int(row.argmax()) for (row,) in blocks(scores, size=scores.shape[-1])])


def open_tensor(folder: Path, index: int) -> Array:
    """Tensor `index` of a tensor folder, mapped but not read; no pickle is ever loaded."""
    path = folder / f"{index}.npy"
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except ValueError:  # a file of no values cannot be mapped
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]


def blocks(*tensors: Array, size: int | None = None) -> Iterator[tuple[Array, ...]]:
    """The tensors' values in order, as flat float64, `size` of them (BLOCK) at a time.

    Read from the file, not through the mapping: pages of a mapping stay in the process's resident memory.
    """
    size = size or BLOCK
    for start in range(0, tensors[0].size, size):
        yield tuple(read(tensor, start, size) for tensor in tensors)


def read(tensor: Array, start: int, count: int) -> Array:
    """`count` values from the `start`-th on."""
    assert isinstance(tensor, np.memmap)
    values = np.fromfile(tensor.filename, tensor.dtype, count, offset=tensor.offset + start * tensor.itemsize)  # type: ignore[arg-type]
    return values.astype(np.float64)
