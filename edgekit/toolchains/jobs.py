"""A job in, an outcome out: runs a verb in its toolchain as a child process, under a deadline and a memory limit.

Results are cached by (verb and its code, content of the inputs, options, toolchain lock), so the same question is answered once.
A worker that crashes, is killed, stalls or outgrows its memory is an error that says where it was; edgekit goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from edgekit.errors import ConvertError, InputError, SetupError
from edgekit.files import disk_errors, sha256_tree
from edgekit.places import PACKAGE, cache_dir
from edgekit.toolchains.catalog import HERE, Toolchain, toolchain

DEADLINE_S = 1800.0
MEMORY_LIMIT_BYTES = 16 * 10**9
POLL_S = 0.05
FULL_BYTES = 16_384
"""With less than this left, a worker that failed without a word has failed for want of space."""

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Job:
    """What a worker is asked: a verb of a toolchain, files or folders to read, and options."""

    toolchain: str
    verb: str | Path
    """The name of a file in the toolchain's folder, or, for a plug-in, the path of its own file."""
    inputs: Mapping[str, Path]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def script(self) -> Path:
        return self.verb if isinstance(self.verb, Path) else HERE / self.toolchain / f"{self.verb}.py"

    @property
    def title(self) -> str:
        return self.script.stem.replace("_", " ")

    @cached_property
    def place(self) -> Path:
        """Where in the cache its result is or will be, by the content that its inputs have when this is first asked."""
        return cache_dir() / "results" / cache_key(self, ready(self.toolchain))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker gave: a folder of files (read only: it is the cache's), and its JSON result."""

    folder: Path
    result: dict[str, Any]
    cached: bool


def run(
    job: Job,
    progress: Progress,
    *,
    deadline_s: float = DEADLINE_S,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    cache: bool = True,
) -> Outcome:
    """Run a job, or take its result from the cache.

    Raises:
        InputError, ConvertError: the verb refused, in its own words, or it crashed, stalled or outgrew its memory.
        SetupError: the toolchain is not installed, or the disk is full.
    """
    home = ready(job.toolchain)
    final = job.place
    if cache and (final / "result.json").exists():
        return Outcome(final / "out", json.loads((final / "result.json").read_text()), cached=True)
    worker = take_warm(job.script) or start(job.script, home)
    try:
        with disk_errors(worker.folder):
            description = {"inputs": {k: str(v.absolute()) for k, v in job.inputs.items()}, "options": dict(job.options)}
            (worker.folder / "job.json").write_text(json.dumps(description))
        supervise(job, worker, progress, deadline_s, memory_limit_bytes)
        result = json.loads((worker.folder / "result.json").read_text())
        if "error" in result:
            raise_refusal(**result["error"])
        shutil.rmtree(worker.folder / "tmp", ignore_errors=True)
        with disk_errors(final):
            shutil.rmtree(final, ignore_errors=True)
            worker.folder.rename(final)
        return Outcome(final / "out", result, cached=False)
    finally:
        worker.end()


def is_cached(job: Job) -> bool:
    """Whether a job's result is there already."""
    return (job.place / "result.json").exists()


def ready(name: str) -> Toolchain:
    """The toolchain, if it is installed.

    Raises:
        SetupError: it is not; the message holds the one command to run.
    """
    home = toolchain(name)
    if not home.installed:
        size_mb = home.description.size_bytes // 10**6
        raise SetupError(
            f"toolchain {name!r} is not installed: run `edgekit toolchains install {name}` (about {size_mb} MB), or repeat the command with --install"
        )
    return home


def cache_key(job: Job, home: Toolchain) -> str:
    """Hex digest over all that can change the result."""
    code = sorted([*job.script.parent.rglob("*.py"), *(PACKAGE / "hub").rglob("*.py")])
    parts = {
        "verb": f"{job.toolchain}/{job.title}",
        "code": [hashlib.sha256(path.read_bytes()).hexdigest() for path in code],
        "inputs": {name: [path.suffix, sha256_tree(path)] for name, path in sorted(job.inputs.items())},
        "options": dict(job.options),
        "lock": home.lock_digest,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Worker:
    """A started worker: its process, and the folder that its job comes into."""

    process: subprocess.Popen[bytes]
    folder: Path

    def end(self) -> None:
        """Kill what is left of the process group and remove the folder, if it is still there."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def start(script: Path, home: Toolchain, hint: str = "") -> Worker:
    """Start a worker that loads its verb and waits for its job."""
    results = cache_dir() / "results"
    with disk_errors(results):
        results.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".job-", dir=results))
        (folder / "tmp").mkdir()
    argv = [str(home.python), "-s", str(HERE / "worker.py"), str(script), str(folder), hint]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder, env=environment(folder), start_new_session=True)
    return Worker(process, folder)


_warm: dict[Path, Worker] = {}


def warm(toolchain_name: str, verb: str, hint: str = "") -> None:
    """Start a worker now for a job that is likely to come; call it in the thread that will run the job (the worker ends with it)."""
    home = ready(toolchain_name)
    script = HERE / toolchain_name / f"{verb}.py"
    if script not in _warm:
        _warm[script] = start(script, home, hint)


def take_warm(script: Path) -> Worker | None:
    return _warm.pop(script, None)


def end_warm() -> None:
    """End the workers whose jobs did not come."""
    while _warm:
        _warm.popitem()[1].end()


stopping = threading.Event()
"""Set where edgekit is interrupted while another thread runs a job: that job ends too."""


def supervise(job: Job, worker: Worker, progress: Progress, deadline_s: float, memory_limit_bytes: int) -> None:
    """Give the worker its job and see it to its end; its whole process group ends with this call, whatever happens."""
    doing = "starting"
    process, folder = worker.process, worker.folder
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended already: its log says why
        process.stdin.write(b"go\n")
        process.stdin.flush()
    started = time.monotonic()
    os.set_blocking(process.stdout.fileno(), False)
    with selectors.DefaultSelector() as ready_to_read:
        ready_to_read.register(process.stdout, selectors.EVENT_READ)
        pending = b""
        while True:
            if ready_to_read.select(POLL_S):
                chunk = process.stdout.read()
                if chunk == b"":
                    break
                *lines, pending = (pending + (chunk or b"")).split(b"\n")
                for line in lines:
                    said = json.loads(line)
                    doing = said["text"]
                    progress(doing, said["fraction"])
            if stopping.is_set():
                raise KeyboardInterrupt
            if time.monotonic() - started > deadline_s:
                fail(job, doing, f"did not end within {deadline_s:.0f} s", "try a smaller model or a longer deadline")
            if group_rss_bytes(process.pid) > memory_limit_bytes:
                fail(job, doing, f"needed more than {memory_limit_bytes / 1e9:.1f} GB of memory", "use a machine with more memory")
    code = process.wait(timeout=10)
    if code == -signal.SIGKILL:
        fail(job, doing, "was killed by the system", "memory has most likely run out: close other programs or use a machine with more memory")
    if code < 0:
        fail(job, doing, f"crashed ({signal.Signals(-code).name})", "the model is likely one that the converter cannot take")
    if code != 0 or not (folder / "result.json").exists():
        lines_said = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
        words = lines_said[-1][:300] if lines_said else f"exit code {code}"
        if "No space left on device" in words or shutil.disk_usage(folder).free < FULL_BYTES:
            raise SetupError(f"the disk is full under {folder.parent}: free some space and repeat the command")
        fail(job, doing, f"failed ({words})", "the model is likely one that the converter cannot take; --debug shows its log", log="\n".join(lines_said))


def environment(folder: Path) -> dict[str, str]:
    """The user's environment without its Python settings, with the libraries told to be quiet and to stay at home."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
    return {
        **kept,
        "TMPDIR": str(folder / "tmp"),
        "ORT_DISABLE_TELEMETRY": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "CUDA_VISIBLE_DEVICES": "",
        "KERAS_BACKEND": "tensorflow",
        # Workers run side by side; threads that wait by spinning would take the cores from each other.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def group_rss_bytes(pid: int) -> int:
    """Resident bytes of the worker and its children, 0 where the system does not tell (no /proc)."""
    pids = [pid]
    total = 0
    page = os.sysconf("SC_PAGE_SIZE")
    while pids:
        one = pids.pop()
        try:
            with open(f"/proc/{one}/statm") as statm:
                total += int(statm.read().split()[1]) * page
            with open(f"/proc/{one}/task/{one}/children") as children:
                pids += [int(child) for child in children.read().split()]
        except (OSError, IndexError):
            continue
    return total


def fail(job: Job, doing: str, what: str, cure: str, log: str = "") -> NoReturn:
    """Raise the worker's end as one sentence; its log goes along as a note, for --debug."""
    error = ConvertError(f"the {job.title} worker {what} while {doing}: {cure}")
    if log:
        error.add_note(log)
    raise error


def raise_refusal(kind: str, message: str, op: str | None, node: str | None) -> NoReturn:
    """Raise what the worker said, as the error of its kind."""
    if kind == "input":
        raise InputError(message)
    if kind == "setup":
        raise SetupError(message)
    raise ConvertError(message, op=op, node=node)
