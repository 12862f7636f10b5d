"""A worker and its job in, the worker's end out: under a deadline and a memory limit, and as one sentence where it ends badly."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import NoReturn

from edgekit.errors import ConvertError, SetupError
from edgekit.toolchains.workers import Worker, group_rss_bytes

POLL_S = 0.05
FULL_BYTES = 16_384
"""With less than this left, a worker that failed without a word has failed for want of space."""

Progress = Callable[[str, float | None], None]

stops: ContextVar[tuple[threading.Event, ...]] = ContextVar("stops", default=())
"""Set where what this thread works for is given up: its job ends too."""


def supervise(title: str, worker: Worker, progress: Progress, deadline_s: float, memory_limit_bytes: int) -> None:
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
            if any(stop.is_set() for stop in stops.get()):
                raise KeyboardInterrupt
            if time.monotonic() - started > deadline_s:
                fail(title, doing, f"did not end within {deadline_s:.0f} s", "try a smaller model or a longer deadline")
            if group_rss_bytes(process.pid) > memory_limit_bytes:
                fail(title, doing, f"needed more than {memory_limit_bytes / 1e9:.1f} GB of memory", "use a machine with more memory")
    code = process.wait(timeout=10)
    if code == -signal.SIGKILL:
        fail(title, doing, "was killed by the system", "memory has most likely run out: close other programs or use a machine with more memory")
    if code < 0:
        fail(title, doing, f"crashed ({signal.Signals(-code).name})", "the model is likely one that the converter cannot take")
    if code != 0 or not (folder / "result.json").exists():
        lines_said = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
        words = lines_said[-1][:300] if lines_said else f"exit code {code}"
        if "No space left on device" in words or shutil.disk_usage(folder).free < FULL_BYTES:
            raise SetupError(f"the disk is full under {folder.parent}: free some space and repeat the command")
        fail(title, doing, f"failed ({words})", "the model is likely one that the converter cannot take; --debug shows its log", log="\n".join(lines_said))


def fail(title: str, doing: str, what: str, cure: str, log: str = "") -> NoReturn:
    """Raise the worker's end as one sentence; its log goes along as a note, for --debug."""
    error = ConvertError(f"the {title} worker {what} while {doing}: {cure}")
    if log:
        error.add_note(log)
    raise error
