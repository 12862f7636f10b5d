"""Keras 3 `.keras` (a zip) and Keras 2 `.h5`/`.hdf5` files."""

from __future__ import annotations

from edgekit.read.source import Source, starts_with

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

SOURCE = Source(
    name="keras",
    toolchain="tensorflow",
    recognises=lambda path: path.is_file() and (path.suffix.lower() in (".keras", ".h5", ".hdf5") or starts_with(path, HDF5_MAGIC)),
    read_verb="read",
    reference_verb="reference",
    fixes_shapes=True,
)
