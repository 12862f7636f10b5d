"""A trained network as frozen records: its tensors, which of their axes are flexible, and its samples; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model: its name, numpy dtype name and shape (a string is a dimension not fixed)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class FlexibleAxis:
    """An axis of an input that need not have one size."""

    input: str
    axis: int
    symbol: str
    """Axes of one symbol have one size."""
    default: int
    """The size before anybody resizes it: what is calibrated, measured and shown."""
    low: int
    high: int | None
    """None where nothing bounds it."""
    listed: tuple[int, ...] = ()
    """The only sizes, where they are listed."""
    asked: bool = False
    """Whether the user named it; else it is as open as the model has it."""


@dataclass(frozen=True, slots=True)
class Model:
    """A trained network on disk, and what reading it gave."""

    path: Path
    source: str
    """`onnx`, `keras`, `savedmodel` or `pt2`."""
    sha256: str
    """Over content: for a folder, over its files' names and digests."""
    hub: Path
    """The normalised ONNX graph."""
    hub_sha256: str
    inputs: tuple[TensorSpec, ...]
    """Fixed shapes (a flexible axis at its default), in the model's own order and under its own names."""
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...] = ()
    """What reading assumed, such as an input fixed at its default."""
    flexible: tuple[FlexibleAxis, ...] = ()
    """Axes that a format which can may keep flexible."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Folders of tensors: `<index>.npy` of shape [n, *input shape] for each input, in the model's order."""

    calibration: Path | None
    evaluation: Path
    labels: Path | None
    """`.npy` of shape [n], int64: the class of each evaluation sample."""
    n_calibration: int
    n_evaluation: int
    origin: str
    """Where they come from and how they were split, in one sentence."""
    training: Path | None = None
    """What networks are tuned with, apart from the others."""
    training_labels: Path | None = None
    n_training: int = 0
