"""A recipe and a TFLite file's operators in, litert-quantizer's rules out: what is quantized how, and what is left alone."""

from __future__ import annotations

import re
from typing import Any

from edgekit.toolchains.convert.tflite.file import Operator

Rules = list[dict[str, Any]]

METHODS = {
    "fp16": "float_casting fp16",
    "w8": "weight_only_wi8_afp32",
    "w4": "weight_only_wi4_afp32",
    "w8d": "dynamic_wi8_afp32",
    "w8a8": "static_wi8_ai8",
    "w8a16": "static_wi8_ai16",
}

BROKEN_IN_INTEGERS = ("BATCH_MATMUL",)
"""Operators that calibrated recipes leave in float: with both sides in int8 their results are all zero, without an error."""

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")

NO_INT4 = ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
"""Of those, the ones that the quantizer has no 4-bit form of: w4 gives them int8 weights."""

NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}
"""Where the quantizer has a name of its own for an operator."""


def rules_for(recipe: str) -> Rules:
    """The quantizer's own recipe; weights per output channel."""
    from litert_quantizer import recipe as recipes
    from litert_quantizer.qtyping import ComputePrecision, OpQuantizationConfig, TensorDataType, TensorQuantizationConfig

    if recipe != "fp16":
        made: Rules = getattr(recipes, METHODS[recipe])()
        return made + [{**rule, "operation": NAMES.get(kind, kind)} for rule in rules_for("w8") for kind in NO_INT4] if recipe == "w4" else made
    half = TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT)
    config = OpQuantizationConfig(weight_tensor_config=half, compute_precision=ComputePrecision.FLOAT, explicit_dequantize=True)
    return [{"regex": ".*", "operation": "*", "algorithm_key": "float_casting", "op_config": config.to_dict()}]


def weight_bits(recipe: str, kind: str) -> int:
    """How many bits the weights of an operator of that kind get."""
    return 4 if recipe == "w4" and kind not in NO_INT4 else 8


def left_float(ops: list[Operator], integer_ends: bool) -> tuple[Rules, list[str]]:
    """What a calibrated recipe does not touch: the boundary, operators whose integer kernel is wrong, and a softmax that makes an output.

    An int8 softmax has the fixed scale 1/256, which has no room for the probabilities of a thousand classes.
    """
    ends = () if integer_ends else ("INPUT", "OUTPUT")
    rules = [{"regex": ".*", "operation": kind, "algorithm_key": "no_quantize"} for kind in ends]
    notes = []
    for op in ops:
        if op.kind in BROKEN_IN_INTEGERS:
            rules.append(untouched(op))
            notes.append(f"{op.kind} {op.output!r} left in float32: its int8 kernel gives all zero")
        elif op.kind == "SOFTMAX" and op.is_output and not integer_ends:
            rules.append(untouched(op))
            notes.append(f"SOFTMAX {op.output!r} left in float32: int8 has no room for small probabilities")
    return rules, notes


def untouched(op: Operator) -> dict[str, Any]:
    """Leave one operator as it is. The quantizer knows operators by the names of their outputs, each ended by a semicolon."""
    return {"regex": re.escape(op.output) + ";", "operation": NAMES.get(op.kind, op.kind), "algorithm_key": "no_quantize"}


def higher_precision(recipe: str, op: Operator) -> dict[str, Any]:
    """Int8 weights and float activations for one operator; float32 where the recipe has no more than that anyway, or it has no weights."""
    if recipe in ("fp16", "w8") or op.kind not in WEIGHTED:
        return untouched(op)
    (found,) = rules_for("w8")
    return {**found, "regex": re.escape(op.output) + ";", "operation": NAMES.get(op.kind, op.kind)}
