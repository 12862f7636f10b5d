"""The inputs of one MIL operation, by parameter name, in the types that the op functions work with.

Floating-point arrays are float32 here whatever the program's dtype: widening float16 is exact, and the walk rounds each
result to the dtype that the program records for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Value = Array | str | Sequence[Array]


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


@dataclass(frozen=True, slots=True)
class Arguments:
    """What one operation is given. A parameter that the program leaves out reads as its default."""

    values: Mapping[str, Value]

    def __getitem__(self, name: str) -> Array:
        value = self.values[name]
        assert isinstance(value, np.ndarray)
        return value

    def get(self, name: str) -> Array | None:
        """The tensor, or None where it is left out."""
        return self[name] if name in self.values else None

    def tensors(self, name: str) -> list[Array]:
        """A parameter that takes several tensors (`values` of concat, stack and einsum)."""
        value = self.values[name]
        assert isinstance(value, list)
        return value

    def ints(self, name: str, default: Sequence[int] | None = None) -> list[int]:
        if name not in self.values and default is not None:
            return list(default)
        return [int(i) for i in self[name].reshape(-1)]

    def integer(self, name: str, default: int | None = None) -> int:
        return self.ints(name, None if default is None else [default])[0]

    def number(self, name: str, default: float) -> float:
        return float(self[name].reshape(-1)[0]) if name in self.values else default

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self[name].reshape(-1)[0]) if name in self.values else default

    def flags(self, name: str, rank: int) -> list[bool]:
        return [bool(i) for i in self[name].reshape(-1)] if name in self.values else [False] * rank

    def text(self, name: str, default: str) -> str:
        value = self.values.get(name, default)
        return value if isinstance(value, str) else str(value)


Function = Callable[[Arguments], Array | Sequence[Array]]
