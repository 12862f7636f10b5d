"""A TFLite, ONNX or Core ML file in, its inputs and outputs out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.toolchains.convert.runtime.runners import CannotRunError, open_runner

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job


def run(job: Job) -> dict[str, Any]:
    """`artifact`, `runner`? (a plug-in's file) with `format` → `inputs`, `outputs` as the file states them."""
    try:
        runner = open_runner(job.inputs["artifact"], job.options["format"], job.inputs.get("runner"))
    except CannotRunError as exc:
        job.refuse(f"{job.inputs['artifact'].name} is no {job.options['format']} file that runs here: {exc}; check the file", kind="input")
    except (TypeError, ValueError):
        job.refuse(
            f"{job.inputs['artifact'].name} has an input or output whose shape is open: give the model to `edgekit deploy`, which fixes it", kind="input"
        )
    return {"inputs": runner.inputs, "outputs": runner.outputs, "notes": []}
