"""Files in, the bytes of a zip archive out, always the same for the same files: stored, sorted, without dates.

Nothing is compressed: a model stays mappable into memory, the bytes do not depend on a version of zlib, and so an
archive can be checked down to its last bit by writing it again. Layout: PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgekit.errors import ReleaseError
from edgekit.files import CHUNK

LARGEST = 2**32 - 1
"""Bytes of an archive without the zip64 extension."""

VERSION = 20
UTF8_NAMES = 0x800
DATE = 0x21  # 1 January 1980, the first day that there is
MODE = 0o100644 << 16
UNIX = 3 << 8


def stored_zip(files: Mapping[str, bytes | Path]) -> Iterator[bytes]:
    """The archive of `files` (name → content, or the file that has it), piece by piece.

    Raises:
        ReleaseError: it would be larger than 4 GiB.
    """
    directory, offset = b"", 0
    for name, content in sorted(files.items()):
        encoded = name.encode()
        crc, size = measure(content)
        common = struct.pack("<HHHHHIIIHH", VERSION, UTF8_NAMES, 0, 0, DATE, crc, size, size, len(encoded), 0)
        directory += b"PK\x01\x02" + struct.pack("<H", UNIX | VERSION) + common + struct.pack("<HHHII", 0, 0, 0, MODE, offset) + encoded
        local = b"PK\x03\x04" + common + encoded
        offset += len(local) + size
        if offset + len(directory) > LARGEST - 22:
            raise ReleaseError("the archive would be larger than 4 GiB: pack a smaller variant, or choose the generic platform")
        yield local
        yield from pieces(content)
    yield directory
    yield b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, len(files), len(files), len(directory), offset, 0)


def pieces(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def measure(content: bytes | Path) -> tuple[int, int]:
    """CRC-32 and size in bytes."""
    crc = size = 0
    for chunk in pieces(content):
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
    return crc, size
