"""Files: digests of content, and writes that are whole or absent.

A file or folder never shows under its final name before it is complete: it is written aside, synced and renamed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.errors import SetupError

CHUNK = 1 << 20
SETTLED_NS = 10**9
"""A file that changed longer ago than this cannot change once more and show the same time of change."""

_known: dict[tuple[Path, tuple[tuple[int, ...], ...]], str] = {}
"""Path and state → digest."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Map a full, read-only or forbidden disk at `path` to a `SetupError`."""
    try:
        yield
    except OSError as exc:
        causes = {
            errno.ENOSPC: "the disk is full: free some space and repeat the command",
            errno.EDQUOT: "the disk quota is used up: free some space and repeat the command",
            errno.EROFS: "the file system is read-only: choose another folder",
            errno.EACCES: "permission denied: choose a folder that you may write to",
            errno.EPERM: "permission denied: choose a folder that you may write to",
            errno.ENOTDIR: "a part of the path is a file: choose another folder",
            errno.ENOENT: "no folder can be made there: choose another one",
            errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
        }
        if exc.errno not in causes:
            raise
        raise SetupError(f"cannot write {path}: {causes[exc.errno]}") from exc


def require_place(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to, before any work.

    Raises:
        SetupError: a part of the path is a file, or permission is denied.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise SetupError(f"cannot write {folder}: {there} is a file: choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SetupError(f"cannot write {folder}: permission denied in {there}: choose a folder that you may write to")


def require_file_place(file: Path) -> None:
    """Refuse a file that cannot be written where the user wants it, before any work. Its folder has to be there: a mistyped path makes none.

    Raises:
        SetupError: there is no such folder, or permission is denied in it.
    """
    if not file.parent.exists():
        raise SetupError(f"cannot write {file}: there is no folder {file.parent}: make it first, or choose another path")
    require_place(file.parent)


def sha256_file(path: Path) -> str:
    """The hex SHA-256 of one file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def walk(path: Path) -> list[Path]:
    """The regular files below a folder in a fixed order, or the file itself."""
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def sha256_tree(path: Path) -> str:
    """The hex SHA-256 of a file, or, for a folder, of the sorted list of its files' names and digests."""
    if not path.is_dir():
        return sha256_file(path)
    digest = hashlib.sha256()
    for file in walk(path):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def sha256_known(path: Path) -> str:
    """`sha256_tree` of what is asked for again and again: read once, until a file of it changes, as the system keeps count of that (st_ctime_ns)."""
    now = time.time_ns()
    found = [file.stat() for file in walk(path)]
    state = path.absolute(), tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in found)
    if state in _known:
        return _known[state]
    digest = sha256_tree(path)
    if all(one.st_ctime_ns < now - SETTLED_NS for one in found):
        _known[state] = digest
    return digest


def parts(path: Path) -> list[Path]:
    """A file, and the one beside it that holds what did not fit into it: `hub.onnx` and `hub.onnx.data`."""
    beside = path.with_name(path.name + ".data")
    return [path, beside] if beside.is_file() else [path]


def size_bytes(path: Path) -> int:
    """Bytes on disk of a file, or of all files below a folder."""
    return sum(file.stat().st_size for file in walk(path))


@contextmanager
def written_aside(final: Path) -> Iterator[Path]:
    """Yield a path beside `final` to write a file or folder to; it becomes `final` only if the block succeeds.

    Raises:
        SetupError: the disk is full, read-only or forbidden; nothing is left behind.
    """
    with disk_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        aside_dir = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
        try:
            aside = aside_dir / final.name
            yield aside
            for file in walk(aside):
                sync(file)
            if final.is_dir() and not final.is_symlink():
                final.rename(aside_dir / "replaced")
            aside.rename(final)
            sync(final.parent)
        finally:
            shutil.rmtree(aside_dir, ignore_errors=True)


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy(source: Path, final: Path) -> None:
    """Copy a file or a folder; `final` appears whole or not at all."""
    with written_aside(final) as aside:
        if source.is_dir():
            shutil.copytree(source, aside)
        else:
            shutil.copyfile(source, aside)


def write_text(final: Path, text: str) -> None:
    """Write a text file; `final` appears whole or not at all."""
    with written_aside(final) as aside:
        aside.write_text(text, encoding="utf-8")
