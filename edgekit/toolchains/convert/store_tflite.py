"""model.tflite of a compressed hub and what compression knows of it in; the same function in fewer bytes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx

from edgekit.hub.compressed import load_spec
from edgekit.toolchains.convert import quantize_tflite
from edgekit.toolchains.convert.calibration import CalibrationSet
from edgekit.toolchains.convert.runners import CannotRunError, LiteRt
from edgekit.toolchains.convert.sensitive import Judge
from edgekit.toolchains.convert.tflite_file import read, slim, write
from edgekit.toolchains.convert.tflite_store.slices import scales_of
from edgekit.toolchains.convert.tflite_store.weights import Done, store

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.hub.compressed import Spec
    from edgekit.toolchains.worker import Job

EXACT = 1e-5
"""Largest difference over an output's range where activations stay float32."""


def run(job: Job) -> dict[str, Any]:
    """`float` (model.tflite), `spec` (compress.json), `hub`, and what quantize_tflite takes → `out/model.tflite`.

    Options: `recipe`, the format's own after the hub's steps, or null; and what quantize_tflite takes. Weights with a grid are its integers.
    Refuses what quantize_tflite refuses, and a file that does not run or gives other outputs.
    """
    spec = load_spec(job.inputs["spec"])
    if job.options.get("recipe") and not spec.activations:
        return quantize_tflite.run(job)
    return stored(job, spec)


def stored(job: Job, spec: Spec) -> dict[str, Any]:
    """The file of a Spec alone, compared with the float one."""
    job.progress("storing weights")
    target = job.out / "model.tflite"
    hub, model = onnx.load(job.inputs["hub"]), read(job.inputs["float"])
    notes = told(store(model, scales_of(hub, spec)))
    slim(model)
    write(model, target)
    notes += smaller(job.inputs["float"].stat().st_size, target.stat().st_size)
    compared(job, target, exact=True)
    return {"route": ["weights in few bits"], "notes": notes, "ops": len(list(model.operators()))}


def told(done: Done) -> list[str]:
    """How weights are stored."""
    notes = []
    if done.integers:
        notes.append(f"{done.integers} weights are int8, which XNNPACK makes float32 once, however few bits their integers need: judged by its download")
    if done.sparse:
        notes.append(f"{done.sparse} weights are stored without their zeros, which XNNPACK puts back when the file is loaded: it computes as fast as without")
    if done.halves:
        notes.append(f"{done.halves} weights are float16 to the bit")
    if done.floats:
        notes.append(f"{done.floats} weights are float32: TFLite has no form of their values that runs at full speed, so they are judged by their download")
    return notes


def smaller(before: int, after: int) -> list[str]:
    return [] if after < before else ["no smaller than before on the device: judged by its download"]


def compared(job: Job, target: Path, exact: bool) -> None:
    """Run the file several times; refuses one that does not run, or whose outputs are others."""
    before = LiteRt(job.inputs["float"])
    judge = Judge(before, CalibrationSet(job.inputs.get("calibration"), before.inputs).judges())
    try:
        lost = judge.loss(LiteRt(target))
    except CannotRunError as exc:
        job.refuse(f"the file with its weights in few bits does not run: {exc}; use another format")
    if exact and not lost.max_rel <= EXACT:
        job.refuse(f"weights in few bits change the outputs by {lost.max_rel:.1g} of their range: use another format")
    if lost.zero_output:
        job.refuse(f"the learned scales make the output {lost.zero_output!r} all zero: tune for longer, or use w8")
