"""A file with integer inputs and outputs in, a runner that takes and gives the numbers they stand for out."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.hub.integers import to_floats, to_integers
from edgekit.toolchains.convert.runtime.runners import Array, LiteRt, Runner, Spec

Quantization = dict[str, list[dict[str, Any] | None]]
"""`inputs` and `outputs`: of each tensor `scale`, `zero_point` and `dtype`, or None where it is no quantized one."""


def quantization(runner: LiteRt) -> Quantization:
    """The parameters that a TFLite file has for its ends."""
    details = {"inputs": runner.interpreter.get_input_details(), "outputs": runner.interpreter.get_output_details()}
    return {end: [parameters(detail) for detail in found] for end, found in details.items()}


def parameters(detail: dict[str, Any]) -> dict[str, Any] | None:
    found = detail["quantization_parameters"]
    if len(found["scales"]) != 1 or np.dtype(detail["dtype"]).kind not in "iu":
        return None
    return {"scale": float(found["scales"][0]), "zero_point": int(found["zero_points"][0]), "dtype": np.dtype(detail["dtype"]).name}


class FloatBoundary:
    """A runner whose integer ends are float32 to whoever calls it."""

    def __init__(self, runner: Runner, how: Quantization) -> None:
        self.runner, self.how, self.delegate = runner, how, runner.delegate
        self.inputs = [stated(spec, one) for spec, one in zip(runner.inputs, how["inputs"], strict=True)]
        self.outputs = [stated(spec, one) for spec, one in zip(runner.outputs, how["outputs"], strict=True)]

    def run(self, feeds: list[Array]) -> list[Array]:
        given = self.runner.run(self.taken(feeds))
        return [to_floats(values, one) for values, one in zip(given, self.how["outputs"], strict=True)]

    def tensors(self, feeds: list[Array]) -> dict[str, Array]:
        return self.runner.tensors(self.taken(feeds))

    def taken(self, feeds: list[Array]) -> list[Array]:
        return [to_integers(feed, one) for feed, one in zip(feeds, self.how["inputs"], strict=True)]


def stated(spec: Spec, how: dict[str, Any] | None) -> Spec:
    return spec if how is None else {**spec, "dtype": "float32"}
