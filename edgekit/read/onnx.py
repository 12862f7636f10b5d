"""ONNX files, with external data where the file names some."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgekit.files import CHUNK
from edgekit.read.source import Source

# StringStringEntryProto{key: "location", value: …} as protobuf writes it (onnx.proto, TensorProto.external_data).
LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")


def external_data(path: Path) -> Mapping[str, Path]:
    """The files of weights that an ONNX file names and that exist beside it; found without parsing the file.

    They belong to the model's content, so they enter its digest and the keys of the cache.
    """
    found: dict[str, Path] = {}
    for location in locations(path):
        beside = path.parent / location
        if "\0" not in location and beside.is_file():
            found[f"external:{location}"] = beside
    return found


def locations(path: Path) -> Iterator[str]:
    """The values of the entries `location` in the file, read chunk by chunk so that its size does not matter."""
    longest = 16 + 127
    with path.open("rb") as file:
        window = b""
        while chunk := file.read(CHUNK):
            window = window[-longest:] + chunk
            for match in LOCATION.finditer(window):
                yield window[match.end() : match.end() + match.group(1)[0]].decode(errors="replace")


SOURCE = Source(
    name="onnx",
    toolchain="convert",
    recognises=lambda path: path.is_file() and path.suffix.lower() in (".onnx", ".pb"),
    read_verb=None,
    reference_verb="reference_onnx",
    other_files=external_data,
)
