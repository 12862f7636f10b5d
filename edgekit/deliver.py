"""Files and a transport in, verified paths on the device out; what is there with the right content is never sent again.

Content is addressed by its SHA-256, and the device computes it anew before each use. Its half of the work is `targets/delivery.sh`,
which goes along with each request, on stdin; the device needs a POSIX shell, `tar`, and `sha256sum` or `shasum`.
"""

from __future__ import annotations

import gzip
import re
import secrets
import shlex
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edgekit.errors import AgentError, DeviceError, InputError
from edgekit.files import sha256_file, walk
from edgekit.places import shipped
from edgekit.transport import Transport
from edgekit.transport.streams import last_line, no_space

ANSWER_S, SLOWEST_READ_BYTES_S = 60.0, 2_000_000  # a slow board reads some 20 MB/s from its card; an emulated one hashes a tenth of that
PUSH_S, SLOWEST_BYTES_S = 60.0, 50_000  # a link slower than that is not worth waiting for
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE)

Progress = Callable[[str, int, int], None]  # name, bytes sent so far, bytes in all
Answer = Sequence[tuple[str, str]]  # what the device's half says: frames (word, value)


@dataclass(frozen=True, slots=True)
class Blob:
    """One file as it is to be on the device."""

    source: Path
    name: str
    sha256: str
    executable: bool
    size_bytes: int

    def request(self) -> tuple[str, ...]:
        return "blob", self.sha256, self.name, "700" if self.executable else "600"


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive holds, and how tar is told to unpack it."""

    files: int
    size_bytes: int
    letters: str
    longest: str
    """The name that tells whether a tar knows how this archive keeps long ones: busybox leaves PAX headers out."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One file or folder that lies in a device's store: its path below the root, what it takes, and its name or that of its archive, if known."""

    path: str
    size_bytes: int
    name: str = ""


class Delivery:
    """A device's store of files, `<root>/{blobs,trees,jobs}`; `pushed_bytes` counts what was really sent."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.root = ""
        self.pushed_bytes = 0
        self.jobs: list[str] = []

    @classmethod
    def open(cls, transport: Transport) -> Delivery:
        """Find or make the device's folder, mode 700: on Android `/data/local/tmp/edgekit`, elsewhere $EDGEKIT_CACHE_DIR there, else `edgekit` in
        $XDG_CACHE_HOME or `~/.cache`.

        Raises:
            DeviceError: the folder cannot be made.
        """
        delivery = cls(transport)
        delivery.root = delivery.path(["open_root"])
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
            self.push(blob, progress)
        for blob in self.missing(missing):
            raise self.not_what_was_sent(blob)

    def push(self, blob: Blob, progress: Progress | None) -> None:
        timeout_s = PUSH_S + blob.size_bytes / SLOWEST_BYTES_S
        self.transport.push(blob.source, self.blob_path(blob), timeout_s=timeout_s, progress=counted(progress, blob))
        self.pushed_bytes += blob.size_bytes

    def not_what_was_sent(self, blob: Blob) -> DeviceError:
        what = "it has changed here while it was sent, or the device's storage is damaged: repeat the command"
        return DeviceError(self.transport.address, f"{blob.name} does not have the content there that was sent (SHA-256 {blob.sha256[:12]}…): {what}")

    def missing(self, wanted: list[Blob]) -> list[Blob]:
        """Those that are not on the device with the right content, in one round trip."""
        if not wanted:
            return []
        answer = self.ask([blob.request() for blob in wanted], reads_bytes=sum(blob.size_bytes for blob in wanted))
        present = [value for word, value in answer if word == "present" and value in ("0", "1")]
        if len(present) != len(wanted):
            raise AgentError(self.transport.address, "its half of the delivery answered for other files than were asked: repeat the command")
        return [blob for blob, value in zip(wanted, present, strict=True) if value == "0"]

    def unpack(self, archive: Path, progress: Progress | None = None) -> str:
        """Have an archive (tar or tar.gz) unpacked on the device; returns the folder. The second time nothing is sent or written.

        Raises:
            InputError: it is no whole archive, or a member would be written outside, is a link or a device.
            DeviceError: as for `deliver`.
        """
        blob = blob_of(archive.name, archive)
        if (there := self.tree(("tree", blob.sha256), blob)) is not None:
            return there
        held = contents(archive)
        request = ("unpack", blob.sha256, blob.name, held.letters, str(held.files), str(-(-held.size_bytes // 1024)), held.longest)
        for sent in (False, True):
            if (there := self.tree(request, blob, needs_bytes=held.size_bytes)) is not None:
                return there
            if not sent:
                self.push(blob, progress)
        raise self.not_what_was_sent(blob)

    def tree(self, request: Sequence[str], archive: Blob, needs_bytes: int = 0) -> str | None:
        """The folder that an archive is unpacked in; None if it is not."""
        final = f"{self.root}/trees/{archive.sha256}"
        answer = self.ask([request], reads_bytes=archive.size_bytes + needs_bytes, needs_bytes=needs_bytes)
        if answer not in ([("path", final)], [("absent", archive.sha256)]):
            raise AgentError(self.transport.address, f"its half of the delivery does not say where {archive.name} is: repeat the command")
        return final if answer == [("path", final)] else None

    def workdir(self, *, alone: bool = False) -> str:
        """A fresh private folder on the device for one job; `remove` ends it. `alone`: the device is held (lock.py), so what is left of jobs
        whose host was killed, or whose connection was lost, goes."""
        folder = self.path(["workdir", *(["alone"] if alone else [])])
        self.jobs.append(folder)
        return folder

    def remove(self) -> None:
        """Remove the folders that `workdir` made."""
        if self.jobs:
            self.ask([("remove", path) for path in self.jobs])
            self.jobs = []

    def things(self) -> tuple[Thing, ...]:
        """All that lies in the device's store."""
        lines = [re.fullmatch(r"(\d{1,15})\t(.+)\t([^\t]*)", value) for word, value in self.ask([["list"]]) if word == "thing"]
        return tuple(Thing(line[2], int(line[1]) * 1024, line[3]) for line in lines if line)

    def holds(self) -> int:
        """Bytes that the device's store takes there."""
        return sum(thing.size_bytes for thing in self.things())

    def wipe(self) -> None:
        """Remove the device's store, whoever's jobs use it: hold the lock meanwhile. What else lies in the folder stays."""
        self.ask([["wipe"]])
        self.jobs = []

    def blob_path(self, blob: Blob) -> str:
        return f"{self.root}/blobs/{blob.sha256}/{blob.name}"

    def path(self, request: Sequence[str]) -> str:
        """Ask for something that is answered with a path."""
        answer = self.ask([request])
        if len(answer) != 1 or answer[0][0] != "path" or not answer[0][1].startswith(f"{self.root}/"):
            raise AgentError(self.transport.address, f"its half of the delivery named no folder when asked for {request[0]}: repeat the command")
        return answer[0][1]

    def ask(self, requests: Sequence[Sequence[str]], reads_bytes: int = 0, needs_bytes: int | None = None) -> Answer:
        """One round trip: run the device's half with some requests.

        Raises:
            DeviceError: no space.
            AgentError: it refused, or gave no valid answer.
        """
        address, argv = self.transport.address, ["sh", "-s"]
        script = (shipped("targets") / "delivery.sh").read_text(encoding="utf-8")
        calls = "\n".join(shlex.join(request) for request in requests)
        text = f"{script}\nroot={shlex.quote(self.root)} token={secrets.token_hex(8)}\nanswer() {{\n{calls}\nfinish\n}}\nanswer\n"
        timeout_s = ANSWER_S + reads_bytes / SLOWEST_READ_BYTES_S
        told = self.transport.run(argv, stdin=text.encode(errors="surrogateescape"), timeout_s=timeout_s, check=False)
        frames = [(word, value) for word, _, value in (line.partition("\t") for line in told.stdout.split("\n"))]
        if told.truncated or frames[-2:] != [("end", "ok"), ("", "")]:
            reason = last_line(told.stderr) or f"code {told.code}"
            message = f"its half of the delivery failed ({reason}): check that `sh` is a POSIX shell there, and repeat the command"
            raise AgentError(address, message, argv=argv, code=told.code, stdout=told.stdout, stderr=told.stderr)
        said = dict(frames)
        if said.get("error") == "no space":
            has = said.get("has_kb", "")
            raise no_space(address, f"files in {self.root}", needs_bytes, int(has) * 1024 if has.isdecimal() else None)
        if "error" in said:
            raise AgentError(address, f"{said['error']}; correct that and repeat the command")
        return frames[:-2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()


def blob_of(name: str, source: Path) -> Blob:
    """Describe one file.

    Raises:
        InputError: the name is not a plain file name, or the file cannot be read.
    """
    if not name or "/" in name or CONTROL.search(name) or name.startswith("."):
        raise InputError(f"{name!r} cannot be a file's name on a device: give one without slashes, line breaks and a leading dot")
    try:
        status = source.stat()
        return Blob(source, name, sha256_file(source), bool(status.st_mode & stat.S_IXUSR), status.st_size)
    except OSError as exc:
        raise InputError(f"cannot read {source}: {exc.strerror}; check the path") from exc


def contents(archive: Path) -> Contents:
    """What an archive holds, every member examined: which tar a device has, and what it does with odd members, is not known.

    Raises:
        InputError: it cannot be read to its end, or has a member that is a link or a device, would be written outside, or that not every tar can unpack.
    """
    try:
        with archive.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(archive) if zipped else archive.open("rb") as content, tarfile.open(fileobj=content, mode="r|") as tar:
            members = list(tar)
            while content.read(1 << 20):  # to the end, where gzip keeps its checksum
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as exc:
        raise InputError(f"{archive}: the archive cannot be read ({exc}): make it again, as tar or tar.gz") from exc
    names = {member.name.removeprefix("./").rstrip("/") for member in members}
    for member in members:
        fault = None
        if member.name.startswith("/") or ".." in member.name.split("/"):
            fault = "would be written outside its folder"
        elif member.type not in PLAIN:
            fault = "is neither a file nor a folder"
        elif CONTROL.search(member.name):
            fault = "has a name that not every tar can unpack"
        if fault:
            raise InputError(f"{archive}: the archive's member {member.name!r} {fault}: make the archive without it")
    if len(names) < len(members):
        raise InputError(f"{archive}: the archive has several members of one name: make it again")
    files = [member for member in members if member.isreg()]
    longest = max((member.name for member in files), key=len, default=".")
    return Contents(len(files), sum(member.size for member in files), "xzof" if zipped else "xof", longest)


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
        with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
            for file in walk(folder):
                member = tarfile.TarInfo(f"{name}/{file.relative_to(folder).as_posix()}")
                member.size, member.mode = file.stat().st_size, 0o600
                with file.open("rb") as content:
                    tar.addfile(member, content)
        yield archive
