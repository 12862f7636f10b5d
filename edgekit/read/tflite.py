"""TFLite files: float ones, and those whose weights alone are stored as float16, int8 or sparse."""

from __future__ import annotations

from pathlib import Path

from edgekit.read.source import Source


def is_tflite(path: Path) -> bool:
    """By its name, or by the identifier `TFL3` behind the first four bytes."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".tflite":
        return True
    with path.open("rb") as file:
        return file.read(8)[4:] == b"TFL3" and path.suffix.lower() not in (".onnx", ".pb")


SOURCE = Source(
    name="tflite",
    toolchain="convert",
    recognises=is_tflite,
    read_verb="read_tflite",
    reference_verb="reference_tflite",
    fixes_shapes=True,
)
