"""A Block of MIL.proto in, a Body out: its operations in order, ready to run, with the constants that they read.

Values are known by name, as the program writes them. A block sees the names of the blocks around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import (
    attention,
    constexpr,
    conv,
    elementwise,
    gather,
    image,
    lists,
    normalization,
    pool,
    quantization,
    recurrent,
    reduce,
    resize,
    shape,
    state,
)
from .arguments import Arguments, Array, EvaluationError, Function, TensorList, UnknownOp, Value, WrongArgument
from .blobs import Blobs
from .results import conforming, evaluated
from .values import UNKNOWN, Result, read_value, result

FAMILIES = (attention, conv, elementwise, gather, image, lists, normalization, pool, quantization, recurrent, reduce, resize, shape, state)
OPS: dict[str, Function] = {name: function for family in FAMILIES for name, function in family.OPS.items()}
CONTROL = ("cond", "while_loop")
"""Operations with blocks, which the walk runs itself."""

DEEPEST = 32
"""Blocks within blocks: more is no model."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: what it reads by name, what it writes, which values nothing reads afterwards, and its blocks."""

    op_type: str
    name: str
    reads: dict[str, str | list[str]]
    writes: list[Result]
    spent: list[str] = field(default_factory=list)
    blocks: tuple[Body, ...] = ()


@dataclass(frozen=True, slots=True)
class Body:
    """One block."""

    inputs: list[Result]
    outputs: list[str]
    constants: dict[str, Value]
    steps: list[Step]

    @property
    def op_types(self) -> set[str]:
        """Every operation in it and in the blocks within."""
        within = (block.op_types for step in self.steps for block in step.blocks)
        return {step.op_type for step in self.steps}.union(*within)


def body(block: Any, inputs: Any, blobs: Blobs, around: Mapping[str, Value | None] | None = None, depth: int = 0) -> Body:
    """Read a block whose inputs are these NamedValueTypes.

    Args:
        around: what the block sees: the constant by name, or None for a value that is computed.

    Raises:
        UnknownOp: an operation has no rule.
        EvaluationError: it is damaged, reads what is not there (as in a cycle), or its constants do not fit.
    """
    if depth > DEEPEST:
        raise EvaluationError("its blocks are nested too deeply")
    made = Body([result(one) for one in inputs], list(block.outputs), {}, [])
    seen: dict[str, Value | None] = {**(around or {}), **{one.name: None for one in made.inputs}}
    for operation in block.operations:
        add(made, operation, blobs, seen, depth)
    missing = [name for name in made.outputs if name not in seen]
    if missing:
        raise EvaluationError(f"output {missing[0]!r} is given by no operation")
    mark_spent(made)
    return made


def add(made: Body, operation: Any, blobs: Blobs, seen: dict[str, Value | None], depth: int) -> None:
    """Read one operation into the body: a constant is computed at once."""
    op_type = operation.type
    name = operation.outputs[0].name if operation.outputs else op_type
    if op_type == "const":
        seen[name] = made.constants[name] = read_value(operation.attributes["val"], blobs)
        return
    writes = [result(one) for one in operation.outputs]
    if op_type not in OPS and op_type not in constexpr.OPS and op_type not in CONTROL:
        raise UnknownOp(op_type, name)
    reads: dict[str, str | list[str]] = {}
    for parameter, names in read_names(operation, blobs, made, seen, name).items():
        unknown = [one for one in names if one not in seen]
        if unknown:
            raise EvaluationError(f"MIL operation {op_type!r} (value {name!r}) reads {unknown[0]!r}, which no operation before it gives")
        reads[parameter] = names[0] if len(names) == 1 else names
    if op_type in constexpr.OPS:
        given = {parameter: seen[names] for parameter, names in reads.items() if isinstance(names, str)}
        known = {parameter: value for parameter, value in given.items() if value is not None}
        values = conforming(op_type, name, writes, evaluated(op_type, name, constexpr.OPS[op_type], Arguments(known)))
        blobs.charge(values)
        for one, value in zip(writes, values, strict=True):
            seen[one.name] = made.constants[one.name] = value
        return
    blocks = tuple(body(block, block.inputs, blobs, seen, depth + 1) for block in operation.blocks)
    made.steps.append(Step(op_type, name, reads, writes, blocks=blocks))
    seen.update(dict.fromkeys((one.name for one in writes), None))


def read_names(operation: Any, blobs: Blobs, made: Body, seen: dict[str, Value | None], name: str) -> dict[str, list[str]]:
    """Parameter → names that it reads; a value written in place gets a name of its own.

    Attributes other than `name` are parameters too: so iOS 16 writes those of its `constexpr_*`.
    """
    found: dict[str, list[str]] = {}
    in_place = {key: value for key, value in operation.attributes.items() if key != "name"}
    for parameter, argument in operation.inputs.items():
        found[parameter] = []
        for position, binding in enumerate(argument.arguments):
            if binding.HasField("value"):
                own = f"{name}/{parameter}/{position}"
                seen[own] = made.constants[own] = read_value(binding.value, blobs)
                found[parameter].append(own)
            else:
                found[parameter].append(binding.name)
    for parameter, value in in_place.items():
        own = f"{name}/{parameter}"
        seen[own] = made.constants[own] = read_value(value, blobs)
        found[parameter] = [own]
    return found


def mark_spent(made: Body) -> None:
    """Note for each step which of the body's own values nothing reads after it."""
    alive = set(made.outputs)
    own = {one.name for step in made.steps for one in step.writes} | {one.name for one in made.inputs}
    for step in reversed(made.steps):
        read = names_read(step)
        step.spent.extend(sorted((read | {one.name for one in step.writes}) & own - alive))
        alive |= read


def names_read(step: Step) -> set[str]:
    """What a step reads, with the blocks within it."""
    own = {name for names in step.reads.values() for name in ([names] if isinstance(names, str) else names)}
    for block in step.blocks:
        own = own.union(block.outputs, *(names_read(inner) for inner in block.steps))
    return own


def arguments(step: Step, values: Mapping[str, Value]) -> Arguments:
    """What the step is given: several tensors as a TensorList."""
    given: dict[str, Value] = {}
    for parameter, names in step.reads.items():
        given[parameter] = values[names] if isinstance(names, str) else TensorList(tensor(values[name]) for name in names)
    return Arguments(given)


def tensor(value: Value) -> Array:
    if isinstance(value, str):  # a symbol for an open size (elem_shape of make_list)
        return np.array(UNKNOWN)
    if not isinstance(value, np.ndarray):
        raise WrongArgument("one of several values is no tensor")
    return value
