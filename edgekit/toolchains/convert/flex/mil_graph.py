"""Two MIL functions that should differ in sizes only in, the second with unknown sizes out (MIL.proto)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.backend.mil.helper import create_scalar_value, create_tensor_value

from edgekit.toolchains.convert.flex.steps import Array, FixedError, Symbol, pairs, repeated, rule

MIL = ct.proto.MIL_pb2
DTYPES = {"FLOAT16": np.float16, "FLOAT32": np.float32, "INT8": np.int8, "UINT8": np.uint8, "INT16": np.int16, "UINT16": np.uint16, "INT32": np.int32}
BLOB = struct.Struct("<IIQQ")
"""Of a stored tensor: sentinel, type, bytes, where its data begin (MILBlob's StorageFormat.hpp)."""

BROADCAST = ("add", "sub", "mul", "real_div", "floor_div", "mod", "pow", "maximum", "minimum", "equal", "not_equal", "greater", "greater_equal", "less")
ELEMENTWISE = (*BROADCAST, "less_equal", "logical_and", "logical_or", "logical_xor", "select", "matmul")
"""Operations that repeat an operand of one element along an axis, so that it need not be stored at every size."""


def block(function: Any) -> Any:
    return function.block_specializations[function.opset]


def dimensions(kind: Any) -> list[int | None]:
    """A tensor type's sizes, None where unknown."""
    return [d.constant.size if d.HasField("constant") else None for d in kind.tensorType.dimensions]


def title(operation: Any) -> str:
    return f"{operation.type} {operation.outputs[0].name!r}"


class Comparison:
    """`run` makes the second function flexible."""

    def __init__(self, first: Any, second: Any, weights: tuple[Path, Path], known: list[Symbol]) -> None:
        self.first, self.second, self.known = first, second, known
        self.blobs = [np.memmap(path, np.uint8, "r") if path.is_file() else np.zeros(0, np.uint8) for path in weights]
        self.constants = [{op.outputs[0].name: op for op in block(each).operations if op.type == "const"} for each in (first, second)]
        self.twin: dict[str, str] = {}
        """Value that is computed in the second function → the same in the first."""
        self.shapes: dict[str, tuple[list[int | None], list[int | None]]] = {}
        """The same → its sizes in both."""
        self.sized: dict[tuple[int | None, int | None], tuple[str, int]] = {}
        """A size in the two → the latest value and axis that has it."""
        self.made: list[Any] = []
        self.outputs: dict[str, Any] = {}

    def run(self) -> None:
        ops, others = ([op for op in block(each).operations if op.type != "const"] for each in (self.first, self.second))
        order = pairs(*([(op.type, op.outputs[0].name) for op in each] for each in (ops, others)))
        for mine, theirs in zip(self.first.inputs, self.second.inputs, strict=True):
            self.meet(mine, theirs)
        for mine, theirs in zip(ops, [others[place] for place in order], strict=True):
            if theirs.blocks:
                raise FixedError(f"{title(mine)} has a body")
            self.operation(mine, theirs)
            self.made.append(theirs)
            for a, b in zip(mine.outputs, theirs.outputs, strict=True):
                self.meet(a, b)
        if [self.twin.get(name) for name in block(self.second).outputs] != list(block(self.first).outputs):
            raise FixedError("an output is a constant, or another value at another size")
        self.finish()

    def meet(self, mine: Any, theirs: Any) -> None:
        """Remember that two values are the same; the sizes in which they differ become unknown."""
        a, b = dimensions(mine.type), dimensions(theirs.type)
        if len(a) != len(b):
            raise FixedError(f"the value {mine.name!r} has another rank at another size")
        self.twin[theirs.name], self.shapes[theirs.name] = mine.name, (a, b)
        self.outputs[theirs.name] = theirs.type
        for axis, (x, y) in enumerate(zip(a, b, strict=True)):
            if x != y:
                self.sized[x, y] = (theirs.name, axis)
                theirs.type.tensorType.dimensions[axis].unknown.variadic = False

    def operation(self, mine: Any, theirs: Any) -> None:
        """Check one pair, and give the second other constants where they hold a size."""
        for parameter, argument in theirs.inputs.items():
            given = mine.inputs[parameter].arguments if parameter in mine.inputs else []
            if len(given) != len(argument.arguments):
                raise FixedError(f"{title(mine)} is given other arguments at another size")
            for a, b in zip(given, argument.arguments, strict=True):
                if b.name and b.name in self.twin:
                    if self.twin[b.name] != a.name:
                        raise FixedError(f"{title(mine)} reads another value at another size")
                    continue
                first, second = self.value(0, a), self.value(1, b)
                if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
                    if first.shape != second.shape or first.tobytes() != second.tobytes():
                        b.name = self.flexible(theirs, parameter, b.name, first, second)
                elif first != second:
                    raise FixedError(f"{title(mine)} has an option of the model's size")

    def value(self, side: int, binding: Any) -> Array | bytes:
        """The values of a constant, or its message where they are no numbers."""
        if binding.name and binding.name not in self.constants[side]:
            raise FixedError(f"the value {binding.name!r} is computed at one size only")
        value = self.constants[side][binding.name].attributes["val"] if binding.name else binding.value
        kind = value.type.tensorType
        dtype = DTYPES.get(MIL.DataType.Name(kind.dataType))
        if dtype is None:
            return bytes(value.SerializeToString(deterministic=True))
        shape = [int(d.constant.size) for d in kind.dimensions]
        if value.HasField("blobFileValue"):
            _, _, size, offset = BLOB.unpack(self.blobs[side][value.blobFileValue.offset :][: BLOB.size].tobytes())
            return np.frombuffer(self.blobs[side][offset : offset + size].tobytes(), dtype).reshape(shape)
        tensor = value.immediateValue.tensor
        stored = getattr(tensor, tensor.WhichOneof("value")).values
        return (np.frombuffer(stored, dtype) if isinstance(stored, bytes) else np.array(list(stored), dtype)).reshape(shape)

    def flexible(self, op: Any, parameter: str, name: str, first: Array, second: Array) -> str:
        """The name of what takes the place of a constant that differs."""
        if op.type == "reshape" and parameter == "shape" and first.shape == second.shape and (first != second).sum() == 1 and -1 not in first:
            return self.store(np.where(first == second, first, -1).astype(np.int32))
        if op.type in ELEMENTWISE and repeated(first, second):
            return self.store(first)
        if first.dtype == np.int32 and first.shape == second.shape and first.ndim == 1:
            return self.computed(op, first, second)
        if name and first.ndim == second.ndim and np.array_equal(second[tuple(map(slice, first.shape))], first):
            return self.beginning(op, name, first, second)
        raise FixedError(f"{title(op)} reads a constant of the model's size")

    def computed(self, op: Any, first: Array, second: Array) -> str:
        """A list of integers, each that differs read from a value that has it."""
        parts = [self.size(op, int(a), int(b)) if a != b else self.store(np.array([a], np.int32)) for a, b in zip(first, second, strict=True)]
        return (
            parts[0] if len(parts) == 1 else self.add("concat", (len(parts),), values=parts, axis=self.store(np.int32(0)), interleave=self.store(np.bool_(0)))
        )

    def size(self, op: Any, first: int, second: int) -> str:
        """A size as a value of one int32."""
        place, times, over, plus = self.sized.get((first, second)), 1, 1, 0
        if place is None:
            found = rule(self.known, first, second)
            if found is None:
                raise FixedError(f"{title(op)} reads a size ({first} here, {second} there) that does not follow from the inputs'")
            symbol = next(one for one in self.known if one.name == found.symbol)
            place, times, over, plus = (symbol.input, symbol.axis), found.times, found.over, found.plus
        shape = self.add("shape", (len(self.shapes[place[0]][0]),), x=[place[0]])
        axis, zero = self.store(np.array([place[1]], np.int32)), self.store(np.int32(0))
        made = self.add("gather", (1,), x=[shape], indices=axis, axis=zero, batch_dims=zero, validate_indices=self.store(np.bool_(0)))
        for kind, number in (("mul", times), ("floor_div", over), ("add", plus)):
            if number != (0 if kind == "add" else 1):
                made = self.add(kind, (1,), x=[made], y=self.store(np.array([number], np.int32)))
        return made

    def beginning(self, op: Any, name: str, first: Array, second: Array) -> str:
        """What a table holds up to a size, cut from the one of the largest size."""
        largest = {(one.first, one.second) for one in self.known if one.second == one.high}
        cut = [(a, b) for a, b in zip(first.shape, second.shape, strict=True) if a != b]
        if any(sizes not in largest for sizes in cut):
            raise FixedError(f"{title(op)} reads a table that would end: give the axis a largest size")
        end = self.computed(op, np.array(first.shape, np.int32), np.array(second.shape, np.int32))
        begin = self.store(np.zeros(first.ndim, np.int32))
        made = self.add("slice_by_index", first.shape, x=[name], begin=begin, end=end)
        result = self.made[-1].outputs[0].type.tensorType
        result.dataType = self.constants[1][name].outputs[0].type.tensorType.dataType
        for axis, (a, b) in enumerate(zip(first.shape, second.shape, strict=True)):
            if a != b:
                result.dimensions[axis].unknown.variadic = False
        return made

    def store(self, values: Any) -> str:
        """A new constant's name."""
        value = create_scalar_value(values.item()) if np.ndim(values) == 0 else create_tensor_value(values)
        op = MIL.Operation(type="const", attributes={"val": value})
        return self.append(op, value.type)

    def add(self, kind: str, shape: tuple[int, ...], **reads: str | list[str]) -> str:
        """A new operation's name; it gives int32 of this shape."""
        op = MIL.Operation(type=kind)
        for parameter, names in reads.items():
            for name in [names] if isinstance(names, str) else names:
                op.inputs[parameter].arguments.add().name = name
        return self.append(op, create_tensor_value(np.zeros(shape, np.int32)).type)

    def append(self, op: Any, kind: Any) -> str:
        name = f"edgekit_flexible_{len(self.made)}"
        op.attributes["name"].CopyFrom(create_scalar_value(name))
        output = op.outputs.add()
        output.name = name
        output.type.CopyFrom(kind)
        self.made.append(op)
        return name

    def finish(self) -> None:
        """Put the constants that are still read, and the operations, into the second function."""
        read = {one.name for op in self.made for argument in op.inputs.values() for one in argument.arguments}
        kept = [op for name, op in self.constants[1].items() if name in read]
        copies = []
        for op in [*kept, *self.made]:
            copy = MIL.Operation()
            copy.CopyFrom(op)
            copies.append(copy)
        del block(self.second).operations[:]
        block(self.second).operations.extend(copies)
