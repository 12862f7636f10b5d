"""A float Core ML runner and calibration samples in, the integers for its activations out, by the method that errs least.

Activations are quantized where coremltools' own passes do it (insert_prefix_quantize_dequantize_pair): what a convolution, a linear
layer, a pool or an addition reads. How a choice would do is simulated, by running the program with those values rounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.hub.ranges import Histogram, affine, limits
from edgekit.toolchains.convert.mil.results import rounded
from edgekit.toolchains.convert.quantize.calibration import count
from edgekit.toolchains.convert.quantize.sensitive import before_logarithm
from edgekit.toolchains.convert.runtime.coreml import CoreMl
from edgekit.toolchains.convert.runtime.runners import Array

QUANTIZABLE = {"conv": ("x",), "linear": ("x",), "matmul": ("x",), "avg_pool": ("x",), "max_pool": ("x",), "add": ("x", "y")}
"""Operation → its parameters that are activations; a matmul is one where it is a linear layer: y is a constant."""

SAME_RANGE = {"max_pool", "reshape", "transpose", "expand_dims", "squeeze"}
"""Operations whose results are some of their inputs: with one scale on both sides nothing is rounded twice."""

SMALLEST_SCALE = {"float16": 6.2e-5, "float32": 1e-30}
"""Below float16's normal numbers a scale would be coarse, or zero."""


@dataclass(frozen=True, slots=True)
class Integers:
    """How one tensor is written in integers: real = scale · (integer - zero_point)."""

    scale: float
    zero_point: int
    dtype: str
    """`int8`, or `uint8` with the zero point 0 where nothing is negative."""

    def rounded(self, values: Array) -> Array:
        """The values as they come back from integers."""
        low, high = (0, 255) if self.dtype == "uint8" else (-128, 127)
        integers = np.clip(np.round(values / np.float32(self.scale)) + self.zero_point, low, high)
        return np.asarray((integers - self.zero_point) * np.float32(self.scale), np.float32)


def integers(low: float, high: float, dtype: str) -> Integers | None:
    """The integers that cover a range, their scale in the tensor's own dtype; None where that has no room for it."""
    scale, zero_point = affine(low, high)
    if low >= 0:
        scale, zero_point = high / 255, 0
    if not SMALLEST_SCALE[dtype] <= scale <= 1e4:
        return None
    return Integers(float(np.dtype(dtype).type(scale)), zero_point, "uint8" if low >= 0 else "int8")


def targets(runner: CoreMl, left: Collection[int] = ()) -> list[str]:
    """Names of the tensors to be quantized, in the order in which they are read; what the program returns stays as it is.

    Args:
        left: positions of operations that keep float activations.
    """
    program = runner.program
    found = dict.fromkeys(name for index, names in quantizable(runner).items() if index not in left for name in names)
    returned = {feature.name for feature in program.outputs}
    # What a float16 program computes in float32 is what float16 was too coarse for, and int8 more so.
    dtype = np.float16 if any(one.dtype == np.float16 for one in program.results.values()) else np.float32
    return [name for name in found if name not in returned and program.results[name].dtype == dtype]


def quantizable(runner: CoreMl) -> dict[int, list[str]]:
    """Positions of the operations that can have integer activations → the names of those."""
    constants = set(runner.program.body.constants)
    found: dict[int, list[str]] = {}
    for index, step in enumerate(runner.program.steps):
        names = [name for parameter in QUANTIZABLE.get(step.op_type, ()) if isinstance(name := step.reads.get(parameter), str)]
        if names and constants.isdisjoint(names) and (step.op_type != "matmul" or step.reads.get("y") in constants):
            found[index] = names
    return found


def sensitive(runner: CoreMl) -> frozenset[int]:
    """Positions of the operations before a logarithm."""
    ops = [(step.op_type, flat(step.reads.values()), [one.name for one in step.writes]) for step in runner.program.steps]
    return frozenset(before_logarithm(ops)) & frozenset(quantizable(runner))


def flat(names: Iterable[str | list[str]]) -> list[str]:
    return [one for some in names for one in ([some] if isinstance(some, str) else some)]


def observed(runner: CoreMl, samples: Iterable[list[Array]]) -> dict[str, Histogram]:
    """The values of every tensor that may be quantized, over all samples."""
    histograms = {name: Histogram() for name in targets(runner)}

    def seen(name: str, array: Array) -> None:
        if name in histograms:
            count(histograms[name], array)

    for feeds in samples:
        runner.watched(feeds, seen)
    return histograms


def chosen(runner: CoreMl, histograms: Mapping[str, Histogram], method: str, left: Collection[int] = ()) -> dict[str, Integers]:
    """The integers of each tensor by a method; tensors that only move values take over what they were made from."""
    results = runner.program.results
    found: dict[str, Integers] = {}
    origin = {step.writes[0].name: step.reads.get("x") for step in runner.program.steps if step.op_type in SAME_RANGE}
    for name in targets(runner, left):
        source = origin.get(name)
        while source is not None and source not in found:
            source = origin.get(source) if isinstance(source, str) else None
        made = found[source] if isinstance(source, str) else integers(*limits(histograms[name], method), str(results[name].dtype))
        if made is not None:
            found[name] = made
    return found


class Simulated:
    """A Runner: the package's program with the chosen tensors rounded as integers would."""

    delegate = "simulated"

    def __init__(self, runner: CoreMl, choice: Mapping[str, Integers]) -> None:
        self.runner, self.choice = runner, choice
        self.inputs, self.outputs = runner.inputs, runner.outputs

    def run(self, feeds: list[Array]) -> list[Array]:
        return self.runner.watched(feeds, self.rounded)

    def rounded(self, name: str, array: Array) -> Array | None:
        one, dtype = self.choice.get(name), self.runner.program.results[name].dtype
        return None if one is None or dtype is None else rounded(one.rounded(array), dtype)

    def tensors(self, feeds: list[Array]) -> dict[str, Array]:
        found: dict[str, Array] = {}

        def seen(name: str, array: Array) -> Array | None:
            other = self.rounded(name, array)
            found[name] = array if other is None else other
            return other

        self.runner.watched(feeds, seen)
        return found
