"""A native route's stand-in: the source model as it is, and what it was given beside it as a note."""

from __future__ import annotations

import json
import shutil
from typing import Any


def run(job: Any) -> dict[str, Any]:
    shutil.copyfile(job.inputs["model"], job.out / "model.onnx")
    return {"route": ["native"], "notes": [json.dumps({"inputs": sorted(job.inputs), **job.options})]}
