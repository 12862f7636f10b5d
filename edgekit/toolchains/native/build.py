"""C sources and a machine in, the runner for its Linux out: a program that needs nothing but the C library."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-s", "-Wall", "-Wextra", "-Werror"]
DEADLINE_S = 600


def run(job: Job) -> dict[str, Any]:
    """`sources` (a folder of .c and .h) with `target` (zig's, such as `aarch64-linux-gnu.2.17`) → the file `runner`."""
    job.progress("building the runner")
    sources, target = job.inputs["sources"], job.options["target"]
    scratch = Path(os.environ["TMPDIR"])
    env = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(scratch / "zig"), "ZIG_LOCAL_CACHE_DIR": str(scratch / "zig-local")}
    files = sorted(path.name for path in sources.glob("*.c"))  # names, not paths: they must not get into the program
    argv = [sys.executable, "-m", "ziglang", "cc", "-target", target, *FLAGS, "-o", str(job.out / "runner"), *files]
    done = subprocess.run(argv, cwd=sources, env=env, capture_output=True, text=True, timeout=DEADLINE_S)
    if done.returncode != 0:
        wrong = re.search(r".*error: .*", done.stderr)
        words = wrong[0] if wrong else " ".join(done.stderr.split())[-300:] or f"exit code {done.returncode}"
        job.refuse(f"the runner for {target} cannot be built ({words}): install edgekit again, or mend ./targets/native", kind="setup")
    return {"target": target, "bytes": (job.out / "runner").stat().st_size}
