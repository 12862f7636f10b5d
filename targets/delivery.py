"""A request (JSON) on stdin, what was done (JSON) on stdout: the device's half of `edgekit/deliver.py`.

Runs under the device's own Python, 3.7 or later, with nothing but its standard library. Below the root: `blobs/<sha256>/<name>` are files
as they were sent, `trees/<sha256>/` unpacked archives, `jobs/<random>/` what one job reads and writes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import posixpath
import shutil
import sys
import tarfile
import tempfile
import time
import zlib
from typing import Any, Dict  # noqa: UP035 (evaluated, and 3.7 has no dict[…])

# JSON objects; `edgekit/deliver.py` makes the one and checks the other.
Request = Dict[str, Any]  # noqa: UP006
Answer = Dict[str, Any]  # noqa: UP006

CHUNK = 1 << 20
STALE_S = 7 * 24 * 3600  # a job's folder that nobody removed: its run was cut off


class Refused(Exception):
    """What was asked cannot be done; the sentence goes to the user."""


class NoSpace(Exception):
    def __init__(self, needs_bytes: int, has_bytes: int) -> None:
        super().__init__()
        self.answer = {"error": "no space", "needs_bytes": needs_bytes, "has_bytes": has_bytes}


def open_root(request: Request) -> Answer:
    """Make the root, private to the user, and remove what jobs left there long ago."""
    base = os.environ.get("EDGEKIT_CACHE_DIR", "")
    if not base.startswith("/"):
        cache = os.environ.get("XDG_CACHE_HOME", "")
        base = os.path.join(cache if cache.startswith("/") else os.path.expanduser("~/.cache"), "edgekit")
    for folder in ("blobs", "trees", "jobs"):
        os.makedirs(os.path.join(base, folder), exist_ok=True)
    os.chmod(base, 0o700)
    jobs = os.path.join(base, "jobs")
    for name in os.listdir(jobs):
        if os.path.getmtime(os.path.join(jobs, name)) < time.time() - STALE_S:
            shutil.rmtree(os.path.join(jobs, name), ignore_errors=True)
    return {"path": base}


def blobs(request: Request) -> Answer:
    """Say of each file whether it is here with the right content; make room for those that are not."""
    return {"present": [settle(request["root"], **blob) for blob in request["blobs"]]}


def settle(root: str, sha256: str, name: str, executable: bool) -> bool:
    folder = os.path.join(root, "blobs", sha256)
    path = os.path.join(folder, name)
    os.makedirs(folder, exist_ok=True)
    if not holds(path, sha256):
        remove_file(path)
        twins = [twin for twin in sorted(os.listdir(folder)) if holds(os.path.join(folder, twin), sha256)]
        if not twins:
            return False
        shutil.copyfile(os.path.join(folder, twins[0]), path)  # the same content under another name: no need to send it
    os.chmod(path, 0o700 if executable else 0o600)
    return True


def holds(path: str, sha256: str) -> bool:
    """Whether a regular file has that content."""
    if os.path.islink(path) or not os.path.isfile(path):
        return False
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest() == sha256


def remove_file(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)


def tree(request: Request) -> Answer:
    """Where an archive is unpacked, if it is."""
    path = os.path.join(request["root"], "trees", request["sha256"])
    return {"path": path if os.path.isdir(path) else None}


def unpack(request: Request) -> Answer:
    """Unpack an archive aside and rename the folder; the archive itself is no longer needed then."""
    trees = os.path.join(request["root"], "trees")
    final = os.path.join(trees, request["sha256"])
    aside = tempfile.mkdtemp(prefix="." + request["sha256"], dir=trees)
    try:
        with tarfile.open(request["archive"]) as archive:
            members = archive.getmembers()
            needs_bytes, has_bytes = sum(member.size for member in members), free_bytes(trees)
            if needs_bytes > has_bytes:
                raise NoSpace(needs_bytes, has_bytes)
            for member in members:
                place(archive, member, aside)
        os.sync()  # else a power cut could leave a folder with its final name and empty files
        os.rename(aside, final)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise Refused(f"the archive cannot be read ({error})") from error
    except OSError as error:
        if error.errno is None:  # gzip's complaint about a wrong checksum
            raise Refused(f"the archive cannot be read ({error})") from error
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another job was faster
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    remove_file(request["archive"])
    return {"path": final}


def place(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: str) -> None:
    """Write one member below a folder. Links are refused: none is needed, and a chain of them can lead outside."""
    name = posixpath.normpath(member.name)
    if name.startswith("/") or name.split("/")[0] == "..":
        raise Refused(f"the archive's member {member.name!r} would be written outside its folder")
    path = os.path.join(folder, name)
    if member.isdir():
        os.makedirs(path, exist_ok=True)
    elif member.isreg():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        source = archive.extractfile(member)
        assert source is not None
        with source, open(path, "wb") as file:
            shutil.copyfileobj(source, file, CHUNK)
        os.chmod(path, 0o700 if member.mode & 0o100 else 0o600)
        os.utime(path, (member.mtime, member.mtime))  # compiled Python files are valid for one mtime of their source
    else:
        raise Refused(f"the archive's member {member.name!r} is neither a file nor a folder")


def free_bytes(folder: str) -> int:
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize


def workdir(request: Request) -> Answer:
    """A fresh, private folder for one job."""
    return {"path": tempfile.mkdtemp(dir=os.path.join(request["root"], "jobs"))}


def remove(request: Request) -> Answer:
    """Remove jobs' folders, and nothing else."""
    jobs = os.path.join(request["root"], "jobs")
    for path in request["paths"]:
        if os.path.dirname(path) == jobs:
            shutil.rmtree(path, ignore_errors=True)
    return {}


def main() -> None:
    os.umask(0o077)
    request = json.load(sys.stdin)
    asked = {"open": open_root, "blobs": blobs, "tree": tree, "unpack": unpack, "workdir": workdir, "remove": remove}
    try:
        answer = asked[request["do"]](request)
    except Refused as refusal:
        answer = {"error": str(refusal)}
    except NoSpace as full:
        answer = full.answer
    except OSError as error:
        answer = {"error": f"{error.filename or 'the disk'}: {error.strerror}"}
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            answer = {"error": "no space"}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
