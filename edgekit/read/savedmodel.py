"""TensorFlow SavedModel folders."""

from __future__ import annotations

from edgekit.read.source import Source

SOURCE = Source(
    name="savedmodel",
    toolchain="tensorflow",
    recognises=lambda path: (path / "saved_model.pb").is_file(),
    read_verb="read",
    reference_verb="reference",
    fixes_shapes=True,
)
