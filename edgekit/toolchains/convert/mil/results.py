"""An op function and its arguments in, values as the program records them out: of its shapes, rounded to its dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from .arguments import Arguments, Array, EvaluationError, Function, State, TensorList, UnknownMode, UnknownOp, Value
from .values import UNKNOWN, Result

FAILURES = (ArithmeticError, LookupError, TypeError, ValueError, MemoryError, ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.RuntimeException)
"""What numpy and ONNX Runtime raise for values that do not fit an operation."""


def evaluated(op_type: str, name: str, function: Function, given: Arguments) -> list[Value]:
    """The results of one operation, before rounding.

    Raises:
        UnknownOp: it has no rule for a mode.
        EvaluationError: it cannot be evaluated on these values.
    """
    try:
        answer = function(given)
    except UnknownMode as exc:
        raise UnknownOp(op_type, name, str(exc)) from exc
    except FAILURES as exc:
        words = " ".join(str(exc).split())[:300]
        raise EvaluationError(f"MIL operation {op_type!r} (value {name!r}) cannot be evaluated on these values: {words}") from exc
    if isinstance(answer, list):
        return [one if isinstance(one, TensorList) else np.asarray(one) for one in answer]
    return [answer if isinstance(answer, TensorList | State | str) else np.asarray(answer)]


def conforming(op_type: str, name: str, writes: Sequence[Result], values: Sequence[Value]) -> list[Value]:
    """The values rounded to the recorded dtypes.

    Raises:
        EvaluationError: there are not as many, or one has another shape than the program records.
    """
    if len(writes) != len(values):
        raise EvaluationError(f"MIL operation {op_type!r} (value {name!r}) gives {len(values)} values, the program records {len(writes)}")
    return [conform(op_type, result, value) for result, value in zip(writes, values, strict=True)]


def conform(op_type: str, result: Result, value: Value) -> Value:
    if result.dtype is None or not isinstance(value, np.ndarray):
        return value
    if not fits(value, result.shape):
        raise EvaluationError(f"MIL operation {op_type!r} (value {result.name!r}) gave shape {value.shape}, not {result.shape}")
    return rounded(value, result.dtype)


def rounded(array: Array, dtype: np.dtype[Any]) -> Array:
    """The array with the precision of `dtype`, float16 held as float32 for the operations that follow."""
    exact = array.astype(dtype, copy=False)
    return exact.astype(np.float32) if dtype == np.float16 else exact


def fits(array: Array, shape: tuple[int, ...]) -> bool:
    return array.ndim == len(shape) and all(d in (UNKNOWN, n) for n, d in zip(array.shape, shape, strict=True))
