"""The weights folder of an .mlpackage in, the arrays that its programs point to out: the storage format of weight.bin.

A file begins with 64 bytes; a value is pointed to by the offset of its 64 bytes of metadata (little-endian: sentinel, data type,
size in bytes, offset of the data, bits of padding), all at multiples of 64 (MILBlob, StorageFormat.hpp, in coremltools' source).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .arguments import Array, EvaluationError

SENTINEL = 0xDEADBEEF
METADATA = struct.Struct("<IIQQQ")

BOOL, STRING = 1, 2
DTYPES: dict[int, type[np.generic]] = {
    BOOL: np.bool_,
    10: np.float16,
    11: np.float32,
    12: np.float64,
    21: np.int8,
    22: np.int16,
    23: np.int32,
    24: np.int64,
    25: np.int8,
    31: np.uint8,
    32: np.uint16,
    33: np.uint32,
    34: np.uint64,
    35: np.uint8,
    36: np.uint8,
    37: np.uint8,
    38: np.uint8,
    39: np.uint8,
}
"""MIL.proto's DataType as numpy's; types of less than a byte in one byte an element."""

BITS = {25: 4, 35: 4, 36: 2, 37: 1, 38: 6, 39: 3}
"""DataTypes that are packed, with their width."""

STORED = {10: 1, 11: 2, 21: 4, 22: 6, 23: 14, 25: 8, 31: 3, 32: 7, 33: 15, 35: 11, 36: 10, 37: 9, 38: 13, 39: 12}
"""What weight.bin calls a DataType (BlobDataType.hpp)."""


def unpacked(data: Array, bits: int, signed: bool, count: int) -> Array:
    """Elements of 1 to 7 bits, packed from the least significant bit on, as int8 or uint8 [count]."""
    wide = np.unpackbits(data, count=count * bits, bitorder="little").reshape(count, bits)
    if signed:  # two's complement: the sign fills the byte
        wide = np.concatenate([wide, np.repeat(wide[:, -1:], 8 - bits, axis=1)], axis=1)
    values = np.packbits(wide, axis=1, bitorder="little").reshape(-1)
    return values.view(np.int8) if signed else values


def from_bytes(data: Array, code: int, shape: tuple[int, ...]) -> Array:
    """uint8 [n] as an array of a DataType.

    Raises:
        EvaluationError: the bytes are not as many as the shape needs, or the type is not known.
    """
    count = math.prod(shape)
    dtype = np_dtype(code)
    bits = BITS.get(code, dtype.itemsize * 8)
    if len(data) != -(-count * bits // 8):
        raise EvaluationError(f"a value of {len(data)} bytes cannot have the shape {list(shape)} in {bits} bits")
    if code in BITS:
        return unpacked(data, bits, dtype.kind == "i", count).reshape(shape)
    return np.frombuffer(data.tobytes(), dtype).reshape(shape)


def np_dtype(code: int) -> np.dtype[Any]:
    """numpy's type for a DataType.

    Raises:
        EvaluationError: the evaluator has none for it.
    """
    if code not in DTYPES:
        raise EvaluationError(f"the evaluator has no data type {code} of MIL")
    return np.dtype(DTYPES[code])


class Blobs:
    """The files of one weights folder, each value read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Array] = {}
        self.found: dict[tuple[str, int, int, tuple[int, ...]], Array] = {}
        self.sizes: dict[str, int] = {}
        self.expanded = 0

    def array(self, file_name: str, offset: int, code: int, shape: tuple[int, ...]) -> Array:
        """The value at an offset, float16 widened to float32.

        Raises:
            EvaluationError: the file is missing, or holds no such value there.
        """
        key = (file_name.rsplit("/", 1)[-1], offset, code, shape)
        if key not in self.found:
            self.found[key] = widened(from_bytes(self.data(key[0], offset, code), code, shape))
        return self.found[key]

    def data(self, name: str, offset: int, code: int) -> Array:
        """The bytes of one value, uint8 [n]."""
        file = self.open(name)
        if offset % 64 or offset + METADATA.size > len(file):
            raise EvaluationError(f"{name} holds no value at {offset}: the file has {len(file)} bytes")
        sentinel, stored, size, start, _ = METADATA.unpack(file[offset : offset + METADATA.size].tobytes())
        if sentinel != SENTINEL or stored != STORED.get(code):
            raise EvaluationError(f"{name} holds no value of that type at {offset}")
        if start + size > len(file):
            raise EvaluationError(f"{name} ends at {len(file)}, before the end of the value at {offset}")
        self.sizes[name] = self.sizes.get(name, 0) + size
        if self.sizes[name] > 4 * len(file):  # a value may be read in two shapes, a file not unfolded
            raise EvaluationError(f"the values of {name} overlap")
        return file[start : start + size]

    def open(self, name: str) -> Array:
        if name not in self.files:
            path = self.folder / name
            if name in ("", "..") or not path.is_file() or not path.stat().st_size:
                raise EvaluationError(f"its weights file {name!r} is missing or empty")
            self.files[name] = np.memmap(path, np.uint8, "r")
        return self.files[name]

    def charge(self, values: Iterable[Any]) -> None:
        """Count arrays that compressed weights expand to: from one bit to 32, and two to spare.

        Raises:
            EvaluationError: they are more than the files can hold.
        """
        self.expanded += sum(value.nbytes for value in values if isinstance(value, np.ndarray))
        if self.expanded > 64 * (sum(len(file) for file in self.files.values()) + (1 << 24)):
            raise EvaluationError("its compressed weights expand to more than its files can hold")


def widened(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float16 else array
