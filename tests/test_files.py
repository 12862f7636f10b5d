"""Files appear whole or not at all, and digests are over content."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from edgekit.errors import SetupError
from edgekit.files import SETTLED_NS, copy, disk_errors, require_file_place, sha256_known, sha256_tree, write_text, written_aside


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


def test_a_file_goes_where_there_is_a_folder(tmp_path: Path) -> None:
    require_file_place(tmp_path / "plot.svg")
    with pytest.raises(SetupError, match=r"there is no folder .*/some/new: make it first"):
        require_file_place(tmp_path / "some/new/plot.svg")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="is a file: choose another folder"):
        require_file_place(tmp_path / "file/plot.svg")


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


def test_what_is_known_of_a_file_ends_with_its_change(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    assert sha256_known(file) == sha256_tree(file)
    time.sleep(SETTLED_NS / 1e9 + 0.05)
    known = sha256_known(file)
    at = file.stat()

    file.write_text("two")
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns))  # of the same size, and dated back

    assert sha256_known(file) == sha256_tree(file) != known


def test_a_file_that_has_just_changed_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "a"
    for content in ("one", "two", "six"):
        file.write_text(content)
        assert sha256_known(file) == sha256_tree(file)
