"""A MIL program's operations in, which of them run in float16 out: all but the signal front end of an audio model.

A logarithm that later layers read (a log-spectrogram) turns the relative errors of small values into large absolute ones, and
those values are differences of large ones: so all that leads to such a logarithm stays float32, and what follows up to the
next layer with weights. A logarithm at the end of a network (log-probabilities) stays float32 with its neighbours only.

What becomes an integer (an index, a quantized value) is computed in float32 too, back to the last layer with weights: float16 counts
to 2048. So is the arithmetic on quantized integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from coremltools.converters.mil.mil import types

FLOATS = (types.fp16, types.fp32)
WEIGHTED = {"conv", "conv_transpose", "linear", "matmul", "einsum", "lstm", "gru", "rnn"}


class Float16:
    """For coremltools' FP16ComputePrecision: whether an operation is made float16. Decided on the first call, for the whole program.

    `exact` are names of operations that count, and have to stay float32.
    """

    def __init__(self) -> None:
        self.exact: set[str] = set()
        self.kept: set[Any] | None = None
        self.integers: set[Any] = set()

    def __call__(self, operation: Any) -> bool:
        if self.kept is None:
            operations = list(everything(outermost(operation.enclosing_block)))
            self.kept = set().union(*(around_logarithm(log) for log in operations if log.op_type == "log"))
            self.integers = set().union(*(reached([cast], unweighted(writers)) for cast in operations if gives_integers(cast)))
        return operation not in self.kept and operation not in self.integers and operation.name not in self.exact


def outermost(block: Any) -> Any:
    """The program that a block is a part of."""
    while block.outer_op is not None:
        block = block.outer_op.enclosing_block
    return block


def everything(block: Any) -> Iterator[Any]:
    """The operations of a block and of the blocks within."""
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from everything(inner)


def gives_integers(operation: Any) -> bool:
    """Whether it makes integers of floats."""
    return operation.op_type == "cast" and operation.x.dtype in FLOATS and operation.outputs[0].dtype not in (*FLOATS, types.bool)


def around_logarithm(log: Any) -> set[Any]:
    """The operations that stay float32 for the sake of this one."""
    feeds_layers = any(operation.op_type in WEIGHTED for operation in reached([log], readers))
    before = reached([log], writers if feeds_layers else unweighted(writers))
    return reached(before, unweighted(readers)) if feeds_layers else reached([log], unweighted(readers)) | before


def reached(starts: Iterable[Any], step: Callable[[Any], list[Any]]) -> set[Any]:
    """The starts and all that repeated steps lead to."""
    found: set[Any] = set()
    pending = list(starts)
    while pending:
        operation = pending.pop()
        if operation not in found:
            found.add(operation)
            pending += step(operation)
    return found


def writers(operation: Any) -> list[Any]:
    """The operations whose results it reads, constants apart."""
    variables = [v for value in operation.inputs.values() for v in (value if isinstance(value, list | tuple) else [value])]
    return [v.op for v in variables if v is not None and v.op is not None and v.val is None]


def readers(operation: Any) -> list[Any]:
    """The operations that read its results."""
    return [reader for variable in operation.outputs for reader in variable.child_ops]


def unweighted(step: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    """That step, stopping before layers with weights."""
    return lambda operation: [near for near in step(operation) if near.op_type not in WEIGHTED]
