"""Files and a transport in, verified paths on the device out; what is there with the right content is never sent again.

Content is addressed by its SHA-256, and the device computes it anew before each use. Its half of the work is `targets/delivery.py`,
which goes along with each request; the device needs a shell and `python3`.
"""

from __future__ import annotations

import json
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ValidationError

from edgekit.errors import AgentError, DeviceError, InputError
from edgekit.files import sha256_file, walk
from edgekit.places import shipped
from edgekit.transport import Transport
from edgekit.transport.streams import last_line, no_space

ANSWER_S = 300.0  # a slow board reads some 20 MB/s from its card, and hashes what it reads
PUSH_S, SLOWEST_BYTES_S = 60.0, 50_000  # a link slower than that is not worth waiting for
NOT_FOUND = 127

Progress = Callable[[str, int, int], None]  # name, bytes sent so far, bytes in all


class Answer(BaseModel, frozen=True, extra="forbid"):
    """What the device's half says."""

    path: str | None = None
    present: tuple[bool, ...] = ()
    error: str | None = None
    needs_bytes: int | None = None
    has_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Blob:
    """One file as it is to be on the device."""

    source: Path
    name: str
    sha256: str
    executable: bool
    size_bytes: int

    def description(self) -> dict[str, str | bool]:
        return {"sha256": self.sha256, "name": self.name, "executable": self.executable}


class Delivery:
    """A device's store of files, `<root>/{blobs,trees,jobs}`; `pushed_bytes` counts what was really sent."""

    def __init__(self, transport: Transport, python: str) -> None:
        self.transport = transport
        self.python = python
        self.root = ""
        self.pushed_bytes = 0
        self.jobs: list[str] = []

    @classmethod
    def open(cls, transport: Transport, python: str = "python3") -> Delivery:
        """Find or make the device's folder: $EDGEKIT_CACHE_DIR there, else `edgekit` in $XDG_CACHE_HOME or `~/.cache`; mode 700.

        Raises:
            DeviceError: the device has no such `python`, or the folder cannot be made.
        """
        delivery = cls(transport, python)
        delivery.root = delivery.path("open")
        return delivery

    def deliver(self, files: Mapping[str, Path], progress: Progress | None = None) -> dict[str, str]:
        """Have files on the device: name there → path here in, name → path on the device out. A folder arrives as a folder.

        Raises:
            InputError: a name is not a plain file name, or a file cannot be read.
            DeviceError: no space left, or a file is not what was sent although it was sent again.
        """
        folders = {name: source for name, source in files.items() if source.is_dir()}
        wanted = [blob_of(name, source) for name, source in files.items() if name not in folders]
        self.send(wanted, progress)
        paths = {blob.name: self.blob_path(blob) for blob in wanted}
        for name, source in folders.items():
            with packed(name, source) as archive:
                paths[name] = f"{self.unpack(archive, progress)}/{name}"
        return paths

    def send(self, wanted: list[Blob], progress: Progress | None) -> None:
        """Push what the device does not have, once for each content, and have it verified there."""
        missing = self.missing(wanted)
        for blob in {blob.sha256: blob for blob in missing}.values():
            timeout_s = PUSH_S + blob.size_bytes / SLOWEST_BYTES_S
            self.transport.push(blob.source, self.blob_path(blob), timeout_s=timeout_s, progress=counted(progress, blob))
            self.pushed_bytes += blob.size_bytes
        for blob in self.missing(missing):
            what = "it has changed here while it was sent, or the device's storage is damaged: repeat the command"
            raise DeviceError(self.transport.address, f"{blob.name} does not have the content there that was sent (SHA-256 {blob.sha256[:12]}…): {what}")

    def missing(self, wanted: list[Blob]) -> list[Blob]:
        """Those that are not on the device with the right content, in one round trip."""
        if not wanted:
            return []
        answer = self.ask("blobs", blobs=[blob.description() for blob in wanted])
        if len(answer.present) != len(wanted):
            raise AgentError(self.transport.address, "its half of the delivery answered for other files than were asked: repeat the command")
        return [blob for blob, present in zip(wanted, answer.present, strict=True) if not present]

    def unpack(self, archive: Path, progress: Progress | None = None) -> str:
        """Have an archive (tar, compressed or not) unpacked on the device; returns the folder. The second time nothing is sent or written.

        Raises:
            AgentError: a member would be written outside, is a link or a device, or it is not an archive.
            DeviceError: as for `deliver`.
        """
        blob = blob_of(archive.name, archive)
        there = self.ask("tree", sha256=blob.sha256).path
        if there is not None:
            return there
        self.send([blob], progress)
        return self.path("unpack", sha256=blob.sha256, archive=self.blob_path(blob), name=blob.name)

    def workdir(self) -> str:
        """A fresh private folder on the device for one job; `remove` ends it."""
        folder = self.path("workdir")
        self.jobs.append(folder)
        return folder

    def remove(self) -> None:
        """Remove the folders that `workdir` made."""
        if self.jobs:
            self.ask("remove", paths=self.jobs)
            self.jobs = []

    def blob_path(self, blob: Blob) -> str:
        return f"{self.root}/blobs/{blob.sha256}/{blob.name}"

    def path(self, do: str, **request: object) -> str:
        """Ask for something that is answered with a path."""
        answer = self.ask(do, **request)
        if answer.path is None:
            raise AgentError(self.transport.address, f"its half of the delivery named no folder when asked to {do}: repeat the command")
        return answer.path

    def ask(self, do: str, **request: object) -> Answer:
        """One round trip: run the device's half with a request.

        Raises:
            DeviceError: no such python there, or no space.
            AgentError: it refused, or gave no valid answer.
        """
        address, script = self.transport.address, (shipped("targets") / "delivery.py").read_text(encoding="utf-8")
        told = self.transport.run(
            [self.python, "-I", "-c", script], stdin=json.dumps({"do": do, "root": self.root, **request}).encode(), timeout_s=ANSWER_S, check=False
        )
        if told.code == NOT_FOUND:
            raise DeviceError(address, f"{self.python} is not found on the device: install it there (`sudo apt install python3`)")
        try:
            answer = Answer.model_validate_json(told.stdout)
        except ValidationError as exc:
            reason = last_line(told.stderr) or f"code {told.code}"
            argv = [self.python, "-I", "-c", "…"]
            message = f"its half of the delivery failed ({reason}): check that {self.python} is Python 3.7 or later"
            raise AgentError(address, message, argv=argv, code=told.code, stdout=told.stdout, stderr=told.stderr) from exc
        if answer.error == "no space":
            raise no_space(address, f"files in {self.root}", answer.needs_bytes, answer.has_bytes)
        if answer.error is not None:
            raise AgentError(address, f"{answer.error}; correct that and repeat the command")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()


def blob_of(name: str, source: Path) -> Blob:
    """Describe one file.

    Raises:
        InputError: the name is not a plain file name, or the file cannot be read.
    """
    if not name or "/" in name or "\0" in name or name.startswith("."):
        raise InputError(f"{name!r} cannot be a file's name on a device: give one without a slash or a leading dot")
    try:
        status = source.stat()
        return Blob(source, name, sha256_file(source), bool(status.st_mode & stat.S_IXUSR), status.st_size)
    except OSError as exc:
        raise InputError(f"cannot read {source}: {exc.strerror}; check the path") from exc


def counted(progress: Progress | None, blob: Blob) -> Callable[[int], None] | None:
    """A listener to one push, out of one to a whole delivery."""
    if progress is None:
        return None
    return lambda sent_bytes: progress(blob.name, sent_bytes, blob.size_bytes)


@contextmanager
def packed(name: str, folder: Path) -> Iterator[Path]:
    """A folder (an `.mlpackage`) as a tar file whose bytes depend on its content alone."""
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        archive = Path(scratch) / "folder.tar"
        with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
            for file in walk(folder):
                member = tarfile.TarInfo(f"{name}/{file.relative_to(folder).as_posix()}")
                member.size, member.mode = file.stat().st_size, 0o600
                with file.open("rb") as content:
                    tar.addfile(member, content)
        yield archive
