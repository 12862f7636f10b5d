"""A file or folder in, the bytes that it takes after deflate (RFC 1951) out: what an app store sends of it."""

from __future__ import annotations

import heapq
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgekit.files import walk

BLOCK = 1 << 22
PIECE = 1 << 20
"""Has a Huffman code of its own where repetitions are not looked for: weights of one kind are as long, or longer."""
PROBE = 1 << 16
"""At the beginning, in the middle and at the end of each block, to see whether it holds repetitions: twice what deflate looks back."""
NOTHING_FOUND = 0.002
"""A share of the bytes: what repetitions have to save to be looked for."""

LONGEST_CODE = 15
HEADER_BITS = 3 + 5 + 5 + 4 + 19 * 3 + (257 + 1) * 4
"""Of a block with a dynamic Huffman code (RFC 1951, 3.2.7) of literals alone: its lengths are written with 4 bits each, the one of distances is 0."""


def download_bytes(path: Path) -> int:
    """Bytes after deflate, file by file, as an app store ships them: what zlib makes at level 6, within 0.2 % of one stream.

    Blocks are deflated side by side, each primed with the 32 kB before it (as pigz does). Where looking for repetitions finds none in parts
    of a block, as in float weights, it is left out for that block; what the Huffman codes of its bytes then take is known from how often
    each byte occurs, without writing them.
    """
    jobs = ((file, start) for file in walk(path) for start in range(0, max(file.stat().st_size, 1), BLOCK))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return sum(threads.map(deflated_bytes, *zip(*jobs, strict=True)))


def deflated_bytes(file: Path, start: int) -> int:
    """Bytes that one block of a file takes."""
    window = min(start, 1 << zlib.MAX_WBITS)
    with file.open("rb") as source:
        source.seek(start - window)
        before, block = source.read(window), source.read(BLOCK)
    if len(block) >= PIECE:
        probes = [block[place : place + PROBE] for place in (0, len(block) // 2, len(block) - PROBE)]
        if all(coded(probe) <= deflated(probe) * (1 + NOTHING_FOUND) for probe in probes):
            return sum(coded(block[place : place + PIECE]) for place in range(0, len(block), PIECE))
    last = start + BLOCK >= file.stat().st_size
    return deflated(block, before, zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


def deflated(block: bytes, before: bytes = b"", end: int = zlib.Z_FINISH) -> int:
    """Bytes of a deflate stream of a block that follows `before`."""
    settings = (6, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_DEFAULT_STRATEGY)
    packer = zlib.compressobj(*settings, before) if before else zlib.compressobj(*settings)
    return len(packer.compress(block)) + len(packer.flush(end))


def coded(block: bytes) -> int:
    """Bytes of a deflate stream of a block that is written as literals with one Huffman code."""
    import numpy as np  # files of less than a block need none

    places = range(0, len(block), PROBE)  # numpy counts in int64: as much as stays in the processor's cache
    counts = sum(np.bincount(np.frombuffer(block[place : place + PROBE], np.uint8), minlength=256) for place in places)
    bits = huffman_bits([*np.asarray(counts).tolist(), 1])  # and the end of the block
    return deflated(block) if bits is None else -(-(HEADER_BITS + bits) // 8)


def huffman_bits(counts: list[int]) -> int | None:
    """Bits that symbols, occurring so often, take in a Huffman code (Huffman 1952); None where a code would be longer than deflate's may be."""
    heap = [(count, 0) for count in counts if count]
    heapq.heapify(heap)
    bits = 0
    while len(heap) > 1:
        (one, deep), (other, deeper) = heapq.heappop(heap), heapq.heappop(heap)
        bits += one + other  # each symbol below gets one bit more
        heapq.heappush(heap, (one + other, max(deep, deeper) + 1))
    return bits if heap[0][1] <= LONGEST_CODE else None
