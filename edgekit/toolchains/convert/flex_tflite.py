"""Two fixed TFLite files of one model at two sizes in, one with flexible axes out: -1 in the `shape_signature` of its tensors.

Their `shape` stays, so the file has its default size without any resize. A RESHAPE's target becomes -1, an end of a slice "to the end";
what else holds a size is a refusal, for a size that is computed at run time would take the operator from the delegate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.toolchains.convert.flex.steps import Array, Axes, FixedError, pairs, repeated, symbols
from edgekit.toolchains.convert.tflite.file import Operator, TfliteFile, packed, read, share_buffers, write

if TYPE_CHECKING:
    from edgekit.toolchains.worker import Job

DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 6: np.bool_, 7: np.int16, 9: np.int8}
"""TensorType → numpy (schema.fbs)."""

BROADCAST = ("ADD", "SUB", "MUL", "DIV", "POW", "MAXIMUM", "MINIMUM", "FLOOR_DIV", "FLOOR_MOD", "SQUARED_DIFFERENCE", "SELECT_V2", "BATCH_MATMUL",
             "EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR")  # fmt: skip
"""Operators that repeat an operand of one element along an axis, so that it need not be stored at every size."""


def run(job: Job) -> dict[str, Any]:
    """`file` and `other` (.tflite), options `flexible` (axes), `defaults` (shapes of inputs and outputs) → `out/model.tflite`; `notes`.

    Refuses, naming the op that holds a size fixed.
    """
    job.progress("keeping sizes flexible")
    file, other = read(job.inputs["file"]), read(job.inputs["other"])
    try:
        make_flexible(file, other, job.options["flexible"])
        begin_at(file, job.options["defaults"])
    except FixedError as exc:
        job.refuse(str(exc))
    share_buffers(file.table)
    write(file, job.out / "model.tflite")
    return {"notes": []}


def make_flexible(file: TfliteFile, other: TfliteFile, axes: Axes) -> None:
    """Change `file` in place.

    Raises:
        FixedError: the graphs differ in more than sizes, or an operator takes a size as a number.
    """
    symbols(axes, input_shapes(file), input_shapes(other))
    comparison = Comparison(file, other)
    comparison.run()
    graph = file.table.subgraphs[0]
    for index in comparison.twin:
        tensor, theirs = graph.tensors[index], comparison.theirs.tensors[comparison.twin[index]]
        if len(shape(tensor)) != len(shape(theirs)):
            raise FixedError(f"the tensor {named(tensor)!r} has another rank at another size")
        signature = [a if a == b else -1 for a, b in zip(shape(tensor), shape(theirs), strict=True)]
        if -1 in signature:
            tensor.shapeSignature, tensor.hasRank = np.array(signature, np.int32), True


def begin_at(file: TfliteFile, defaults: dict[str, list[int]]) -> None:
    """Give the tensors the shapes that they have at the default size, where the file was made at another."""
    graph = file.table.subgraphs[0]
    if all(defaults.get(named(graph.tensors[index])) in (None, shape(graph.tensors[index])) for index in graph.inputs):
        return
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=packed(file), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    for index in graph.inputs:
        interpreter.resize_tensor_input(int(index), defaults[named(graph.tensors[index])])
    interpreter.allocate_tensors()
    for detail in interpreter.get_tensor_details():
        if detail["index"] < len(graph.tensors) and graph.tensors[detail["index"]].shapeSignature is not None:
            graph.tensors[detail["index"]].shape = np.array(detail["shape"], np.int32)


def input_shapes(file: TfliteFile) -> dict[str, list[int]]:
    graph = file.table.subgraphs[0]
    return {named(graph.tensors[index]): shape(graph.tensors[index]) for index in graph.inputs}


def shape(tensor: Any) -> list[int]:
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]


def named(tensor: Any) -> str:
    return (tensor.name or b"").decode()


class Comparison:
    """Two graphs that should differ in sizes only; `run` changes the constants of the first that hold a size."""

    def __init__(self, file: TfliteFile, other: TfliteFile) -> None:
        self.file, self.other = file, other
        self.mine, self.theirs = file.table.subgraphs[0], other.table.subgraphs[0]
        self.twin: dict[int, int] = {}
        """Tensor of the first graph that is computed → the same in the second."""

    def run(self) -> None:
        ops, others = list(self.file.operators()), list(self.other.operators())
        order = pairs(*([(op.kind, op.output) for op in each] for each in (ops, others)))
        others, tables = [others[place] for place in order], [self.theirs.operators[place] for place in order]
        self.twin.update(zip(map(int, self.mine.inputs), map(int, self.theirs.inputs), strict=True))
        for op, other, table, other_table in zip(ops, others, self.mine.operators, tables, strict=True):
            self.operator(op, other, table, other_table)
            self.twin.update(zip(op.outputs, other.outputs, strict=True))
        if [self.twin.get(int(index)) for index in self.mine.outputs] != [int(index) for index in self.theirs.outputs]:
            raise FixedError("an output is a constant, or another tensor at another size")

    def operator(self, op: Operator, other: Operator, table: Any, other_table: Any) -> None:
        what = f"{op.kind} {op.output!r}"
        if op.kind == "RESHAPE":
            open_reshape_options(table.builtinOptions, other_table.builtinOptions)
        elif not same_options(table.builtinOptions, other_table.builtinOptions):
            raise FixedError(f"{what} has an option of the model's size")
        for place, (a, b) in enumerate(zip(op.inputs, other.inputs, strict=True)):
            if a < 0 or a in self.twin:
                if (a >= 0 and self.twin[a] != b) or (a < 0 and b >= 0):
                    raise FixedError(f"{what} reads another tensor at another size")
                continue
            first, second = constant(self.file, a), constant(self.other, b)
            if not np.array_equal(first, second):
                self.constant(what, op, place, table, first, second)

    def constant(self, what: str, op: Operator, place: int, table: Any, first: Array, second: Array) -> None:
        """Change or keep a constant that differs, such that it is right at both sizes.

        Raises:
            FixedError: there is no such constant.
        """
        if op.kind == "RESHAPE" and place == 1:
            self.store(table, place, reshape_target(what, first, second))
        elif op.kind == "SLICE" and place == 2:
            self.store(table, place, np.where(first == second, first, self.to_the_end(what, op, first, second)))
        elif op.kind == "STRIDED_SLICE" and place == 2:
            self.to_the_end(what, op, first, second)
            table.builtinOptions.endMask |= sum(1 << int(axis) for axis in np.flatnonzero(first != second))
        elif not (op.kind in BROADCAST and repeated(first, second)):
            raise FixedError(f"{what} reads a constant of the model's size")

    def to_the_end(self, what: str, op: Operator, first: Array, second: Array) -> Array:
        """-1, which means "to the end" in a SLICE.

        Raises:
            FixedError: a slice that differs does not go from the beginning to the end.
        """
        have, has = shape(self.mine.tensors[op.inputs[0]]), shape(self.theirs.tensors[self.twin.get(op.inputs[0], 0)])
        begin = constant(self.file, op.inputs[1])
        for axis in np.flatnonzero(first != second):
            if begin[axis] != 0 or (first[axis], second[axis]) != (have[axis], has[axis]):
                raise FixedError(f"{what} ends at a number that depends on the model's size")
        return np.full_like(first, -1)

    def store(self, table: Any, place: int, values: Array) -> None:
        """Give one operator a constant of its own, for others may read the old one."""
        from copy import copy

        index = table.inputs[place]
        tensor, buffer = copy(self.mine.tensors[index]), copy(self.file.table.buffers[0])
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        tensor.buffer = len(self.file.table.buffers)
        tensor.name = f"edgekit/flexible/{len(self.mine.tensors)}".encode()
        self.file.table.buffers.append(buffer)
        table.inputs = np.array([len(self.mine.tensors) if i == place else old for i, old in enumerate(table.inputs)], np.int32)
        self.mine.tensors.append(tensor)


def reshape_target(what: str, first: Array, second: Array) -> Array:
    """The target with -1 where the two differ.

    Raises:
        FixedError: they differ in more than one axis, and one -1 is all that a RESHAPE takes.
    """
    if first.shape != second.shape or (first != second).sum() != 1 or -1 in first:
        raise FixedError(f"{what} makes a shape of more than one flexible axis")
    return np.where(first == second, first, np.array(-1, first.dtype))


def open_reshape_options(mine: Any, theirs: Any) -> None:
    """The target in the options, which interpreters take where there is no constant."""
    if mine is not None and theirs is not None and mine.newShape is not None and theirs.newShape is not None and len(mine.newShape) == len(theirs.newShape):
        mine.newShape = np.array([a if a == b else -1 for a, b in zip(mine.newShape, theirs.newShape, strict=True)], np.int32)


def same_options(mine: Any, theirs: Any) -> bool:
    if mine is None or theirs is None:
        return mine is theirs
    a, b = vars(mine), vars(theirs)
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def constant(file: TfliteFile, index: int) -> Array:
    """A stored tensor's values; packed ones as bytes."""
    tensor = file.table.subgraphs[0].tensors[index]
    data = file.table.buffers[tensor.buffer].data
    content = np.zeros(0, np.uint8) if data is None else np.asarray(data, np.uint8)
    dtype = np.dtype(DTYPES.get(tensor.type, np.uint8))
    values = content.view(dtype)
    return values.reshape(shape(tensor)) if values.size == int(np.prod(shape(tensor))) else values
