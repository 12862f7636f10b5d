"""A float Core ML model in, the same with integer weights out: int8 per output channel, or int4 per output channel or per block.

int8 is what iOS 16 has (constexpr_affine_dequantize); int4 needs iOS 18 (constexpr_blockwise_shift_scale).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.models.utils import _apply_graph_pass
from coremltools.optimize._utils import select_input_output_channel_axis
from coremltools.optimize.coreml import OpLinearQuantizerConfig, OptimizationConfig, linear_quantize_weights

Array = np.ndarray[Any, Any]

SMALLEST = 512
"""Weights of fewer elements stay float: their scales would eat the saving, and they are where the error shows."""

MATRIX_READERS = {"conv", "conv_transpose", "linear", "matmul", "gather", "lstm", "gru", "rnn"}
"""Whose constants become int4: a mask or an offset that is added has values that 4 bits would lose."""

SMALL = 2048
"""Weights of at most so many elements become int8 where the others become int4: a kilobyte, in the layers that see least values."""

FEWEST = 16
"""Weights for each output channel below which they become int8: so few cost little, and what 4 bits lose on them does not average out."""

IOS18 = 9
"""The specification version of iOS 18."""

SHARES = np.linspace(1.0, 0.5, 11)
"""Of the range that a channel's weights need: where its 16 steps may end. Clipping few large weights leaves finer steps for all others."""


def int8(model: Any, spared: Collection[str]) -> Any:
    """Symmetric, one scale for each output channel. `spared`: names of weights that stay float."""
    each = OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=SMALLEST)
    return linear_quantize_weights(model, OptimizationConfig(global_config=each, op_name_configs=dict.fromkeys(spared)))


def int4(model: Any, spared: Collection[str], block: int | None, clipped: bool, eight: Collection[str] = ()) -> tuple[Any, list[str]]:
    """A scale and a zero point for each output channel, or for each `block` input channels of it; the model, and notes.

    `spared`: names of weights that stay float; `eight`: of those that become int8.
    """
    quantize = FourBits(set(spared), block, clipped, set(eight))
    made = _apply_graph_pass(model, quantize, spec_version=IOS18)
    notes = []
    if quantize.eight:
        notes.append(f"small weights are int8: {quantize.eight} with at most {SMALL} elements, or fewer than {FEWEST} for each channel (depthwise)")
    if quantize.without_blocks:
        notes.append(f"{quantize.without_blocks} weights have one scale for each output channel: their inputs do not divide into blocks of {block}")
    return made, notes


class FourBits(AbstractGraphPass):  # type: ignore[misc]
    """Every large float weight becomes a constexpr_blockwise_shift_scale of int4."""

    def __init__(self, spared: set[str], block: int | None, clipped: bool, wished: set[str]) -> None:
        self.spared, self.block, self.clipped, self.wished = spared, block, clipped, wished
        self.without_blocks = self.eight = 0

    def apply(self, program: Any) -> None:
        for function in program.functions.values():
            with function:
                for operation in list(function.operations):
                    self.replace(function, operation)

    def replace(self, function: Any, operation: Any) -> None:
        if operation.name in self.spared or not is_matrix(operation):
            return
        weight = operation.outputs[0].val
        inner, outer = select_input_output_channel_axis(operation)
        if outer is None:
            return
        blocks, wished = None, operation.name in self.wished
        if stays_eight(weight, outer):
            self.eight += 1
        elif wished:
            pass
        elif self.block is not None and inner is not None and weight.shape[inner] % self.block == 0:
            blocks = (inner, self.block)
        elif self.block is not None:
            self.without_blocks += 1
        numbers = self.numbers(weight, outer, blocks, wished)
        made = mb.constexpr_blockwise_shift_scale(**numbers, before_op=operation, name=f"{operation.name}_integers")
        function.replace_uses_of_var_after_op(anchor_op=operation, old_var=operation.outputs[0], new_var=made, force_replace=True)
        function.remove_ops([operation])

    def numbers(self, weight: Array, outer: int, blocks: tuple[int, int] | None, eight: bool) -> dict[str, Array]:
        """Parameters of constexpr_blockwise_shift_scale."""
        if eight or stays_eight(weight, outer):
            data, scale = eight_bits(weight, outer)
            return {"data": data, "scale": scale}
        data, scale, zero_point = four_bits(weight, outer, blocks, self.clipped)
        four = types.nptype_from_builtin(types.int4)
        return {"data": data.astype(four), "scale": scale, "offset": zero_point.astype(four)}


def is_matrix(operation: Any, least: int = SMALLEST) -> bool:
    """Whether it is a float constant that 4 bits suit: of more than `least` elements, and read by layers alone."""
    readers = [reader for variable in operation.outputs for reader in variable.child_ops]
    if operation.op_type != "const" or not readers or {reader.op_type for reader in readers} - MATRIX_READERS:
        return False
    weight = operation.outputs[0].val
    return isinstance(weight, np.ndarray) and weight.dtype.kind == "f" and weight.ndim >= 2 and weight.size > least


def matrices(model: Any, spared: Collection[str]) -> list[str]:
    """Names of the constants that are not spared and that 4 bits suit, in order of computation."""
    found = Matrices()
    _apply_graph_pass(model, found, spec_version=IOS18, return_pymil_prog=True)
    return [name for name in found.names if name not in spared]


class Matrices(AbstractGraphPass):  # type: ignore[misc]
    """Changes nothing: reads the names of weights."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def apply(self, program: Any) -> None:
        self.names += [operation.name for function in program.functions.values() for operation in function.operations if is_matrix(operation)]


def stays_eight(weight: Array, axis: int) -> bool:
    """Whether a weight is so small that 4 bits would cost more than they save."""
    return weight.size <= SMALL or weight.size // weight.shape[axis] < FEWEST


def eight_bits(weight: Array, axis: int) -> tuple[Array, Array]:
    """Integers -127..127 (int8) and scales [1 or channels …] of the weight's dtype."""
    exact = np.asarray(weight, np.float32)
    peak = np.abs(exact).max(axis=tuple(i for i in range(exact.ndim) if i != axis), keepdims=True)
    scale = np.maximum(peak / 127, np.finfo(weight.dtype).tiny).astype(weight.dtype)
    return np.clip(np.round(exact / scale.astype(np.float32)), -127, 127).astype(np.int8), scale


def four_bits(weight: Array, axis: int, blocks: tuple[int, int] | None, clipped: bool = True) -> tuple[Array, Array, Array]:
    """Integers -8..7 (int8), scales of the weight's dtype and zero points -8..7 (int8): weight = scale · (integer - zero point).

    For each slice the zero points about the middle of its range are tried, with the scale that covers its weights, and, `clipped`, shares
    of that; the one with the least square error is taken (Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 3.1).

    Args:
        weight: float16 or float32.
        axis: of the output channels, each of which has a scale.
        blocks: another axis and how many elements of it share one.
    """
    exact = np.asarray(weight, np.float32)
    # Every axis as (slices, elements of one): reductions are then over all the second ones.
    sizes = [(n, 1) if i == axis else (1, n) for i, n in enumerate(exact.shape)]
    if blocks is not None:
        sizes[blocks[0]] = (exact.shape[blocks[0]] // blocks[1], blocks[1])
    split = exact.reshape([part for pair in sizes for part in pair])
    within = tuple(range(1, split.ndim, 2))
    low, high = np.minimum(split.min(axis=within, keepdims=True), 0), np.maximum(split.max(axis=within, keepdims=True), 0)
    least, scale, zero_point = np.full(low.shape, np.inf), np.ones_like(low), np.zeros_like(low)
    middle = np.round(-8 + 15 * -low / np.maximum(high - low, np.finfo(np.float32).tiny))  # where 0 lies in the range
    for step in (0, -1, 1):
        zero = np.clip(middle + step, -7, 6)
        for share in SHARES if clipped else (1.0,):
            needed = np.maximum(high / (7 - zero), -low / (zero + 8)) * np.float32(share)
            tried = np.maximum(needed, np.finfo(weight.dtype).tiny).astype(weight.dtype).astype(np.float32)
            back = tried * (np.clip(np.round(split / tried) + zero, -8, 7) - zero)
            error = np.square(split - back).sum(axis=within, keepdims=True, dtype=np.float64)
            better = error < least
            least, scale, zero_point = np.where(better, error, least), np.where(better, tried, scale), np.where(better, zero, zero_point)
    integers = np.clip(np.round(split / scale) + zero_point, -8, 7).reshape(exact.shape)
    shape = [slices for slices, _ in sizes]
    return integers.astype(np.int8), scale.reshape(shape).astype(weight.dtype), zero_point.reshape(shape).astype(np.int8)


def float32_weights(spec: Any) -> list[str]:
    """Names of the matrices that a float16 program keeps in float32, because float16 was too coarse; none in a float32 program."""
    dtypes = ct.proto.MIL_pb2
    function = spec.mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    computed = {value.type.tensorType.dataType for op in operations if op.type != "const" for value in op.outputs}
    if dtypes.FLOAT16 not in computed:
        return []
    constants = [(op, op.outputs[0].type.tensorType) for op in operations if op.type == "const"]
    return [str(op.attributes["name"].immediateValue.tensor.strings.values[0]) for op, t in constants if t.dataType == dtypes.FLOAT32 and t.rank > 1]
