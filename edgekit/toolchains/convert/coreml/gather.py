"""Reading elements by index (Gather, GatherElements, GatherND, Compress, OneHot, TopK, ReverseSequence): tensors and places in, tensors out."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil import Builder as mb

from edgekit.toolchains.convert.coreml.node import Lowering, Node, Var, as_numbers, cast, like, reshaped, select


def places(node: Node, index: int, size: int) -> Var:
    """Stored indices counted from the start; computed ones may be negative too."""
    stored = node.value(index)
    if stored is None:
        return cast(node.input(index), "int32")
    return np.where(stored < 0, stored + size, stored).astype(np.int32)


def gather(node: Node) -> Var:
    axis = node.attribute("axis", 0)
    at = places(node, 1, node.shape(0)[axis])
    return as_numbers(lambda x: mb.gather(x=x, indices=at, axis=axis))(node.input(0))


def gather_elements(node: Node) -> Var:
    axis = node.attribute("axis", 0) % len(node.shape(0))
    at = places(node, 1, node.shape(0)[axis])
    sizes = [int(n) for n in at.shape]
    begin, before = [0] * len(sizes), node.shape(0)
    wider = any(n != m for i, (n, m) in enumerate(zip(sizes, before, strict=True)) if i != axis)

    def lower(x: Var) -> Var:
        if wider:  # MIL wants the other axes to be the indices' own
            x = mb.slice_by_size(x=x, begin=begin, size=[m if i == axis else n for i, (n, m) in enumerate(zip(sizes, before, strict=True))])
        return mb.gather_along_axis(x=x, indices=at, axis=axis)

    return as_numbers(lower)(node.input(0))


def gather_nd(node: Node) -> Var:
    batch = node.attribute("batch_dims", 0)
    stored = node.value(1)
    at = cast(node.input(1), "int32")
    if stored is not None:
        sizes = np.array(node.shape(0)[batch : batch + stored.shape[-1]])
        at = np.where(stored < 0, stored + sizes, stored).astype(np.int32)
    return as_numbers(lambda x: mb.gather_nd(x=x, indices=at, batch_dims=batch))(node.input(0))


def compress(node: Node) -> Var:
    """By a stored condition, which says how many elements are left."""
    at = np.flatnonzero(node.needed(1, "condition")).astype(np.int32)
    axis = node.attribute("axis")
    if not at.size:
        node.refuse("its condition keeps nothing; remove it")
    x = node.input(0)
    if axis is None:
        x, axis = mb.reshape(x=x, shape=[-1]), 0
    return as_numbers(lambda x: mb.gather(x=x, indices=at, axis=axis))(x)


def one_hot(node: Node) -> Var:
    """The on value where a place equals the index; negative indices count from the end, others outside the depth hit nothing."""
    depth = int(node.needed(1, "depth").reshape(-1)[0])
    rank = len(node.shape(0))
    axis = node.attribute("axis", -1) % (rank + 1)
    at = mb.expand_dims(x=cast(node.input(0), "int32"), axes=[axis])
    counted = np.arange(depth, dtype=np.int32).reshape([-1 if i == axis else 1 for i in range(rank + 1)])
    hot = mb.logical_or(x=mb.equal(x=at, y=counted), y=mb.equal(x=at, y=counted - np.int32(depth)))
    values = node.value(2)
    if values is not None:
        off, on = (like(node.input(2), v).reshape([1] * (rank + 1)) for v in values)
        if values.dtype == bool:
            return hot if values[1] else mb.logical_not(x=hot)
    else:
        off, on = (reshaped(mb.slice_by_size(x=node.input(2), begin=[i], size=[1]), [1] * (rank + 1)) for i in (0, 1))
    return select(hot, a=on, b=off)


def top_k(node: Node) -> list[Var]:
    """Always sorted; of equal values the one with the lower index comes first."""
    k = node.ints(1, "k")[0]
    x = node.input(0)
    axis = node.attribute("axis", -1)
    values, at = mb.topk(x=x, k=k, axis=axis, ascending=not node.attribute("largest", 1))
    return [values, at]


def arg(largest: bool) -> Lowering:
    """ArgMax and ArgMin; `select_last_index=1` looks from the end."""
    operation = mb.reduce_argmax if largest else mb.reduce_argmin

    def lower(node: Node) -> Var:
        x = node.input(0)
        axis, keep_dims = node.attribute("axis", 0), bool(node.attribute("keepdims", 1))
        if not node.attribute("select_last_index", 0):
            return operation(x=x, axis=axis, keep_dims=keep_dims)
        from_end = operation(x=mb.reverse(x=x, axes=[axis]), axis=axis, keep_dims=keep_dims)
        return mb.sub(x=np.int32(int(x.shape[axis]) - 1), y=from_end)

    return lower


def reverse_sequence(node: Node) -> Var:
    """The first `sequence_lens[b]` steps of each sequence backwards, the rest as it is."""
    x, batch, time = node.input(0), node.attribute("batch_axis", 1), node.attribute("time_axis", 0)
    rank, n = len(x.shape), int(x.shape[time])
    lengths = reshaped(cast(node.input(1), "int32"), [-1 if i == batch else 1 for i in range(rank)] if rank != 1 else [-1])
    steps = np.arange(n, dtype=np.int32).reshape([-1 if i == time else 1 for i in range(rank)])
    back = mb.sub(x=mb.sub(x=lengths, y=np.int32(1)), y=steps)
    at = select(mb.greater_equal(x=back, y=np.int32(0)), a=back, b=steps)
    at = mb.tile(x=at, reps=[1 if i in (batch, time) else int(d) for i, d in enumerate(x.shape)])
    return as_numbers(lambda x: mb.gather_along_axis(x=x, indices=at, axis=time))(x)


OPS: dict[str, Lowering] = {
    "ArgMax": arg(largest=True),
    "ArgMin": arg(largest=False),
    "Compress": compress,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "OneHot": one_hot,
    "ReverseSequence": reverse_sequence,
    "TopK": top_k,
}
