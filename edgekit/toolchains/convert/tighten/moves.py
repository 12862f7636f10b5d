"""An onnx2tf ModelIR in, the same with fewer RESHAPEs and TRANSPOSEs out.

A move is a TRANSPOSE, or a RESHAPE that only adds, drops or shifts axes of one element. Moves in a row are one; operators that treat all
elements alike are taken before a move, so that it comes nearer to the next one.
"""

from __future__ import annotations

from typing import Any

from edgekit.toolchains.convert.tflite.boundary import rename
from edgekit.toolchains.convert.tighten.edit import constant, drop_unread, make, makers, readers, reshape, shape, transpose
from edgekit.toolchains.convert.tighten.through import Axes, through

VIEWS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


def axes_of(graph: Any, op: Any) -> Axes | None:
    """For each axis of a move's result the axis of its input, None for a new one of one element; None for what is no move."""
    if op is None or (op.op_type != "TRANSPOSE" and op.op_type not in VIEWS):
        return None
    before, after = shape(graph, op.inputs[0]), shape(graph, op.outputs[0])
    if op.op_type == "TRANSPOSE":
        perm = constant(graph, op.inputs[1])
        return None if perm is None else [int(axis) for axis in perm]
    long = [axis for axis, size in enumerate(before) if size != 1]
    if [before[axis] for axis in long] != [size for size in after if size != 1] or 0 in after:
        return None
    rest = iter(long)
    return [None if size == 1 else next(rest) for size in after]


def merge(graph: Any) -> bool:
    """Moves in a row → one, or nothing; RESHAPE of a RESHAPE → one."""
    made = makers(graph)
    changed = False
    for op in list(graph.operators):
        found = merged(graph, op, made.get(op.inputs[0]) if op.inputs else None)
        if found is None:
            continue
        (source, perm), result = found, op.outputs[0]
        if perm is None and shape(graph, source) == shape(graph, result) and bypass(graph, op, source):
            made, changed = makers(graph), True
        elif source != op.inputs[0] or (perm is None and op.op_type == "TRANSPOSE"):
            place = next(index for index, one in enumerate(graph.operators) if one is op)
            made[result] = graph.operators[place] = reshape(graph, source, result) if perm is None else transpose(graph, source, result, perm)
            changed = True
    if changed:
        drop_unread(graph)
    return changed


def merged(graph: Any, op: Any, before: Any) -> tuple[str, list[int] | None] | None:
    """The tensor that a move can be made from, and in what order of its axes, None for a plain RESHAPE; None where there is nothing to merge."""
    if op.op_type in VIEWS and before is not None and before.op_type in VIEWS:
        return before.inputs[0], None
    order, first = axes_of(graph, op), axes_of(graph, before)
    if order is None:
        return None
    source = op.inputs[0]
    if first is not None:
        source = before.inputs[0]
        order = [None if axis is None else first[axis] for axis in order]
    sizes = shape(graph, source)
    long = [axis for axis in order if axis is not None and sizes[axis] != 1]
    if long == sorted(long):
        return source, None
    if first is None or len(order) != len(sizes):
        return None
    short = iter(axis for axis, size in enumerate(sizes) if size == 1)
    return source, [next(short) if axis is None or sizes[axis] == 1 else axis for axis in order]


def bypass(graph: Any, op: Any, source: str) -> bool:
    """Take out an operator whose result is `source` itself, unless an output would then be an input, a constant or another output."""
    result = op.outputs[0]
    if result in graph.outputs:
        if source in graph.outputs or source not in makers(graph):
            return False
        graph.operators = [one for one in graph.operators if one is not op]
        del graph.tensors[result]
        rename(graph, source, result)
        return True
    graph.operators = [one for one in graph.operators if one is not op]
    for one in graph.operators:
        one.inputs = [source if name == result else name for name in one.inputs]
    return True


def sink(graph: Any) -> bool:
    """Operator of moved tensors → move of the operator's result."""
    made, read = makers(graph), readers(graph)
    changed = False
    operators = []
    for op in graph.operators:
        operators.append(op)
        moves = {name: made[name] for name in op.inputs if axes_of(graph, made.get(name)) is not None}
        if not moves or len(op.outputs) != 1 or any(read[name] != [op] for name in moves):
            continue
        axes = [axes_of(graph, move) or [] for move in moves.values()]
        alike = {(move.op_type == "TRANSPOSE", len(shape(graph, move.inputs[0]))) for move in moves.values()}
        if axes.count(axes[0]) != len(axes) or len(alike) > 1:
            continue
        sizes = through(graph, op, axes[0], {name: move.inputs[0] for name, move in moves.items()})
        if sizes is None:
            continue
        result = op.outputs[0]
        inner = make(graph, f"{result}/{op.op_type}", graph.tensors[result].dtype, sizes)
        op.outputs = [inner]
        operators.append(transpose(graph, inner, result, axes[0]) if (True, len(sizes)) in alike else reshape(graph, inner, result))
        made[result], made[inner], read[inner] = operators[-1], op, [operators[-1]]
        for move in moves.values():
            read[move.inputs[0]] = [op if one is move else one for one in read[move.inputs[0]]]
        changed = True
    graph.operators = operators
    if changed:
        drop_unread(graph)
    return changed
