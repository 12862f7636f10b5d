"""Arithmetic on 8 and 16-bit, unsigned and 64-bit integers in, the same in int32 and int64 out, which every runtime computes in.

Integers wrap around as ONNX says: a Cast back to the narrow dtype keeps the low bits (Cast, "fixed point to fixed point").
uint64 is computed as int64 of the same bits; what would not be the same is told apart by the sign bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import NodeProto, TensorProto

from edgekit.hub.graph import attribute
from edgekit.hub.lower import Lowering

NARROW = {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16}
BITS: dict[int, int] = {
    TensorProto.INT8: 8,
    TensorProto.UINT8: 8,
    TensorProto.INT16: 16,
    TensorProto.UINT16: 16,
    TensorProto.INT32: 32,
    TensorProto.UINT32: 32,
    TensorProto.INT64: 64,
    TensorProto.UINT64: 64,
}
UNSIGNED = {TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64}
COMPARE = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
IN_RANGE = "/in_range"
"""Ends the name of shifts that are known to be from 0 on and below the width."""
SIGN_BIT = np.iinfo(np.int64).min


def room_for(kind: int) -> int | None:
    """The dtype that a dtype's arithmetic is done in; None for one that needs no other."""
    if kind in NARROW:
        return int(TensorProto.INT32)
    return int(TensorProto.INT64) if kind in (TensorProto.UINT32, TensorProto.UINT64) else None


def cast(graph: Lowering, name: str, kind: int) -> str:
    return graph.add("Cast", [name], to=kind)


def widened(graph: Lowering, node: NodeProto) -> None:
    """An element-wise operator or a reduction on integers that few kernels take: cast, computed, cast back."""
    kind = graph.dtype(node.input[0])
    room = room_for(kind)
    if room is None:
        return
    data = [name for name in node.input if name and graph.dtypes.get(name) == kind]
    order = kind == TensorProto.UINT64 and node.op_type not in ("Add", "Sub", "Mul", "Equal", "Neg")
    if order and node.op_type not in COMPARE | {"Max", "Min", "TopK", "ReduceMax", "ReduceMin"}:
        graph.refuse(node, "works on uint64, which TFLite's kernels do not: use int64")
    wide = {name: shifted(graph, cast(graph, name, room)) if order else cast(graph, name, room) for name in dict.fromkeys(data)}
    given = {found.name: attribute(node, found.name) for found in node.attribute}
    outputs = [graph.fresh("wide") if name and graph.dtypes.get(name) == kind else name for name in node.output]
    graph.add(node.op_type, [wide.get(name, name) for name in node.input], outputs, **given)
    for wide_name, name in zip(outputs, node.output, strict=True):
        if wide_name != name:
            graph.add("Cast", [shifted(graph, wide_name) if order else wide_name], [name], to=kind)


def shifted(graph: Lowering, name: str) -> str:
    """Turn the sign bit: unsigned order becomes signed order, and back."""
    return graph.add("Add", [name, graph.store(SIGN_BIT, np.int64)])


def then(first: Callable[[Lowering, NodeProto], None], second: Callable[[Lowering, NodeProto], None]) -> Callable[[Lowering, NodeProto], None]:
    """The first rule, and the second where it adds nothing."""

    def rule(graph: Lowering, node: NodeProto) -> None:
        first(graph, node)
        if not graph.nodes:
            second(graph, node)

    return rule


def mod(graph: Lowering, node: NodeProto) -> None:
    """`fmod=1` takes the sign of the dividend; FLOOR_MOD of the divisor. |x| mod |y| is the same in both."""
    x, y = node.input
    kind = graph.dtype(x)
    if not attribute(node, "fmod", 0) or kind in UNSIGNED:
        if attribute(node, "fmod", 0):
            graph.add("Mod", [x, y], node.output)
        return
    rest = graph.add("Mod", [magnitude(graph, x), magnitude(graph, y)])
    negative = graph.add("Less", [x, graph.like(x, 0)])
    graph.add("Where", [negative, graph.add("Neg", [rest]), rest], node.output)


def magnitude(graph: Lowering, name: str) -> str:
    """|x|, also of int64, which has no ABS."""
    return graph.add("Max", [name, graph.add("Neg", [name])])


def absolute(graph: Lowering, node: NodeProto) -> None:
    if graph.dtype(node.input[0]) not in (TensorProto.FLOAT, TensorProto.INT32):
        graph.add("Max", [node.input[0], graph.add("Neg", [node.input[0]])], node.output)


def bit_shift(graph: Lowering, node: NodeProto) -> None:
    """x · 2ⁿ, wrapped, or ⌊x / 2ⁿ⌋; 0 (or -1 of a negative x) where n is the width or more, or negative."""
    x, n = node.input
    kind = graph.dtype(x)
    bits = BITS[kind]
    if n.endswith(IN_RANGE):
        return
    left = attribute(node, "direction", b"LEFT") == b"LEFT"
    index = cast(graph, n, TensorProto.INT64)
    outside = graph.add("Or", [graph.add("Less", [index, graph.store(0, np.int64)]), graph.add("Greater", [index, graph.store(bits - 1, np.int64)])])
    place = graph.add("Where", [outside, graph.store(bits, np.int64), index])
    if left:
        table = np.array([1 << power for power in range(bits)] + [0], np.uint64).astype(np.int64)
        factor = graph.add("Gather", [graph.store(table), place])
        graph.add("Cast", [graph.add("Mul", [cast(graph, x, TensorProto.INT64), factor])], node.output, to=kind)
        return
    if bits == 64:
        graph.refuse(node, "shifts 64-bit integers to the right, which TFLite has no kernel for: use int32 or uint32")
    most = graph.store(bits - 1, np.int64)
    near = graph.add("Cast", [graph.add("Where", [outside, most, index])], [graph.fresh("shift") + IN_RANGE], to=kind)
    moved = graph.add("BitShift", [x, near], direction="RIGHT")
    if kind in UNSIGNED:
        moved = graph.add("Where", [outside, graph.like(x, 0), moved])
    graph.add("Identity", [moved], node.output)


def power(graph: Lowering, node: NodeProto) -> None:
    """Pow with an integer base or exponent: in float32, and back by rounding where the result is an integer."""
    x, y = node.input
    kinds = graph.dtype(x), graph.dtype(y)
    if kinds == (TensorProto.FLOAT, TensorProto.FLOAT):
        return
    if TensorProto.UINT64 in kinds:
        x, y = (cast(graph, name, TensorProto.INT64) if kind == TensorProto.UINT64 else name for name, kind in zip((x, y), kinds, strict=True))
    floats = [cast(graph, name, TensorProto.FLOAT) if kind != TensorProto.FLOAT else name for name, kind in zip((x, y), kinds, strict=True)]
    result = graph.add("Pow", floats)
    if kinds[0] == TensorProto.FLOAT:
        graph.add("Identity", [result], node.output)
    else:
        graph.add("Cast", [graph.add("Round", [result]) if kinds[1] != TensorProto.FLOAT else result], node.output, to=kinds[0])
