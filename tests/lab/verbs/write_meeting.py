"""A writer that goes on only once so many of its kind are at work: proof that they are side by side, or a way to catch them at it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any


def run(job: Any) -> dict[str, Any]:
    meet, wanted = Path(job.options["meet"]), job.options["wanted"]
    (meet / f"{os.getpid()}.pid").touch()
    end = time.monotonic() + job.options["patience_s"]
    while len(list(meet.glob("*.pid"))) < wanted:
        if time.monotonic() > end:
            job.refuse(f"fewer than {wanted} were at work: look at what ran one after the other")
        time.sleep(0.02)
    shutil.copyfile(job.inputs["hub"], job.out / "model.onnx")
    return {"route": ["meeting"], "notes": []}
