"""The bytes that a file takes after deflate: held against zlib, and against a stream that is really written."""

from __future__ import annotations

import heapq
import itertools
import zlib
from pathlib import Path

import numpy as np
import pytest

from edgekit.deflate import BLOCK, coded, download_bytes, huffman_bits


def test_download_bytes_is_what_deflate_gives(tmp_path: Path) -> None:
    content = b"edge" * 100_000
    (tmp_path / "f").write_bytes(content)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    assert download_bytes(tmp_path / "f") == len(packer.compress(content) + packer.flush())


def test_download_bytes_of_many_blocks_is_within_a_few_thousandths_of_one_stream(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weights = random.standard_normal(2_000_000).astype(np.float32).tobytes()
    words = b" ".join(random.choice([b"conv", b"relu", b"add", b"weights", b"bias"], 400_000).tolist())
    whole = b"".join((weights, words, random.integers(-20, 20, 3_000_000, np.int8).tobytes()))
    (tmp_path / "f").write_bytes(whole)
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    assert download_bytes(tmp_path / "f") == pytest.approx(len(packer.compress(whole) + packer.flush()), rel=0.004)


def test_float_weights_take_what_one_stream_of_zlib_takes(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal(BLOCK // 2).astype(np.float32).tobytes()
    (tmp_path / "f").write_bytes(weights)
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    assert download_bytes(tmp_path / "f") == pytest.approx(len(packer.compress(weights) + packer.flush()), rel=0.002)


def test_weights_that_are_mostly_zero_are_not_taken_for_dense_ones(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sparse = (random.standard_normal(BLOCK // 4) * (random.random(BLOCK // 4) < 0.2)).astype(np.float32).tobytes()
    (tmp_path / "f").write_bytes(sparse)
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    assert download_bytes(tmp_path / "f") == pytest.approx(len(packer.compress(sparse) + packer.flush()), rel=0.002)


@pytest.mark.parametrize("block", [np.random.default_rng(0).standard_normal(5000).astype(np.float32).tobytes(), bytes(range(50)) * 20])
def test_what_is_counted_is_a_stream_that_inflates(block: bytes) -> None:
    assert coded(block) == len(literal_stream(block))
    assert zlib.decompress(literal_stream(block), -15) == block


def test_codes_longer_than_deflate_allows_are_not_counted() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 20:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    assert huffman_bits(fibonacci) is None
    assert huffman_bits([1, 1, 2]) == 6


def literal_stream(block: bytes) -> bytes:
    """A deflate stream of one final block with a dynamic Huffman code of literals (RFC 1951, section 3.2)."""
    counts = {symbol: block.count(bytes([symbol])) for symbol in range(256)} | {256: 1}
    heap = [(count, 0, symbol, (symbol,)) for symbol, count in counts.items() if count]
    lengths = dict.fromkeys(range(257), 0)
    heapq.heapify(heap)
    while len(heap) > 1:
        one, other = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in one[3] + other[3]:
            lengths[symbol] += 1
        heapq.heappush(heap, (one[0] + other[0], max(one[1], other[1]) + 1, one[2], one[3] + other[3]))
    codes, code, before = {}, 0, 0
    for symbol in sorted((s for s in lengths if lengths[s]), key=lambda s: (lengths[s], s)):
        code <<= lengths[symbol] - before
        codes[symbol], before = f"{code:0{lengths[symbol]}b}", lengths[symbol]
        code += 1

    def number(value: int, bits: int) -> str:
        return f"{value:0{bits}b}"[::-1]

    order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
    bits = [number(1, 1), number(2, 2), number(0, 5), number(0, 5), number(15, 4)]
    bits += [number(0 if symbol > 15 else 4, 3) for symbol in order]
    bits += [f"{lengths[symbol]:04b}" for symbol in range(257)] + ["0000"]
    bits += [codes[symbol] for symbol in itertools.chain(block, [256])]
    line = "".join(bits)
    line += "0" * (-len(line) % 8)
    return bytes(int(line[place : place + 8][::-1], 2) for place in range(0, len(line), 8))
