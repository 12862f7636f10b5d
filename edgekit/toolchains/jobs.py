"""A job in, an outcome out: runs a verb in its toolchain as a child process, under a deadline and a memory limit.

Results are cached by (verb and its code, content of the inputs, options, toolchain lock), so the same question is answered once.
A worker that crashes, is killed, stalls or outgrows its memory is an error that says where it was; edgekit goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NoReturn

from edgekit.errors import ConvertError, InputError, SetupError
from edgekit.files import disk_errors, parts, sha256_known, sha256_tree
from edgekit.places import PACKAGE, cache_dir
from edgekit.toolchains.catalog import Toolchain, ready
from edgekit.toolchains.room import worker_limit_bytes
from edgekit.toolchains.supervise import Progress as Progress
from edgekit.toolchains.supervise import supervise
from edgekit.toolchains.workers import Worker, script_of, start, take_warm

DEADLINE_S = 1800.0


@dataclass(frozen=True)
class Job:
    """What a worker is asked: a verb of a toolchain, files or folders to read, and options."""

    toolchain: str
    verb: str | Path
    """The name of a file in the toolchain's folder, or, for a plug-in, the path of its own file."""
    inputs: Mapping[str, Path]
    options: Mapping[str, Any] = field(default_factory=dict)
    resumes: bool = False
    """Whether its worker gets a folder (`job.kept`) that outlives it, until the job is done: what is killed goes on where it was."""

    @property
    def script(self) -> Path:
        return script_of(self.toolchain, self.verb)

    @property
    def title(self) -> str:
        return self.script.stem.replace("_", " ")

    @cached_property
    def place(self) -> Path:
        """Where in the cache its result is or will be, by the content that its inputs have when this is first asked."""
        return cache_dir() / "results" / cache_key(self, ready(self.toolchain))

    @property
    def kept(self) -> Path | None:
        """Where a job that resumes has what it left."""
        return cache_dir() / "kept" / self.place.name if self.resumes else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker gave: a folder of files (read only: it is the cache's), and its JSON result."""

    folder: Path
    result: dict[str, Any]
    cached: bool
    peak_rss_bytes: int | None
    """Most resident memory that its process had; None where the system did not tell."""


_anew: ContextVar[set[Path] | None] = ContextVar("anew", default=None)
"""Where earlier results are not wanted: those that were made since."""

_running: dict[Path, threading.Lock] = {}
"""By place: two threads that ask the same are answered by one worker."""


@contextmanager
def cached(wanted: bool) -> Iterator[None]:
    """Whether results that are in the cache are taken; without, each job is run once more, and its result takes the place of the earlier one."""
    token = _anew.set(None if wanted else set())
    try:
        yield
    finally:
        _anew.reset(token)


def run(
    job: Job,
    progress: Progress,
    *,
    deadline_s: float = DEADLINE_S,
    memory_limit_bytes: int | None = None,
    cache: bool = True,
) -> Outcome:
    """Run a job, or take its result from the cache.

    Args:
        memory_limit_bytes: for the worker and what it starts; None: see `room.worker_limit_bytes`.

    Raises:
        InputError, ConvertError: the verb refused, in its own words, or it crashed, stalled or outgrew its memory.
        SetupError: the toolchain is not installed, or the disk is full.
    """
    home = ready(job.toolchain)
    final = job.place
    with _running.setdefault(final, threading.Lock()):
        if cache and is_cached(job):
            return stored(final, cached=True)
        if job.kept is not None and _anew.get() is not None:
            shutil.rmtree(job.kept, ignore_errors=True)
        worker = take_warm(job.script) or start(job.script, home)
        try:
            with disk_errors(worker.folder):
                kept = None if job.kept is None else str(job.kept)
                description = {"inputs": {k: str(v.absolute()) for k, v in job.inputs.items()}, "options": dict(job.options), "kept": kept}
                (worker.folder / "job.json").write_text(json.dumps(description))
            supervise(job.title, worker, progress, deadline_s, memory_limit_bytes or worker_limit_bytes())
            result = json.loads((worker.folder / "result.json").read_text())
            if "error" in result:
                raise_refusal(**result["error"])
            keep(worker, final)
            if job.kept is not None:
                shutil.rmtree(job.kept, ignore_errors=True)
            if (anew := _anew.get()) is not None:
                anew.add(final)
            return stored(final, cached=False)
        finally:
            worker.end()


def keep(worker: Worker, final: Path) -> None:
    """Put a worker's folder into the cache; what was there is put aside first, so that there never is half of one."""
    shutil.rmtree(worker.folder / "tmp", ignore_errors=True)
    before = worker.folder.with_name(f"{worker.folder.name}-before")
    with disk_errors(final):
        if final.exists():
            final.rename(before)
        worker.folder.rename(final)
        shutil.rmtree(before, ignore_errors=True)


def stored(place: Path, cached: bool) -> Outcome:
    """What lies in the cache."""
    result = json.loads((place / "result.json").read_text())
    return Outcome(place / "out", result, cached, result.pop("worker", {}).get("peak_rss_bytes"))


def is_cached(job: Job) -> bool:
    """Whether a job's result is there already, and may be taken."""
    anew = _anew.get()
    return (anew is None or job.place in anew) and (job.place / "result.json").exists()


def digests(path: Path) -> tuple[str, ...]:
    """SHA-256 of a file or folder, and of what lies beside it and belongs to it; of what a worker gave, which nobody changes, once."""
    results = cache_dir() / "results"
    made_by = results / path.relative_to(results).parts[0] / "result.json" if path.is_relative_to(results) else None
    if made_by is None or not made_by.exists():
        return tuple(map(sha256_known, parts(path)))
    told = made_by.stat()
    return result_digests(path, told.st_ino, told.st_mtime_ns)


@cache
def result_digests(path: Path, _inode: int, _mtime_ns: int) -> tuple[str, ...]:
    return tuple(map(sha256_tree, parts(path)))


def cache_key(job: Job, home: Toolchain) -> str:
    """Hex digest over all that can change the result."""
    whole = {
        "verb": f"{job.toolchain}/{job.title}",
        "code": code_digests(job.script.parent, home.description.borrows),
        "inputs": {name: [path.suffix, *digests(path)] for name, path in sorted(job.inputs.items())},
        "options": dict(job.options),
        "lock": home.lock_digest,
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


@cache
def code_digests(folder: Path, borrowed: tuple[str, ...]) -> list[str]:
    """SHA-256 of each file that a verb may import: its own folder's, what its toolchain borrows, the hub's and the techniques'."""
    places = (folder, *(PACKAGE / "toolchains" / name for name in borrowed), PACKAGE / "hub", PACKAGE / "compress")
    found = sorted(path for place in places for path in (place.rglob("*.py") if place.is_dir() else [place]))
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in found]


def raise_refusal(kind: str, message: str, op: str | None, node: str | None) -> NoReturn:
    """Raise what the worker said, as the error of its kind."""
    if kind == "input":
        raise InputError(message)
    if kind == "setup":
        raise SetupError(message)
    raise ConvertError(message, op=op, node=node)
