"""What runs inside a toolchain: one job folder in, `out/` and `result.json` out.

    python worker.py <toolchain>/<verb>.py <job folder> [hint]

`job.json` holds `inputs` (name → path), `options` (name → JSON). The verb is a file with one function,
`run(job: Job) -> dict`; it writes files below `job.out` and returns JSON. It may import its toolchain's packages and
`edgekit.hub` and `edgekit.compress`; nothing else of edgekit is imported here. Progress goes to the parent as JSON lines on the original stdout;
whatever libraries print goes to the log.

A worker loads its verb at once and then waits for a line on stdin that says that the job is there: so it can be started before
its job is known, and heavy packages load meanwhile. A verb that loads some only when it needs them has a `warm(hint)` too.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib.util
import json
import os
import signal
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO


class Refused(Exception):
    """A verb's own, worded refusal. `kind` is `input`, `convert` or `setup`: which error the parent raises."""

    def __init__(self, kind: str, message: str, op: str | None, node: str | None) -> None:
        super().__init__(message)
        self.record = {"kind": kind, "message": message, "op": op, "node": node}


@dataclass(frozen=True, slots=True)
class Job:
    """What a verb gets: paths to read, options, the folder to write to, and two ways to speak."""

    inputs: dict[str, Path]
    options: dict[str, Any]
    out: Path
    channel: TextIO
    kept: Path | None = None
    """A folder that outlives a job that is killed: the same job, asked again, finds there what it left. None where none was asked for."""

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Say what is being done now (`fraction` in 0..1 where it is known)."""
        self.channel.write(json.dumps({"text": text, "fraction": fraction}) + "\n")
        self.channel.flush()

    def refuse(self, message: str, *, kind: str = "convert", op: str | None = None, node: str | None = None) -> NoReturn:
        """End the job with one sentence (cause and cure). `kind`: `input`, `convert` or `setup`."""
        raise Refused(kind, message, op, node)


def main(verb_path: str, job_dir: str, hint: str = "") -> None:
    channel = separate_stdout()
    die_with_parent()
    verb = load(Path(verb_path), hint)
    if sys.stdin.readline() != "go\n":
        os._exit(0)  # there was no job in the end
    folder = Path(job_dir)
    description = json.loads((folder / "job.json").read_text())
    out = folder / "out"
    out.mkdir()
    job = Job({k: Path(v) for k, v in description["inputs"].items()}, description["options"], out, channel, kept_of(description))
    try:
        result = verb.run(job)
    except Refused as refusal:
        result = {"error": refusal.record}
    except MemoryError:
        result = {"error": {"kind": "convert", "message": "memory ran out: close other programs, or use a machine with more memory", "op": None, "node": None}}
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        result = {"error": {"kind": "setup", "message": "the disk is full: free some space and repeat the command", "op": None, "node": None}}
    aside = folder / "result.json.aside"
    aside.write_text(json.dumps({**result, "worker": {"verb": Path(verb_path).stem, "peak_rss_bytes": peak_rss_bytes()}}))
    aside.rename(folder / "result.json")
    channel.flush()
    os._exit(0)  # no destructors: some of these libraries hang or crash in theirs, after the work is done


def kept_of(description: dict[str, Any]) -> Path | None:
    """The folder that outlives the job, made if it is not there."""
    if description.get("kept") is None:
        return None
    folder = Path(description["kept"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def peak_rss_bytes() -> int | None:
    """Most resident memory that this program had, without what its parent had when it started it; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), None)


def separate_stdout() -> TextIO:
    """Keep the original stdout for progress; send everything else that is printed to stderr (the log)."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def die_with_parent() -> None:
    """On Linux, have the kernel end this process when edgekit's ends, however that happens."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def load(verb_path: Path, hint: str) -> types.ModuleType:
    """The verb with what it imports. All that lives as long as the worker does, so the garbage collector need not look at it."""
    gc.disable()
    verb = load_verb(verb_path)
    if hint and hasattr(verb, "warm"):
        verb.warm(hint)
    gc.freeze()
    gc.enable()
    return verb


def load_verb(path: Path) -> types.ModuleType:
    """Import the verb's file, with `edgekit.hub` importable and the rest of edgekit not executed."""
    package = types.ModuleType("edgekit")
    package.__path__ = [str(Path(__file__).parent.parent)]
    sys.modules["edgekit"] = package
    # A verb may be helped by files in its own toolchain's folder. That folder comes last, and the verb's module gets a name of
    # its own, because verbs are called as they like: `inspect` must not replace the standard library's.
    sys.path[:] = [*sys.path[1:], str(path.parent)]
    name = f"edgekit_verb_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(*sys.argv[1:])
