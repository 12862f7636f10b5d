"""Files appear whole or not at all, and digests are over content."""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import SetupError
from edgekit.files import copy, disk_errors, download_bytes, sha256_tree, size_bytes, write_text, written_aside


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    write_text(final, "old")

    def write_half() -> None:
        with written_aside(final) as aside:
            aside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep/file").write_text("new")
    final = tmp_path / "final"
    final.mkdir()
    (final / "stale").write_text("old")
    copy(source, final)
    assert [path.relative_to(final).as_posix() for path in final.rglob("*")] == ["deep", "deep/file"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final", "source"]


def test_the_digest_of_a_folder_depends_on_names_and_content_only(tmp_path: Path) -> None:
    for folder, name, text in (("a", "x", "1"), ("b", "x", "1"), ("c", "y", "1"), ("d", "x", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    a, b, c, d = (sha256_tree(tmp_path / folder) for folder in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


def test_download_bytes_is_what_deflate_gives(tmp_path: Path) -> None:
    content = b"edge" * 100_000
    (tmp_path / "f").write_bytes(content)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    assert download_bytes(tmp_path / "f") == len(packer.compress(content) + packer.flush())
    assert size_bytes(tmp_path) == 400_000


def test_download_bytes_of_many_blocks_is_within_a_few_thousandths_of_one_stream(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weights = random.standard_normal(2_000_000).astype(np.float32).tobytes()
    words = b" ".join(random.choice([b"conv", b"relu", b"add", b"weights", b"bias"], 400_000).tolist())
    whole = b"".join((weights, words, random.integers(-20, 20, 3_000_000, np.int8).tobytes()))
    (tmp_path / "f").write_bytes(whole)
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    assert download_bytes(tmp_path / "f") == pytest.approx(len(packer.compress(whole) + packer.flush()), rel=0.004)


def test_a_full_disk_is_a_set_up_error_and_leaves_nothing(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(full)], capture_output=True, text=True)
    if mounted.returncode != 0:  # not root: the kernel's own full file says the same
        with pytest.raises(SetupError, match="the disk is full"), disk_errors(full), open("/dev/full", "w") as file:
            file.write("x")
        return
    try:
        big = tmp_path / "big"
        big.write_bytes(b"x" * 200_000)
        with pytest.raises(SetupError, match="the disk is full: free some space and repeat the command"):
            copy(big, full / "copy")
        assert list(full.iterdir()) == []
    finally:
        subprocess.run(["umount", str(full)], check=True)
