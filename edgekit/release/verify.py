"""A package in, its manifest out if every byte is as the manifest says: a folder, a Swift package, or an `.aar`."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from edgekit.errors import ReleaseError
from edgekit.files import disk_errors, sha256_file
from edgekit.release.archive import stored_zip
from edgekit.release.manifest import NAME, SEAL, Manifest, parse, seal

PLACES = re.compile(r"(?:assets/edgekit/|Sources/[^/]+/Resources/)?manifest\.json")
"""Where a manifest lies, by platform, relative to the package's root."""

CURE = "the package was changed after it was made, make it again"


def verify(path: Path) -> Manifest:
    """Check a package: every listed file has its digest, nothing is missing or added, the manifest is its own.

    Args:
        path: the package's folder, its `.aar`, or a folder that holds nothing but one `.aar`.

    Raises:
        ReleaseError: it is no package of edgekit's, or something in it was changed; the message names the file.
    """
    archive = archive_of(path)
    if archive is None:
        return verify_folder(path, path)
    with tempfile.TemporaryDirectory(prefix="edgekit-verify-") as folder:
        root = Path(folder)
        files = unpack(archive, root)
        manifest = verify_folder(root, archive)
        compare(archive, {name: root / name for name in files})
    return manifest


def archive_of(path: Path) -> Path | None:
    """The `.aar` that `path` is or holds, or None if it is a folder of another kind."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise ReleaseError(f"{path} is neither a folder nor a file: give the package that edgekit package made")
    held = list(path.iterdir())
    return held[0] if len(held) == 1 and held[0].suffix == ".aar" and held[0].is_file() else None


def verify_folder(root: Path, package: Path) -> Manifest:
    """Check a package that lies unpacked below `root`; errors call it `package`."""
    present = list_files(root)
    places = [name for name in present if PLACES.fullmatch(name)]
    if len(places) != 1:
        raise ReleaseError(f"{package} holds {len(places) or 'no'} manifests: it is not a package of edgekit's")
    place, guard = places[0], str(PurePosixPath(places[0]).with_name(SEAL))
    content = (root / place).read_bytes()
    if guard not in present:
        raise ReleaseError(f"{package / guard} is missing: {CURE}")
    if (root / guard).read_bytes() != seal(content):
        raise ReleaseError(f"{package / place} is not what {SEAL} beside it says: {CURE}")
    manifest = parse(content, str(package / place))
    listed = {file.path: file for file in manifest.files}
    for name in present:
        if name not in listed and name not in (place, guard):
            raise ReleaseError(f"{package / name} is not in {NAME}: {CURE}")
    for name, file in listed.items():
        if name not in present:
            raise ReleaseError(f"{package / name} is missing: {CURE}")
        if sha256_file(root / name) != file.sha256:
            raise ReleaseError(f"{package / name} is not what {NAME} says: {CURE}")
    return manifest


def list_files(root: Path) -> list[str]:
    """Relative paths of the regular files below a folder.

    Raises:
        ReleaseError: a symbolic link, a device or the like is among them.
    """
    found = []
    for folder, folders, files in os.walk(root):
        for name in (*files, *(name for name in folders if (Path(folder) / name).is_symlink())):
            path = Path(folder) / name
            if not stat.S_ISREG(path.lstat().st_mode):
                raise ReleaseError(f"{path} is not a regular file: a package holds nothing else")
            found.append(path.relative_to(root).as_posix())
    return sorted(found)


def unpack(archive: Path, root: Path) -> list[str]:
    """Unpack an archive into an empty folder, entry by entry, each under a path inside that folder; gives their names."""
    with zip_errors(archive), zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
        if sum(entry.file_size for entry in entries) > archive.stat().st_size:
            raise ReleaseError(f"{archive} claims to hold more than it does: do not use the archive")
        for entry in entries:
            name = entry.filename
            parts = PurePosixPath(name).parts
            if "\\" in name or ".." in parts or name != "/".join(parts):
                raise ReleaseError(f"{archive}: the entry {name!r} has a path that no package of edgekit's has: do not use the archive")
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ReleaseError(f"{archive}: {name} is compressed, which edgekit never does: {CURE}")
            target = root / name
            with disk_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            with zip_errors(archive, name), disk_errors(target), opened.open(entry) as source, target.open("xb") as final:  # x: no name twice
                shutil.copyfileobj(source, final)
    return [entry.filename for entry in entries]


@contextmanager
def zip_errors(archive: Path, entry: str = "") -> Iterator[None]:
    """Map all that `zipfile` raises for damaged archives, which is not only its own error, and paths that cannot be written."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as exc:
        raise ReleaseError(f"{archive / entry} cannot be read ({exc}): it is no package of edgekit's, or it was changed after it was made") from exc


def compare(archive: Path, files: dict[str, Path]) -> None:
    """Whether an archive is, to the last bit, what edgekit writes for these files."""
    with archive.open("rb") as file:
        same = all(file.read(len(piece)) == piece for piece in stored_zip(files))
        if not same or file.read(1):
            raise ReleaseError(f"{archive} holds the right files, but not as edgekit packs them: {CURE}")
