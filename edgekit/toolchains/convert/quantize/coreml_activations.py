"""A Core ML model and integers for its activations in, the same with a quantize and a dequantize behind each of those tensors out.

Between a dequantize and the next quantize Core ML's runtime computes a convolution in integers; this is the form that coremltools'
linear_quantize_activations writes (iOS 17 and later), which can only measure ranges on a Mac.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.models.utils import _apply_graph_pass

from edgekit.toolchains.convert.quantize.coreml_ranges import Integers

IOS17 = 8
"""The specification version of iOS 17."""


def with_pairs(model: Any, choice: Mapping[str, Integers]) -> Any:
    """The model, each tensor named in `choice` rounded to integers for all that read it."""
    return _apply_graph_pass(model, Pairs(choice), spec_version=IOS17)


class Pairs(AbstractGraphPass):  # type: ignore[misc]
    """quantize and dequantize behind each chosen tensor, per tensor."""

    def __init__(self, choice: Mapping[str, Integers]) -> None:
        self.choice = choice

    def apply(self, program: Any) -> None:
        function = program.functions["main"]
        with function:
            operations = list(function.operations)
            for variable in function.inputs.values():
                if variable.name in self.choice and operations:
                    self.insert(function, variable, operations[0], None)
            for position, operation in enumerate(operations[:-1]):
                for variable in operation.outputs:
                    if variable.name in self.choice:
                        self.insert(function, variable, operations[position + 1], operation)

    def insert(self, function: Any, variable: Any, before: Any, behind: Any) -> None:
        integers = self.choice[variable.name]
        scale = (np.float16 if variable.dtype == types.fp16 else np.float32)(integers.scale)
        numbers = {"scale": scale}
        if integers.zero_point:
            numbers["zero_point"] = np.dtype(integers.dtype).type(integers.zero_point)
        quantized = mb.quantize(input=variable, output_dtype=integers.dtype, before_op=before, name=f"{variable.name}_quantized", **numbers)
        back = mb.dequantize(input=quantized, before_op=before, name=f"{variable.name}_dequantized", **numbers)
        function.replace_uses_of_var_after_op(anchor_op=back.op, old_var=variable, new_var=back)
