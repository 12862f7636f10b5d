"""A float32 model.tflite in, the same under a recipe out, by litert-quantizer; inputs and outputs stay float32."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.toolchains.convert.runners import CannotRunError, LiteRt
from edgekit.toolchains.convert.tflite_file import TfliteFile, read, slim, write

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

Rules = list[dict[str, Any]]

METHODS = {"fp16": "float_casting fp16", "w8": "weight_only_wi8_afp32", "w8d": "dynamic_wi8_afp32", "w8a8": "static_wi8_ai8"}

BROKEN_IN_INT8 = ("BATCH_MATMUL",)
"""Operators that w8a8 leaves in float: with both sides in int8 their results are all zero, without an error."""

SLOW = "on x86 a dynamically quantized file is smaller, but slower than float32"


def run(job: Job) -> dict[str, Any]:
    """`float` (model.tflite), `calibration` (tensor folder; w8a8 only), option `recipe` → `out/model.tflite`.

    Refuses w8a8 without calibration samples, and a result that does not run or gives nothing but zeros.
    """
    recipe, source, target = job.options["recipe"], job.inputs["float"], job.out / "model.tflite"
    if recipe == "w8a8" and "calibration" not in job.inputs:
        job.refuse("w8a8 needs samples to calibrate with: give some with --data, or use w8", kind="input")
    notes: list[str] = []
    model = read(source)
    rules = rules_for(recipe)
    if recipe == "w8a8":
        float_rules, notes = left_float(model)
        rules += float_rules
    if recipe == "w8d":
        notes.append(SLOW)
    try:
        quantized = quantize(job, source, rules)
    except (ValueError, RuntimeError, KeyError, IndexError, TypeError, NotImplementedError) as exc:  # it has no error of its own
        job.refuse(f"litert-quantizer cannot make {recipe} of this model ({type(exc).__name__}: {str(exc)[:300]}): use another recipe or format")
    model = read(quantized)
    slim(model)
    write(model, target)
    if target.stat().st_size >= source.stat().st_size:
        notes.append("no smaller than float32: the model has few weights that this recipe touches")
    check(job, source, target)
    return {"route": [f"litert-quantizer {version('litert-quantizer')} {METHODS[recipe]}"], "notes": notes}


def rules_for(recipe: str) -> Rules:
    """The quantizer's own recipe; weights per output channel."""
    from litert_quantizer import recipe as recipes
    from litert_quantizer.qtyping import ComputePrecision, OpQuantizationConfig, TensorDataType, TensorQuantizationConfig

    if recipe != "fp16":
        made: Rules = getattr(recipes, METHODS[recipe])()
        return made
    half = TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT)
    config = OpQuantizationConfig(weight_tensor_config=half, compute_precision=ComputePrecision.FLOAT, explicit_dequantize=True)
    return [{"regex": ".*", "operation": "*", "algorithm_key": "float_casting", "op_config": config.to_dict()}]


def left_float(model: TfliteFile) -> tuple[Rules, list[str]]:
    """What w8a8 does not touch: the boundary, operators whose int8 kernel is wrong, and a softmax that makes an output.

    An int8 softmax has the fixed scale 1/256, which has no room for the probabilities of a thousand classes.
    """
    rules = [rule("INPUT"), rule("OUTPUT")]
    notes = []
    for op in model.operators():
        if op.kind in BROKEN_IN_INT8:
            rules.append(rule(op.kind, op.output))
            notes.append(f"{op.kind} {op.output!r} left in float32: its int8 kernel gives all zero")
        elif op.kind == "SOFTMAX" and op.is_output:
            rules.append(rule(op.kind, op.output))
            notes.append(f"SOFTMAX {op.output!r} left in float32: int8 has no room for small probabilities")
    return rules, notes


def rule(kind: str, output: str = "") -> dict[str, Any]:
    """Leave operators of a kind in float: the one with this output, or all."""
    return {"regex": re.escape(output) or ".*", "operation": kind, "algorithm_key": "no_quantize"}


def quantize(job: Job, source: Path, rules: Rules) -> bytes:
    """The quantized file; calibrated sample by sample where the rules need it."""
    from litert_quantizer import Quantizer

    quantizer = Quantizer(str(source), rules)
    calibration = None
    if quantizer.need_calibration:
        job.progress("calibrating")
        calibration = quantizer.calibrate({"serving_default": Samples(job, source)}, num_threads=1)
    job.progress("quantizing")
    result = quantizer.quantize(calibration, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


class Samples:
    """Calibration samples one after the other, by input name; litert-quantizer goes through them twice."""

    def __init__(self, job: Job, source: Path) -> None:
        self.inputs = LiteRt(source).inputs
        folder = job.inputs["calibration"]
        self.arrays = [np.load(folder / f"{i}.npy", mmap_mode="r", allow_pickle=False) for i in range(len(self.inputs))]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for index in range(len(self.arrays[0]) if self.arrays else 0):
            yield {spec["name"]: np.asarray(array[index]).astype(spec["dtype"]) for spec, array in zip(self.inputs, self.arrays, strict=True)}


def check(job: Job, source: Path, target: Path) -> None:
    """Run both files on one sample: a quantized file that gives nothing but zeros, or NaN, is no answer."""
    try:
        before, after = LiteRt(source), LiteRt(target)
        feeds = feeds_for(job, source, before)
        for name, a, b in zip([spec["name"] for spec in before.outputs], before.run(feeds), after.run(feeds), strict=True):
            if np.any(a != 0) and not np.any(b != 0):
                job.refuse(f"{job.options['recipe']} makes the output {name!r} all zero: use another recipe (w8 touches weights only)")
    except CannotRunError as exc:
        job.refuse(f"the {job.options['recipe']} file does not run: {exc}; use another recipe or format")


def feeds_for(job: Job, source: Path, runner: LiteRt) -> list[Any]:
    """One sample: the first calibration sample, or 0.5 everywhere."""
    if "calibration" in job.inputs:
        return list(next(iter(Samples(job, source))).values())
    return [np.full(spec["shape"], 0.5).astype(spec["dtype"]) for spec in runner.inputs]
