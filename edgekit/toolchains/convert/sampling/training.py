"""Samples of a file in, those to train with out: apart from those that it is calibrated and evaluated with; and what is too little, or does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Spec = dict[str, Any]

LEAST = 80
"""Of these a quarter calibrates and a fifth is evaluated, and 44 are left: of fewer, the part that tells when to stop would say nothing."""
LEAST_OWN = 40
EVALUATED = 5
"""One in so many is evaluated where one file serves all ends."""
MOST_BYTES = 2_000_000_000
"""What training samples may take: they are held in memory while a network is tuned."""


class Unusable(Exception):
    """Data that does not fit the model, in one sentence."""


def split_in_three(file: str, n: int, sample_bytes: int, most: tuple[int, int], seed: int) -> tuple[tuple[Array, Array, Array], str]:
    """Indices for calibration, training and evaluation, none in two of them, and a sentence about them, which says if fewer are evaluated for it.

    Args:
        most: samples to calibrate and to evaluate with.

    Raises:
        Unusable: too few.
    """
    if n < LEAST:
        raise Unusable(f"{file} has {n} samples, and calibration, training and evaluation are kept apart: give at least {LEAST}, or others with --train")
    order = np.random.default_rng(seed).permutation(n)
    n_calibration, n_evaluation = min(n // 4, most[0]), min(n // EVALUATED, most[1])
    end = min(n, n_calibration + n_evaluation + MOST_BYTES // max(sample_bytes, 1))
    calibration, evaluation, training = (np.sort(part) for part in np.split(order[:end], [n_calibration, n_calibration + n_evaluation]))
    told = f"of {n} samples {n_calibration} for calibration, {len(training)} for training, {n_evaluation} for evaluation, each for one of these alone"
    unused = f"; {n - end} unused (training holds its samples in memory)" if end < n else ""
    alone = min(n - n_calibration, most[1])
    others = f"; where nothing is tuned {alone} are evaluated, so compare no accuracy of such a run with these" if alone > n_evaluation else ""
    return (calibration, training, evaluation), f"{file}, split once by seed {seed}: {told}{unused}{others}"


def split_in_two(n: int, most: int, seed: int) -> tuple[Array, Array]:
    """Indices for calibration, a quarter or `most`, and for training."""
    order = np.random.default_rng(seed).permutation(n)
    n_calibration = min(n // 4, most)
    return np.sort(order[:n_calibration]), np.sort(order[n_calibration:])


def told_of(n_calibration: int, n_training: int) -> str:
    """What samples of a file of their own are for."""
    parts = [f"{n} samples for {what}" for n, what in ((n_calibration, "calibration"), (n_training, "training")) if n]
    return " and ".join(parts) or "not used"


def require_enough(file: str, n: int) -> None:
    """
    Raises:
        Unusable: too few samples to train with.
    """
    if n < LEAST_OWN:
        raise Unusable(f"{file} has {n} samples to train with: give at least {LEAST_OWN}, better some hundreds")


def beyond(file: str, labels: Array, outputs: list[Spec]) -> str | None:
    """Why class indices do not fit the scores that a model gives (its first output), or None; also where it gives none."""
    if not outputs or not len(labels):
        return None
    name, (*others, classes) = outputs[0]["name"], outputs[0]["shape"] or [0]
    if classes < 2 or any(axis != 1 for axis in others) or int(labels.max()) < classes:
        return None
    return f"labels of {file} hold class {int(labels.max())}, and output {name!r} has scores of {classes} classes, 0 to {classes - 1}: check them"
