"""A path to an .mlpackage in, a Program out: `run` takes arrays by feature name and gives arrays by feature name.

    Program(path).run({"image": x})

The program is read from its bytes (no coremltools) and evaluated in numpy, convolutions in ONNX Runtime. Each result is rounded to
the dtype that the program records for it; within one operation arithmetic is float32, so a float16 program is evaluated as with a
wide accumulator.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path

import numpy as np

from .arguments import Arguments, Array, EvaluationError, State, UnknownOp, Value, WrongArgument
from .features import Feature, features, model_names
from .package import block_of, open_package
from .results import conform, conforming, evaluated, fits, rounded
from .steps import OPS, Body, Step, arguments, body
from .values import Result, result

__all__ = ["OPS", "EvaluationError", "Feature", "Program", "UnknownOp"]

MOST_TURNS = 1_000_000
"""Turns of one loop: a damaged program may never end."""

OnValue = Callable[[str, Array], Array | None]
"""Called with a value's name and array as it is computed; what it gives, if anything, is what later operations read."""


class Program:
    """The `main` function of an ML Program, loaded once and run as often as wanted.

    `model_names` maps a feature's name to the source model's own name, where Core ML could not carry that.

    Raises:
        UnknownOp: at loading, when the program has an operation without a rule here.
        EvaluationError: the package is no ML Program, or a damaged one.
    """

    def __init__(self, path: Path | str) -> None:
        package = open_package(Path(path))
        self.body = body(block_of(package.function), package.function.inputs, package.blobs)
        self.states = [result(one) for one in package.function.inputs if one.type.HasField("stateType")]
        self.results = {one.name: one for one in recorded(self.body)}
        self.inputs = features(package.description.input, self.results)
        self.outputs = features(package.description.output, self.results)
        self.model_names = model_names(package.model)
        self.metadata = dict(package.model.description.metadata.userDefined)

    @property
    def op_types(self) -> set[str]:
        """Every operation that the program has, constants apart."""
        return self.body.op_types

    @property
    def steps(self) -> list[Step]:
        """The operations of the outermost block, in order."""
        return self.body.steps

    def release(self) -> None:
        """Let go of the weights: the program can be looked at from then on, and not be run."""
        for name, value in self.body.constants.items():
            if isinstance(value, np.ndarray) and value.size > 1:
                self.body.constants[name] = np.empty(0, value.dtype)

    def make_state(self) -> dict[str, State]:
        """The states of a program that has any, all zero, as MLModel.makeState gives them."""
        found = {}
        for one in self.states:
            if one.dtype is None or -1 in one.shape:
                raise EvaluationError(f"state {one.name!r} has an open shape")
            found[one.name] = State(np.zeros(one.shape, np.float32 if one.dtype == np.float16 else one.dtype))
        return found

    def run(
        self, feeds: Mapping[str, Array], keep: bool = False, state: Mapping[str, State] | None = None, on_value: OnValue | None = None
    ) -> dict[str, Array]:
        """Evaluate the program.

        Args:
            feeds: an array for every input feature, of a shape that it allows; converted to its dtype.
            keep: give every value of the outermost block by MIL name too, in the order of computation, not the outputs alone.
            state: from make_state, changed by the run; without it a run starts from zero.
            on_value: called with every such value and every input, where keeping all would take too much, or to change some.

        Returns:
            arrays by name, in the dtype that the program records.

        Raises:
            EvaluationError: a feed is missing or has another shape, or an operation cannot be evaluated on these values.
        """
        values: dict[str, Value] = {**self.body.constants, **(self.make_state() if state is None else state)}
        for feature in self.inputs:
            if feature.name not in feeds or not feature.allows(feeds[feature.name].shape):
                raise EvaluationError(f"input {feature.name!r} needs an array of shape {feature.wanted}")
            values[feature.name] = rounded(feeds[feature.name], np.dtype(feature.dtype))
        kept: dict[str, Array] = {}

        def seen(name: str, array: Array) -> Array | None:
            other = None if on_value is None else on_value(name, array)
            if keep:
                kept[name] = (array if other is None else other).astype(self.results[name].dtype, copy=False)
            return other

        for feature in self.inputs:
            other = None if on_value is None else on_value(feature.name, np.asarray(values[feature.name]))
            values[feature.name] = values[feature.name] if other is None else other
        with np.errstate(all="ignore"):  # overflow to inf and NaN are results to report, not warnings
            walk(self.body, values, seen)
        return kept | {f.name: output(values[f.name], f) for f in self.outputs}


def output(value: Value, feature: Feature) -> Array:
    if not isinstance(value, np.ndarray) or not fits(value, feature.shape):
        raise EvaluationError(f"output {feature.name!r} is no array of shape {list(feature.shape)}")
    return value.astype(feature.dtype, copy=False)


def recorded(block: Body) -> list[Result]:
    """What the outermost block's values are recorded as."""
    constants = [Result(n, v.dtype, v.shape) for n, v in block.constants.items() if isinstance(v, np.ndarray)]
    return [*constants, *block.inputs, *(one for step in block.steps for one in step.writes)]


def walk(block: Body, values: MutableMapping[str, Value], seen: OnValue | None = None) -> None:
    """Run the block's steps on these values, which get its own."""
    for step in block.steps:
        for one, value in zip(step.writes, conforming(step.op_type, step.name, step.writes, results(step, values)), strict=True):
            other = seen(one.name, value) if seen is not None and isinstance(value, np.ndarray) else None
            values[one.name] = value if other is None else other
        for name in step.spent:
            values.pop(name, None)


def results(step: Step, values: MutableMapping[str, Value]) -> list[Value]:
    if step.op_type in ("cond", "while_loop"):
        rule = branch if step.op_type == "cond" else loop
        try:
            return rule(step, values)
        except WrongArgument as exc:
            raise EvaluationError(f"MIL operation {step.op_type!r} (value {step.name!r}) cannot be evaluated: {exc}") from exc
    try:
        given = arguments(step, values)
    except WrongArgument as exc:
        raise EvaluationError(f"MIL operation {step.op_type!r} (value {step.name!r}) cannot be evaluated: {exc}") from exc
    return evaluated(step.op_type, step.name, OPS[step.op_type], given)


def inside(block: Body, values: MutableMapping[str, Value], given: list[Value]) -> list[Value]:
    """The outputs of a block within, its inputs being these."""
    if len(given) != len(block.inputs):
        raise WrongArgument(f"a block of {len(block.inputs)} inputs is given {len(given)}")
    own = {one.name: conform("block", one, value) for one, value in zip(block.inputs, given, strict=True)}
    local: ChainMap[str, Value] = ChainMap(own, dict(block.constants), values)  # type: ignore[arg-type]
    walk(block, local)
    return [local[name] for name in block.outputs]


def truth(value: Value) -> bool:
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise WrongArgument("its condition is no single value")
    return bool(value.reshape(-1)[0])


def branch(step: Step, values: MutableMapping[str, Value]) -> list[Value]:
    """cond: the first block where `pred` is true, else the second."""
    if len(step.blocks) != 2:
        raise WrongArgument("it needs two blocks")
    return inside(step.blocks[0 if truth(Arguments(arguments(step, values).values)["pred"]) else 1], values, [])


def loop(step: Step, values: MutableMapping[str, Value]) -> list[Value]:
    """while_loop: the second block on `loop_vars` again and again, as long as the first gives true for them."""
    names = step.reads.get("loop_vars", [])
    current = [values[name] for name in ([names] if isinstance(names, str) else names)]
    if len(step.blocks) != 2:
        raise WrongArgument("it needs two blocks")
    for _ in range(MOST_TURNS):
        if not truth(inside(step.blocks[0], values, current)[0]):
            return current
        current = inside(step.blocks[1], values, current)
    raise WrongArgument(f"it did not end within {MOST_TURNS} turns")
