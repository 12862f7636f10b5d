"""A file and samples in, the outputs that this machine's runtime gives for them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.toolchains.convert.runtime.runners import CannotRunError, open_runner
from edgekit.toolchains.convert.verify import run_all

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """`artifact`, `samples`, `runner`? (a plug-in's file) with `format`, `inputs`, `outputs` → `out/*.npy`, `runtime`, `version`."""
    try:
        runner = open_runner(job.inputs["artifact"], job.options["format"], job.inputs.get("runner"))
        run_all(job, runner, job.out)
    except CannotRunError as exc:
        job.refuse(f"{job.inputs['artifact'].name} does not run on this machine: {exc}; check the file", kind="input")
    return {"delegate": runner.delegate}
