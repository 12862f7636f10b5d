"""A verb's script in, its process out: started ahead or for a job, quiet, and ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from edgekit.files import disk_errors
from edgekit.places import cache_dir
from edgekit.toolchains.catalog import HERE, Toolchain, ready


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
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder, env=environment(folder, script.stem), start_new_session=True
        )
    return Worker(process, folder)


MEMORY = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296"}
"""Memory that was freed stays with the worker and is used again: given back and asked for anew, page by page, it costs as much as the work on it.
Not for quantizers, whose peak comes from what they keep of a file in several forms."""

_warm: dict[tuple[Path, int | None], Worker] = {}
"""By script and the thread that started it, whose end ends it too; None: one that outlives all jobs."""


def warm(toolchain_name: str, verb: str | Path, hint: str = "", *, outlives: bool = False) -> None:
    """Start a worker now for a job that is likely to come.

    Args:
        outlives: whether this thread outlives the job; else the job has to be run in this thread.
    """
    home = ready(toolchain_name)
    script = script_of(toolchain_name, verb)
    key = (script, None if outlives else threading.get_ident())
    if key not in _warm:
        _warm[key] = start(script, home, hint)


def script_of(toolchain_name: str, verb: str | Path) -> Path:
    """The file of a verb: a plug-in names its own."""
    return verb if isinstance(verb, Path) else HERE / toolchain_name / f"{verb}.py"


RUNNING = ("verify", "verify_sizes", "describe", "evaluate", "diff")
VERIFY, VERIFY_SIZES, DESCRIBE, EVALUATE, DIFF = (HERE / "convert" / f"{verb}.py" for verb in RUNNING)
"""Verbs that run a format's files: in the toolchain of that format, which may be another than where they stand."""


def take_warm(script: Path) -> Worker | None:
    """The worker that waits for a job of this thread, if there is one."""
    return _warm.pop((script, threading.get_ident()), None) or _warm.pop((script, None), None)


def end_warm() -> None:
    """End the workers whose jobs did not come."""
    while _warm:
        _warm.popitem()[1].end()


def environment(folder: Path, verb: str = "") -> dict[str, str]:
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
        **({} if verb.startswith("quantize") else MEMORY),
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
