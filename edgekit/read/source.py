"""What a source is: a kind of model file, how it is told from others, and the workers that read it and run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


def no_other_files(path: Path) -> Mapping[str, Path]:
    """Most models are one file or one folder."""
    return {}


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of model file."""

    name: str
    toolchain: str
    recognises: Callable[[Path], bool]
    """From the name and the first bytes only; whether the content is right is for the reader to say."""
    read_verb: str | None
    """Worker verb: model → raw ONNX; None where the model is ONNX already."""
    reference_verb: str
    """Worker verb: model × samples → the outputs of the model's own framework."""
    other_files: Callable[[Path], Mapping[str, Path]] = no_other_files
    """Files beside the model that belong to it, as further inputs of a job."""
    fixes_shapes: bool = False
    """Whether reading takes the option `shapes`, fixes the inputs, and tells `shapes` and which axes were `flexible`; else the hub does."""


def starts_with(path: Path, magic: bytes) -> bool:
    """Whether a regular file begins with these bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
