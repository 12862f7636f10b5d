"""Tuning jobs in, their results out: many in one process of the torch toolchain, as its worker would do them one by one.

<torch toolchain's python> -m tests.lab.tuned JOBS.json

Each job is a folder name → `inputs`, `options`, `kept`; `out/` and `result.json` are written into that folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from edgekit.toolchains.worker import Job, Refused, load_verb


def main(jobs: Path) -> None:
    import edgekit

    verb = load_verb(Path(edgekit.__file__).parent / "toolchains/torch/tune.py")
    for name, said in json.loads(jobs.read_text()).items():
        folder = jobs.parent / name
        (folder / "out").mkdir(parents=True, exist_ok=True)
        kept = Path(said["kept"]) if said.get("kept") else None
        with Path(os.devnull).open("w") as channel:
            job = Job({key: Path(path) for key, path in said["inputs"].items()}, said["options"], folder / "out", channel, kept)
            result = done(verb, job)
        (folder / "result.json").write_text(json.dumps(result))


def done(verb: Any, job: Job) -> dict[str, Any]:
    try:
        return dict(verb.run(job))
    except Refused as refusal:
        return {"error": refusal.record}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
