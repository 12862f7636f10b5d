"""What a lowering sees of an ONNX node: MIL variables, stored values, attributes, and the dtypes and shapes that ONNX gives them.

MIL computes in float32, float16, int32 and bool. int64 and every narrower or unsigned integer are carried as int32, float64 as
float32; `wrap` brings the result of an operation on narrow integers back into their range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgekit.hub.graph import attribute

Array = np.ndarray[Any, Any]
Var = Any
"""A MIL variable (coremltools has no types)."""

INT32 = np.iinfo(np.int32)
FLOAT16_MAX = np.float32(65504)
NARROW: dict[int, tuple[int, bool]] = {
    TensorProto.INT8: (8, True),
    TensorProto.UINT8: (8, False),
    TensorProto.INT16: (16, True),
    TensorProto.UINT16: (16, False),
}
"""Element type → bits, signed."""
MIL_DTYPES: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.DOUBLE: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BOOL: "bool"}
INTEGERS: set[int] = {TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32, TensorProto.UINT64, *NARROW}
FLOATS: set[int] = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16}


class Unwritable(Exception):
    """A node that Core ML cannot compute. The message reads on from "Conv node 'x' cannot be written for Core ML: "."""


@dataclass(slots=True)
class Graph:
    """What is known of the tensors of the hub while it is written. `half`: the package computes in float16.

    `write` writes the nodes of a body into the block that is open. `exact` are names of operations that count in float32.
    """

    variables: dict[str, Var]
    stored: dict[str, TensorProto]
    dtypes: dict[str, int]
    shapes: dict[str, list[int]]
    half: bool = False
    write: Callable[[Graph, Iterable[NodeProto]], None] = lambda graph, nodes: None
    exact: set[str] = field(default_factory=set)

    def variable(self, name: str) -> Var:
        """The MIL variable of a tensor; a stored one becomes a constant when it is first asked for."""
        if name not in self.variables:
            self.variables[name] = mb.const(val=carried(numpy_helper.to_array(self.stored[name]), self.half), name=name)
        return self.variables[name]


class Node:
    """One ONNX node with its surroundings."""

    def __init__(self, graph: Graph, proto: NodeProto) -> None:
        self.graph, self.proto = graph, proto

    def given(self, index: int) -> bool:
        return index < len(self.proto.input) and bool(self.proto.input[index])

    def input(self, index: int) -> Var:
        """The MIL variable of input `index`, which must be given."""
        return self.graph.variable(self.proto.input[index])

    def inputs(self) -> list[Var]:
        return [self.input(index) for index in range(len(self.proto.input))]

    def value(self, index: int) -> Array | None:
        """The stored values of an input in ONNX's own dtype; None where it is computed or left out."""
        if not self.given(index):
            return None
        stored = self.graph.stored.get(self.proto.input[index])
        return None if stored is None else numpy_helper.to_array(stored)

    def needed(self, index: int, what: str) -> Array:
        """The stored values of an input that MIL needs as a constant.

        Raises:
            Unwritable: it is computed while the model runs.
        """
        found = self.value(index)
        if found is None:
            self.refuse(f"its {what} is computed while the model runs, and Core ML needs it stored; make it a constant of the model")
        return found

    def ints(self, index: int, what: str) -> list[int]:
        return [int(i) for i in self.needed(index, what).reshape(-1)]

    def attribute(self, name: str, default: Any = None) -> Any:
        """The attribute's value (strings as str), or the default."""
        found = attribute(self.proto, name, default)
        return found.decode() if isinstance(found, bytes) else found

    def dtype(self, index: int) -> int:
        return self.graph.dtypes[self.proto.input[index]]

    def shape(self, index: int) -> list[int]:
        """The fixed shape of an input."""
        return [int(n) for n in self.input(index).shape]

    def made_dtype(self, index: int = 0) -> int:
        return self.graph.dtypes[self.proto.output[index]]

    def made_shape(self, index: int = 0) -> list[int]:
        return self.graph.shapes[self.proto.output[index]]

    def wanted(self, index: int) -> bool:
        """Whether output `index` is there at all."""
        return index < len(self.proto.output) and bool(self.proto.output[index])

    def refuse(self, reason: str) -> NoReturn:
        raise Unwritable(reason)


Lowering = Callable[[Node], Var | Sequence[Var]]
"""Writes a node in MIL; gives the variables of its outputs, those left out at the end aside."""


def carried(values: Array, half: bool = False) -> Array:
    """An array in the dtype that MIL has for it; what lies outside int32 (open ends of slices, mostly) is brought to its edge.

    `half` brings finite values into float16's range, where a later cast would make them infinite.
    """
    if values.dtype.kind in "iu":
        return np.clip(values, INT32.min, INT32.max).astype(np.int32) if values.dtype.itemsize > 2 else values.astype(np.int32)
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    if half and values.dtype == np.float32:
        values = np.where(np.isfinite(values), np.clip(values, -FLOAT16_MAX, FLOAT16_MAX), values)
    return values


def mil_dtype(elem_type: int) -> str:
    """The name of the MIL dtype that carries an ONNX element type."""
    return MIL_DTYPES.get(elem_type, "int32")


def numpy_dtype(x: Var) -> np.dtype[Any]:
    found: np.dtype[Any] = np.dtype(types.nptype_from_builtin(x.dtype))
    return found


def like(x: Var, value: Any) -> Any:
    """A constant (scalar or array) of x's dtype."""
    made = np.asarray(value).astype(numpy_dtype(x))
    return made if made.ndim else made[()]


def is_float(x: Var) -> bool:
    return numpy_dtype(x).kind == "f"


def is_bool(x: Var) -> bool:
    return numpy_dtype(x).kind == "b"


def cast(x: Var, dtype: str) -> Var:
    """x in a MIL dtype; itself where it has it already."""
    return x if types.builtin_to_string(x.dtype) == dtype else mb.cast(x=x, dtype=dtype)


def cast_like(x: Var, other: Var) -> Var:
    return cast(x, str(types.builtin_to_string(other.dtype)))


def as_numbers(lowering: Callable[[Var], Var]) -> Callable[[Var], Var]:
    """An operation that MIL has for numbers only, for bool too."""
    return lambda x: cast(lowering(cast(x, "int32")), "bool") if is_bool(x) else lowering(x)


def wrap(x: Var, elem_type: int) -> Var:
    """int32 results of an operation on narrow integers, modulo 2^bits as ONNX's own are."""
    if elem_type not in NARROW:
        return x
    bits, signed = NARROW[elem_type]
    size, low = 1 << bits, (1 << bits - 1) if signed else 0
    if not low:
        return mb.mod(x=x, y=np.int32(size))
    return mb.sub(x=mb.mod(x=mb.add(x=x, y=np.int32(low)), y=np.int32(size)), y=np.int32(low))


def dtype_name(elem_type: int) -> str:
    return np.dtype(helper.tensor_dtype_to_np_dtype(elem_type)).name


def reshaped(x: Var, shape: Sequence[int]) -> Var:
    """x in a shape; itself where it has it already."""
    return x if [int(n) for n in x.shape] == list(shape) else mb.reshape(x=x, shape=np.array(shape, np.int32))


def transposed(x: Var, order: Sequence[int]) -> Var:
    """x with its axes in an order; itself where they are."""
    return x if list(order) == list(range(len(order))) else mb.transpose(x=x, perm=list(order))


def expanded(x: Var, shape: Sequence[int]) -> Var:
    """x broadcast to a shape: arrays by numpy, variables by repetition of the axes of size 1."""
    if isinstance(x, np.ndarray | np.generic):
        return np.broadcast_to(x, list(shape))
    before = [1] * (len(shape) - len(x.shape)) + [int(n) for n in x.shape]
    reps = [n // m for n, m in zip(shape, before, strict=True)]
    if all(r == 1 for r in reps):
        return reshaped(x, before)
    return as_numbers(lambda y: mb.tile(x=reshaped(y, before), reps=reps))(x)


def select(condition: Var, a: Var, b: Var) -> Var:
    """a where the condition holds, else b, of the shape of all three: coremltools takes the result's from a and b alone."""
    whole, values = np.broadcast_shapes(*map(sizes, (condition, a, b))), np.broadcast_shapes(sizes(a), sizes(b))
    if whole != values:
        a, b = (expanded(a, whole), b) if isinstance(a, np.ndarray | np.generic) else (a, expanded(b, whole))
    return mb.select(cond=condition, a=a, b=b)


def sizes(x: Var) -> tuple[int, ...]:
    """The shape of a variable or an array."""
    return tuple(int(n) for n in x.shape)
