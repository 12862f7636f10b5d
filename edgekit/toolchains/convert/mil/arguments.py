"""The inputs of one MIL operation, by parameter name, in the types that the op functions work with.

Floating-point arrays are float32 here whatever the program's dtype: widening float16 is exact, and the walk rounds each
result to the dtype that the program records for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LARGEST = 1 << 28
"""Elements of the largest array that is made (1 GiB of float32): a damaged program may ask for any size."""


class TensorList(tuple[Array, ...]):
    """MIL's list of tensors; also the tensors of a parameter that takes several."""

    __slots__ = ()


@dataclass(slots=True)
class State:
    """What a stateful program keeps from one run to the next."""

    value: Array


Value = Array | str | TensorList | State


class EvaluationError(Exception):
    """The program cannot be evaluated; the message names the operation."""


class UnknownOp(EvaluationError):
    """The evaluator has no rule for an operation, or for one of its modes."""

    def __init__(self, op_type: str, output: str, mode: str = "") -> None:
        self.op_type = op_type
        self.output = output
        super().__init__(f"the evaluator has no rule for MIL operation {op_type!r}{mode and f' with {mode}'} (value {output!r})")


class UnknownMode(Exception):
    """Raised by an op function for a parameter it has no rule for; the walk adds the operation's name."""


class WrongArgument(ValueError):
    """Raised where a parameter is missing, or is of another kind than the operation takes; the walk adds the operation's name."""


def affordable(shape: Iterable[int]) -> tuple[int, ...]:
    """That shape, to be asked before an array is made that may be larger than the operation's inputs.

    Raises:
        WrongArgument: it is more than LARGEST.
    """
    sizes = tuple(shape)
    if min(sizes, default=0) < 0 or math.prod(sizes) > LARGEST:
        raise WrongArgument(f"it asks for an array of shape {list(sizes)}")
    return sizes


@dataclass(frozen=True, slots=True)
class Arguments:
    """What one operation is given. A parameter that the program leaves out reads as its default."""

    values: Mapping[str, Value]

    def held(self, name: str, kind: type[Any]) -> Any:
        value = self.values.get(name)
        if not isinstance(value, kind):
            raise WrongArgument(f"parameter {name!r} is {'missing' if value is None else 'of another kind'}")
        return value

    def __getitem__(self, name: str) -> Array:
        array: Array = self.held(name, np.ndarray)
        return array

    def get(self, name: str) -> Array | None:
        """The tensor, or None where it is left out."""
        return self[name] if name in self.values else None

    def tensors(self, name: str) -> TensorList:
        """A parameter that takes several tensors (`values` of concat, stack and einsum), or a list."""
        value = self.values.get(name)
        if isinstance(value, np.ndarray):
            return TensorList([value])
        several: TensorList = self.held(name, TensorList)
        return several

    def state(self, name: str) -> State:
        state: State = self.held(name, State)
        return state

    def ints(self, name: str, default: Sequence[int] | None = None) -> list[int]:
        if name not in self.values and default is not None:
            return list(default)
        return [int(i) for i in self[name].reshape(-1)]

    def integer(self, name: str, default: int | None = None) -> int:
        values = self.ints(name, None if default is None else [default])
        if len(values) != 1:
            raise WrongArgument(f"parameter {name!r} has {len(values)} values")
        return values[0]

    def number(self, name: str, default: float) -> float:
        return float(self[name].reshape(-1)[0]) if name in self.values else default

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self[name].reshape(-1)[0]) if name in self.values else default

    def flags(self, name: str, rank: int) -> list[bool]:
        return [bool(i) for i in self[name].reshape(-1)] if name in self.values else [False] * rank

    def text(self, name: str, default: str) -> str:
        value = self.values.get(name, default)
        return value if isinstance(value, str) else str(value)


Function = Callable[[Arguments], Value | Sequence[Value]]
