"""A path to an .mlpackage in, a Program out: `run` takes arrays by feature name and gives arrays by feature name.

    Program(path).run({"image": x})

The operations are read by coremltools' own loader, which infers every type and shape again, and evaluated in numpy
(convolutions in ONNX Runtime). Each result is rounded to the dtype that the program records for it; within one operation
arithmetic is float32, so a float16 program is evaluated as with a wide accumulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.frontend.milproto.load import load
from coremltools.converters.mil.mil import types

from . import attention, conv, elementwise, gather, normalization, pool, quantization, recurrent, reduce, resize, shape
from .arguments import Arguments, Array, EvaluationError, Function, UnknownMode, UnknownOp, Value

FAMILIES = (attention, conv, elementwise, gather, normalization, pool, quantization, recurrent, reduce, resize, shape)
OPS: dict[str, Function] = {name: function for family in FAMILIES for name, function in family.OPS.items()}


@dataclass(frozen=True, slots=True)
class Feature:
    """An input or output as the package describes it. `dtype` is numpy's name; -1 in `shape` is a size that depends on the values."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """A value that an operation gives: its MIL name, and the dtype and shape that the program records."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One operation, ready to run: what it reads by name, what it writes, and which values nothing reads afterwards."""

    op_type: str
    function: Function
    reads: dict[str, str | list[str]]
    writes: list[Result]
    spent: list[str]


class Program:
    """The `main` function of an ML Program, loaded once and run as often as wanted.

    `model_names` maps a feature's name to the source model's own name, where Core ML could not carry that.

    Raises:
        UnknownOp: at loading, when the program has an operation without a rule here.
        EvaluationError: the package is not an ML Program that coremltools loads.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        try:
            spec = ct.utils.load_spec(str(path))
            function = load(spec, spec.specificationVersion, str(path / "Data/com.apple.CoreML/weights")).functions["main"]
        except (AssertionError, KeyError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError) as exc:
            raise EvaluationError(f"{path.name} is not an ML Program that can be loaded ({exc})") from exc
        description = spec.description
        if description.functions:  # a package with several functions describes each apart
            description = next(f for f in description.functions if f.name == "main")
        self.inputs = [Feature(f.name, *tensor_type(function.inputs[f.name])) for f in description.input]
        returned = dict(zip((v.name for v in function.outputs), function.outputs, strict=True))
        self.outputs = [Feature(f.name, *tensor_type(returned[f.name])) for f in description.output]
        prefix = "edgekit.name."
        own = dict(spec.description.metadata.userDefined)
        self.model_names = {key.removeprefix(prefix): name for key, name in own.items() if key.startswith(prefix)}
        self.constants: dict[str, Value] = {}
        self.steps = self._steps(function)

    def _steps(self, function: Any) -> list[Step]:
        operations = []
        for operation in function.operations:
            if operation.op_type == "const" or operation.op_type.startswith("constexpr_"):
                self.constants[operation.outputs[0].name] = constant(operation)
            else:
                operations.append(operation)
        alive = {f.name for f in self.outputs} | set(self.constants)
        steps: list[Step] = []
        for operation in reversed(operations):
            name = operation.outputs[0].name
            rule = OPS.get(operation.op_type)
            if rule is None:
                raise UnknownOp(operation.op_type, name)
            reads = {parameter: names_of(v) for parameter, v in operation.inputs.items() if v is not None and not parameter.startswith("_")}
            read = {n for names in reads.values() for n in ([names] if isinstance(names, str) else names)}
            writes = [Result(v.name, np.dtype(types.nptype_from_builtin(v.dtype)), sizes(v)) for v in operation.outputs]
            steps.append(Step(operation.op_type, rule, reads, writes, sorted(read - alive)))
            alive |= read
        return steps[::-1]

    def run(self, feeds: Mapping[str, Array], keep: bool = False) -> dict[str, Array]:
        """Evaluate the program.

        Args:
            feeds: an array for every input feature, of its shape; converted to its dtype.
            keep: give every value of the program by MIL name, in the order of computation, not the outputs alone.

        Returns:
            arrays by name, in the dtype that the program records.

        Raises:
            EvaluationError: a feed is missing or has another shape, or an operation cannot be evaluated on these values.
        """
        values: dict[str, Value] = dict(self.constants)
        kept: dict[str, Array] = {}
        for feature in self.inputs:
            if feature.name not in feeds or not fits(feeds[feature.name], feature.shape):
                raise EvaluationError(f"input {feature.name!r} needs an array of shape {list(feature.shape)}")
            values[feature.name] = rounded(feeds[feature.name], np.dtype(feature.dtype))
        with np.errstate(all="ignore"):  # overflow to inf and NaN are results to report, not warnings
            for step in self.steps:
                for result, array in zip(step.writes, evaluate(step, values), strict=True):
                    values[result.name] = rounded(array, result.dtype)
                    if keep:
                        kept[result.name] = array.astype(result.dtype, copy=False)
                if not keep:
                    for name in step.spent:
                        del values[name]
            return kept | {f.name: np.asarray(values[f.name]).astype(f.dtype, copy=False) for f in self.outputs}


def evaluate(step: Step, values: Mapping[str, Value]) -> list[Array]:
    """The results of one operation, before rounding, of the shapes that the program records."""
    given = {p: values[n] if isinstance(n, str) else [np.asarray(values[i]) for i in n] for p, n in step.reads.items()}
    name = step.writes[0].name
    try:
        answer = step.function(Arguments(given))
    except UnknownMode as exc:
        raise UnknownOp(step.op_type, name, str(exc)) from exc
    except (ArithmeticError, IndexError, ValueError) as exc:
        raise EvaluationError(f"MIL operation {step.op_type!r} (value {name!r}) cannot be evaluated on these values: {exc}") from exc
    results = [np.asarray(answer)] if isinstance(answer, np.ndarray | np.generic) else list(answer)
    for result, array in zip(step.writes, results, strict=True):
        if not fits(array, result.shape):
            raise EvaluationError(f"MIL operation {step.op_type!r} (value {result.name!r}) gave shape {array.shape}, not {result.shape}")
    return results


def rounded(array: Array, dtype: np.dtype[Any]) -> Array:
    """The array with the precision of `dtype`, float16 held as float32 for the operations that follow."""
    exact = array.astype(dtype, copy=False)
    return exact.astype(np.float32) if dtype == np.float16 else exact


def constant(operation: Any) -> Value:
    """The value of a `const`, or what a `constexpr_*` (compressed weights) expands to."""
    value = operation.outputs[0].val if operation.op_type == "const" else operation.materialized_val_inference()
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    return rounded(array, array.dtype)


def names_of(variable: Any) -> str | list[str]:
    """The MIL name of what a parameter reads, or the names where it takes several."""
    return [str(v.name) for v in variable] if isinstance(variable, list | tuple) else str(variable.name)


def tensor_type(variable: Any) -> tuple[str, tuple[int, ...]]:
    """numpy's dtype name and the shape of a MIL variable."""
    return np.dtype(types.nptype_from_builtin(variable.dtype)).name, sizes(variable)


def sizes(variable: Any) -> tuple[int, ...]:
    """The shape of a MIL variable, -1 for what coremltools keeps as a symbol."""
    return tuple(int(d) if isinstance(d, int | np.integer) else -1 for d in variable.shape)


def fits(array: Array, shape: tuple[int, ...]) -> bool:
    return array.ndim == len(shape) and all(d in (-1, n) for n, d in zip(array.shape, shape, strict=True))
