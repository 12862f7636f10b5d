"""A verb and, on stdin, jobs in; how each ended out, one JSON line a job. Run by a toolchain's python.

    <toolchain's python> fuzz_worker.py WORKER.py VERB.py DEADLINE_S

The verb is loaded once, as a worker loads it, and every job runs in a fork: so ten thousand damaged models need no ten thousand
imports, and a crash or a hang is a result like another.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any


def attempt(worker: Any, verb: Any, job: dict[str, Any], channel: int) -> None:
    """In a fork: run the verb and say how it ended."""
    folder = Path(tempfile.mkdtemp())
    (folder / "out").mkdir()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    with open(os.devnull, "w") as devnull:
        try:
            verb.run(worker.Job({k: Path(v) for k, v in job["inputs"].items()}, job["options"], folder / "out", devnull))
            said = {"end": "done", "words": ""}
        except worker.Refused as refusal:
            said = {"end": "refused", "words": refusal.record["message"]}
        except MemoryError:
            said = {"end": "refused", "words": "out of memory: as the worker itself says it"}
        except BaseException:  # noqa: BLE001  whatever it is, is the result
            said = {"end": "traceback", "words": traceback.format_exc()}
    shutil.rmtree(folder, ignore_errors=True)
    os.write(channel, json.dumps(said).encode())
    os._exit(0)


def supervised(worker: Any, verb: Any, job: dict[str, Any], deadline_s: float) -> dict[str, Any]:
    """`end`: done, refused, traceback, crashed or hung."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reads)
        attempt(worker, verb, job, writes)
    os.close(writes)
    said = b""
    end = time.monotonic() + deadline_s
    while True:
        ready, _, _ = select.select([reads], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(reads)
            return {"end": "hung", "words": f"not done in {deadline_s:g} s"}
        chunk = os.read(reads, 1 << 16)
        if not chunk:
            break
        said += chunk
    os.close(reads)
    _, status = os.waitpid(pid, 0)
    return json.loads(said) if said else {"end": "crashed", "words": f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {status}"}


def main(worker_path: str, verb_path: str, deadline_s: str) -> None:
    sys.path.insert(0, str(Path(worker_path).parent))
    import worker  # type: ignore[import-not-found]

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print while they load is no answer
    verb = worker.load(Path(verb_path), "")
    for line in sys.stdin:
        answers.write(json.dumps(supervised(worker, verb, json.loads(line), float(deadline_s))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
