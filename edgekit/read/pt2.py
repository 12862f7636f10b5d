"""PyTorch ExportedProgram files, `.pt2`; no other pickle of torch is ever loaded."""

from __future__ import annotations

from edgekit.read.source import Source

SOURCE = Source(
    name="pt2",
    toolchain="torch",
    recognises=lambda path: path.is_file() and path.suffix.lower() == ".pt2",
    read_verb="read",
    reference_verb="reference",
)
