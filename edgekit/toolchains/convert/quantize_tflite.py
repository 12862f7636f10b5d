"""A float32 model.tflite in, the same under a recipe out, by litert-quantizer; inputs and outputs stay float32."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.toolchains.convert.runners import CannotRunError, LiteRt
from edgekit.toolchains.convert.sensitive import before_logarithm, better, few_samples, loss
from edgekit.toolchains.convert.tflite_file import Operator, read, slim, write

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

Rules = list[dict[str, Any]]

METHODS = {"fp16": "float_casting fp16", "w8": "weight_only_wi8_afp32", "w8d": "dynamic_wi8_afp32", "w8a8": "static_wi8_ai8"}

BROKEN_IN_INT8 = ("BATCH_MATMUL",)
"""Operators that w8a8 leaves in float: with both sides in int8 their results are all zero, without an error."""

QUANTIZER_ERRORS = (ValueError, RuntimeError, KeyError, IndexError, TypeError, NotImplementedError)
"""litert-quantizer has no error of its own."""

SLOW = "on x86 a dynamically quantized file is smaller, but slower than float32"


def run(job: Job) -> dict[str, Any]:
    """`float` (model.tflite), `calibration` (tensor folder; w8a8 only), option `recipe` → `out/model.tflite`.

    Refuses w8a8 without calibration samples, and a result that does not run or gives nothing but zeros.
    """
    recipe, source, target = job.options["recipe"], job.inputs["float"], job.out / "model.tflite"
    if recipe == "w8a8" and "calibration" not in job.inputs:
        job.refuse("w8a8 needs samples to calibrate with: give some with --data, or use w8", kind="input")
    ops = list(read(source).operators())
    rules, notes = rules_for(recipe), [SLOW] if recipe == "w8d" else []
    if recipe == "w8a8":
        float_rules, notes = left_float(ops)
        rules += float_rules
    before = LiteRt(source)
    few = few_samples(job.inputs.get("calibration"), before.inputs)

    def make(left: set[int]) -> Path:
        model = read(quantize(job, source, rules + [weights_only(recipe, ops[index]) for index in sorted(left)]))
        slim(model)
        path = job.out.parent / f"{len(left)}.tflite"
        write(model, path)
        return path

    sensitive = before_logarithm([(op.kind, op.inputs, op.outputs) for op in ops]) if recipe in ("fp16", "w8a8") else set()
    try:
        path, lost, part = better(recipe, make, lambda path: loss(before, LiteRt(path), few), sensitive)
    except CannotRunError as exc:
        job.refuse(f"the {recipe} file does not run: {exc}; use another recipe or format")
    except QUANTIZER_ERRORS as exc:
        job.refuse(f"litert-quantizer cannot make {recipe} of this model ({type(exc).__name__}: {str(exc)[:300]}): use another recipe or format")
    if lost.zero_output:
        job.refuse(f"{recipe} makes the output {lost.zero_output!r} all zero: use another recipe (w8 touches weights only)")
    path.rename(target)
    if part:
        notes.append(f"{len(sensitive)} operators before a logarithm keep float32 activations: {recipe} lost too much there")
    if target.stat().st_size >= source.stat().st_size:
        notes.append("no smaller than float32: the model has few weights that this recipe touches")
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


def left_float(ops: list[Operator]) -> tuple[Rules, list[str]]:
    """What w8a8 does not touch: the boundary, operators whose int8 kernel is wrong, and a softmax that makes an output.

    An int8 softmax has the fixed scale 1/256, which has no room for the probabilities of a thousand classes.
    """
    rules = [{"regex": ".*", "operation": kind, "algorithm_key": "no_quantize"} for kind in ("INPUT", "OUTPUT")]
    notes = []
    for op in ops:
        if op.kind in BROKEN_IN_INT8:
            rules.append(no_rule(op))
            notes.append(f"{op.kind} {op.output!r} left in float32: its int8 kernel gives all zero")
        elif op.kind == "SOFTMAX" and op.is_output:
            rules.append(no_rule(op))
            notes.append(f"SOFTMAX {op.output!r} left in float32: int8 has no room for small probabilities")
    return rules, notes


def no_rule(op: Operator) -> dict[str, Any]:
    """Leave one operator as it is. The quantizer knows operators by the names of their outputs, each ended by a semicolon."""
    return {"regex": re.escape(op.output) + ";", "operation": op.kind, "algorithm_key": "no_quantize"}


def weights_only(recipe: str, op: Operator) -> dict[str, Any]:
    """Leave one operator's activations as they are: int8 weights under w8a8, float32 ones under fp16."""
    if recipe == "fp16" or op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"):
        return no_rule(op)
    (found,) = rules_for("w8")
    return {**found, "regex": re.escape(op.output) + ";", "operation": op.kind}


def quantize(job: Job, source: Path, rules: Rules) -> bytes:
    """The quantized file; calibrated where the rules need it."""
    from litert_quantizer import Quantizer

    quantizer = Quantizer(str(source), rules)
    ranges = calibrate(job, source, rules) if quantizer.need_calibration else None
    job.progress("quantizing")
    result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def calibrate(job: Job, source: Path, rules: Rules) -> dict[str, Any]:
    """Least and largest value of every tensor over all samples.

    litert-quantizer's own choice, a moving average of the ranges, cuts off the largest activations: on a digits classifier it
    cost 10 dB against the true range.
    """
    from litert_quantizer.calibrator import CalibrationMode, Calibrator
    from litert_quantizer.recipe_manager import RecipeManager
    from litert_quantizer.utils.qsv_utils import min_max_update

    job.progress("calibrating")
    manager = RecipeManager()
    manager.load_quantization_recipe(rules)
    mode = CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS
    calibrator = Calibrator(str(source), num_threads=1, mode=mode, qsv_update_func=min_max_update)
    calibrator.calibrate({"serving_default": Samples(job, source)}, manager)
    ranges: dict[str, Any] = calibrator.get_model_qsvs()
    return ranges


class Samples:
    """Calibration samples one after the other, by input name; litert-quantizer goes through them twice."""

    def __init__(self, job: Job, source: Path) -> None:
        self.inputs = LiteRt(source).inputs
        folder = job.inputs["calibration"]
        self.arrays = [np.load(folder / f"{i}.npy", mmap_mode="r", allow_pickle=False) for i in range(len(self.inputs))]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for index in range(len(self.arrays[0]) if self.arrays else 0):
            yield {spec["name"]: np.asarray(array[index]).astype(spec["dtype"]) for spec, array in zip(self.inputs, self.arrays, strict=True)}
