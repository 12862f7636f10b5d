"""model.tflite of a compressed hub and what compression knows of it in; the same function in fewer bytes out."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import onnx

from edgekit.hub.compressed import load_spec
from edgekit.toolchains.convert import quantize_tflite
from edgekit.toolchains.convert.quantize.attempts import Wish
from edgekit.toolchains.convert.quantize.calibration import CalibrationSet
from edgekit.toolchains.convert.quantize.sensitive import Judge
from edgekit.toolchains.convert.runtime.integer_io import FloatBoundary, quantization
from edgekit.toolchains.convert.runtime.runners import CannotRunError, LiteRt
from edgekit.toolchains.convert.tflite.file import read, slim, write
from edgekit.toolchains.convert.tflite_store.activations import quantize, steps_of
from edgekit.toolchains.convert.tflite_store.slices import scales_of
from edgekit.toolchains.convert.tflite_store.weights import Done, store

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.hub.compressed import Spec
    from edgekit.toolchains.convert.tflite.file import TfliteFile
    from edgekit.toolchains.worker import Job

EXACT = 1e-5
"""Largest difference over an output's range where activations stay float32."""

SAMPLES = 2
"""To tell by their values which tensors of the file are which of the hub's."""


def run(job: Job) -> dict[str, Any]:
    """`float` (model.tflite), `spec` (compress.json), `hub`, and what quantize_tflite takes → `out/model.tflite`.

    Options: `recipe`, the format's own after the hub's steps, or null; and what quantize_tflite takes. Weights with a grid are its integers;
    activations with a grid are computed in it. Refuses what quantize_tflite refuses, and a file that does not run or gives other outputs.
    """
    spec = load_spec(job.inputs["spec"])
    if job.options.get("recipe") and not spec.activations:
        return quantize_tflite.run(job)
    return stored(job, spec)


def stored(job: Job, spec: Spec) -> dict[str, Any]:
    """The file of a Spec alone, compared with the float one."""
    job.progress("storing weights")
    source, target, integer = job.inputs["float"], job.out / "model.tflite", Wish.of(job.options).io == "integer"
    scales = scales_of(onnx.load(job.inputs["hub"]), spec)
    if spec.activations:
        model, notes = in_integers(job, spec, scales, integer)
        route = f"litert-quantizer {version('litert-quantizer')} with learned scales"
    else:
        if integer:
            job.refuse("integer inputs and outputs need learned scales of activations, which these steps give none of: use --io float", kind="input")
        model, route = read(source), "weights in few bits"
        notes = []
    notes += told(store(model, scales))  # of a file in integers: what is left in float32
    slim(model)
    write(model, target)
    notes += smaller(source.stat().st_size, target.stat().st_size)
    compared(job, target, exact=not spec.activations, integer=integer)
    result = {"route": [route], "notes": notes, "ops": len(list(model.operators()))}
    return {**result, "quantization": quantization(LiteRt(target))} if integer else result


def in_integers(job: Job, spec: Spec, scales: dict[bytes, float], integer: bool) -> tuple[TfliteFile, list[str]]:
    """The file that computes in the Spec's integers, and notes."""
    samples = CalibrationSet(job.inputs.get("calibration"), LiteRt(job.inputs["float"]).inputs).judges()[:SAMPLES]
    steps = steps_of(job.inputs["hub"], job.inputs["float"], spec, samples)
    if not steps:
        job.refuse("no tensor of the TFLite file is one that a scale was learned for: use another format, or w8a8 after tuning instead of before")
    try:
        return quantize(job.inputs["float"], steps, scales, integer)
    except quantize_tflite.QUANTIZER_ERRORS as exc:
        job.refuse(f"litert-quantizer cannot make w8a8 of this model ({type(exc).__name__}: {str(exc)[:300]}): use another recipe or format")


def told(done: Done) -> list[str]:
    """How weights are stored."""
    words = (
        (done.integers, "int8, whatever bits their integers need: XNNPACK makes those float32 once, and INT4 in every run, so it is judged by its download"),
        (done.sparse, "what is left without their zeros, which XNNPACK puts back when the file is loaded: speed is as with them"),
        (done.halves, "float16, to the bit"),
        (done.floats, "float32, because no form that TFLite runs at full speed is smaller: judged by their download"),
    )
    return [f"{count} {'weight is' if count == 1 else 'weights are'} stored as {how}" for count, how in words if count]


def smaller(before: int, after: int) -> list[str]:
    return [] if after < before else ["no smaller than float32 on the device: judged by its download"]


def compared(job: Job, target: Path, exact: bool, integer: bool) -> None:
    """Run the file several times; refuses one that does not run, or whose outputs are others."""
    before = LiteRt(job.inputs["float"])
    judge = Judge(before, CalibrationSet(job.inputs.get("calibration"), before.inputs).judges())
    try:
        after = LiteRt(target)
        lost = judge.loss(FloatBoundary(after, quantization(after)) if integer else after)
    except CannotRunError as exc:
        job.refuse(f"the file with its weights in few bits does not run: {exc}; use another format")
    if exact and not lost.max_rel <= EXACT:
        job.refuse(f"weights in few bits change the outputs by {lost.max_rel:.1g} of their range: use another format")
    if lost.zero_output:
        job.refuse(f"the learned scales make the output {lost.zero_output!r} all zero: tune for longer, or use w8")
