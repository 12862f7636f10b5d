"""model.onnx of a compressed hub and what compression knows of it in; the same function in fewer bytes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx

from edgekit.hub.compressed import load_spec
from edgekit.hub.graph import reads
from edgekit.toolchains.convert import quantize_onnx
from edgekit.toolchains.convert.onnx_store.activations import is_float, quantize
from edgekit.toolchains.convert.onnx_store.grids import store
from edgekit.toolchains.convert.onnx_store.opset import NEEDS, may_rise, rise
from edgekit.toolchains.convert.onnx_store.pack import pack
from edgekit.toolchains.convert.quantize.attempts import Wish
from edgekit.toolchains.convert.quantize.calibration import CalibrationSet
from edgekit.toolchains.convert.quantize.onnx_integer_io import integer_ends, tell
from edgekit.toolchains.convert.quantize.onnx_qdq import slim
from edgekit.toolchains.convert.quantize.sensitive import Judge
from edgekit.toolchains.convert.runtime.integer_io import FloatBoundary
from edgekit.toolchains.convert.runtime.runners import CannotRunError, OnnxRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.hub.compressed import Spec
    from edgekit.toolchains.worker import Job

EXACT = 1e-5
"""Largest difference over an output's range where activations stay float32: weights come back to the bit, sums in blocks in another order."""


def run(job: Job) -> dict[str, Any]:
    """`float` (model.onnx), `spec` (compress.json), `hub`, and what quantize_onnx takes → `out/model.onnx`.

    Options: `recipe`, the format's own after the hub's steps, or null; `io` and what quantize_onnx takes. Weights with a grid are its integers;
    activations with one are QuantizeLinear/DequantizeLinear pairs; few different values, and zeros, take few bits, whatever they come from.
    Refuses what quantize_onnx refuses, integer ends that no grid is known of, and a file that does not run or gives other outputs.
    """
    spec, target = load_spec(job.inputs["spec"]), job.out / "model.onnx"
    if job.options.get("recipe") and not spec.activations:
        result = quantize_onnx.run(job)
        model = onnx.load(target)
        pack(model, may_rise(model))
        risen = rise(model)
        slim(model)
        notes = smaller(target.stat().st_size, model.ByteSize(), f"plain {job.options['recipe']}", risen)
        onnx.save(model, target)
        return {**result, "notes": [*result["notes"], *(note for note in notes if note not in result["notes"])]}
    return stored(job, spec)


def stored(job: Job, spec: Spec) -> dict[str, Any]:
    """The file of a Spec alone, compared with the float one."""
    job.progress("storing weights")
    target = job.out / "model.onnx"
    model = onnx.load(job.inputs["float"])
    four_bits = may_rise(model)
    done, notes = quantize(model, spec, four_bits)
    ends = integer_ends(model, {}, "") if Wish.of(job.options).io == "integer" and may_be_integer(job, model, spec) else None
    notes += store(model, spec, done, four_bits)
    pack(model, four_bits)
    risen = rise(model)
    ops = len(running(model))
    slim(model)
    if ends:
        tell(model, ends)
    onnx.save(model, target)
    notes += smaller(job.inputs["float"].stat().st_size, target.stat().st_size, "float32", risen)
    compared(job, target, exact=not spec.activations, ends=ends)
    route = "QDQ with learned scales" if spec.activations else "weights in few bits"
    result = {"route": [f"{route}, opset {model.opset_import[0].version}"], "notes": notes, "ops": ops}
    return result if ends is None else {**result, "quantization": ends}


def running(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that a run computes: those that an input reaches."""
    reached, found = {value.name for value in model.graph.input}, []
    for node in model.graph.node:
        if reached.intersection(reads(node)):
            reached.update(node.output)
            found.append(node)
    return found


def smaller(before: int, after: int, form: str, risen: bool) -> list[str]:
    """What a person has to know of packed weights.

    Args:
        before, after: bytes of the file.
        form: what it was before: the same network in `float32` or `plain w8`.
        risen: whether 4-bit integers brought the file to opset 21.
    """
    if after >= before:
        return [f"no smaller than the same network in {form}: compression left nothing in this model that takes few bits"]
    memory = "up to twice the memory of float32, and five times where zeros take a bit each"
    words = f"ONNX Runtime unpacks weights once, when a session is made, which takes {memory}; runs are as fast as without"
    notes = [f"{before / after:.1f} times smaller than the same network in {form}; {words}"] if before > after * 1.02 else []
    return notes + ([NEEDS] if risen else [])


def may_be_integer(job: Job, model: onnx.ModelProto, spec: Spec) -> bool:
    """Refuses integer ends where a float32 input or output has no grid."""
    ends = [value.name for value in [*model.graph.input, *model.graph.output] if is_float(value)]
    bare = [name for name in ends if name not in spec.activations]
    if bare:
        job.refuse(f"{bare[0]!r} has no learned scale, so it cannot be an integer: use --io float", kind="input")
    return True


def compared(job: Job, target: Path, exact: bool, ends: Any) -> None:
    """Run the file several times; refuses one that does not run, or whose outputs are others."""
    before = OnnxRuntime(job.inputs["float"])
    judge = Judge(before, CalibrationSet(job.inputs.get("calibration"), before.inputs).judges())
    before.release()
    try:
        after = OnnxRuntime(target)
        lost = judge.loss(FloatBoundary(after, ends) if ends else after)
    except CannotRunError as exc:
        job.refuse(f"the file with its weights in few bits does not run: {exc}; use another format")
    if exact and not lost.max_rel <= EXACT:
        job.refuse(f"weights in few bits change the outputs by {lost.max_rel:.1g} of their range: use another format")
    if lost.zero_output:
        job.refuse(f"the learned scales make the output {lost.zero_output!r} all zero: tune for longer, or use w8")
