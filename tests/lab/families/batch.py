"""Many jobs of one toolchain in, their results out: each in a child of one process that has loaded the packages once.

<toolchain's python> -m tests.lab.families.batch JOBS.json

`JOBS.json` is a list of {"verb": path of the worker's file, "inputs": {name: path}, "options", "folder"}. Each job leaves `<folder>/out/` and
`<folder>/result.json`: the verb's result, {"refused": words}, or {"crashed": the end of its log} where it raised, died or took too long.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from edgekit.toolchains.worker import Job, Refused

DEADLINE_S = 600
TOGETHER = 2


def load(path: Path) -> ModuleType:
    """A verb with its toolchain's folder importable by bare names, as toolchains/worker.py lets it."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(f"edgekit_verb_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main(jobs: list[dict[str, Any]]) -> None:
    verbs = {verb: load(Path(verb)) for verb in dict.fromkeys(job["verb"] for job in jobs)}
    running: dict[int, Path] = {}
    for job in jobs:
        folder = Path(job["folder"])
        (folder / "out").mkdir(parents=True, exist_ok=True)
        if len(running) >= TOGETHER:
            settle(running)
        child = os.fork()
        if child == 0:
            signal.alarm(DEADLINE_S)
            run(verbs[job["verb"]], job, folder)
        running[child] = folder
    while running:
        settle(running)


def settle(running: dict[int, Path]) -> None:
    """Wait for one child; where it left no result, say how it ended."""
    child, status = os.wait()
    folder = running.pop(child)
    if not (folder / "result.json").exists():
        log = (folder / "log").read_text(errors="replace")[-2000:]
        (folder / "result.json").write_text(json.dumps({"crashed": f"ended by {status}: {log}"}))


def run(verb: ModuleType, job: dict[str, Any], folder: Path) -> None:
    """In the child: never returns."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    with Path(os.devnull).open("w") as channel:
        try:
            result = verb.run(Job({name: Path(path) for name, path in job["inputs"].items()}, job["options"], folder / "out", channel))
        except Refused as refusal:
            result = {"refused": refusal.record["message"]}
        except BaseException:  # noqa: BLE001  whatever it is, it is what this report has to show
            result = {"crashed": traceback.format_exc()[-2000:]}
    (folder / "result.json").write_text(json.dumps(result))
    os._exit(0)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
