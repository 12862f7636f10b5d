"""Pad, Slice, Gather, Scatter, Split, Where, Tile and DepthToSpace in, PyTorch's out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from onnx import NodeProto
from torch.nn import functional as F

from edgekit.hub.graph import attribute
from edgekit.toolchains.torch.twin.build import Array, Build, Value, refusal
from edgekit.toolchains.torch.twin.shape import spread


def pad(build: Build, node: NodeProto) -> Value:
    x, pads = build.of(node.input[0]), [int(one) for one in build.fixed(node, 1)]  # type: ignore[union-attr]  # never left out
    rank, stored = len(x.shape), build.fixed(node, 3)
    axes = list(range(rank)) if stored is None else [int(axis) % rank for axis in stored]
    begin, end = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        begin[axis], end[axis] = pads[place], pads[place + len(axes)]
    mode, value = attribute(node, "mode", b"constant").decode(), build.fixed(node, 2)
    if mode == "constant":
        sides = [side for b, e in reversed(list(zip(begin, end, strict=True))) for side in (b, e)]
        while len(sides) > 2 and sides[-2:] == [0, 0]:
            del sides[-2:]
        return build.call(F.pad, x, sides, value=None if value is None else value.item())
    if mode not in ("reflect", "edge", "wrap"):
        raise refusal(node, f"there is no PyTorch form of the mode {mode!r} here")
    for axis in range(rank):  # each axis in turn, by the places that its pixels are taken from
        if begin[axis] or end[axis]:
            places = np.pad(np.arange(x.shape[axis]), (max(begin[axis], 0), max(end[axis], 0)), mode=mode)  # type: ignore[call-overload]  # a name of numpy's too
            places = places[max(-begin[axis], 0) : len(places) - max(-end[axis], 0)]
            x = build.call(torch.index_select, x, axis, build.hold(places.astype(np.int64)))
    return x


def slice_(build: Build, node: NodeProto) -> Value:
    x, rank = build.of(node.input[0]), len(build.of(node.input[0]).shape)
    starts, ends = ([int(one) for one in build.fixed(node, index).ravel()] for index in (1, 2))  # type: ignore[union-attr]  # never left out
    stored, steps = build.fixed(node, 3), build.fixed(node, 4)
    axes = list(range(len(starts))) if stored is None else [int(axis) % rank for axis in stored.ravel()]
    for axis, start, end, step in zip(axes, starts, ends, [1] * len(axes) if steps is None else [int(one) for one in steps.ravel()], strict=True):
        size = x.shape[axis]
        end = end if step > 0 or end >= -size else -size - 1
        taken = range(size)[slice(start, None if end < -size and step < 0 else end, step)]
        if taken == range(size):
            continue  # all of it, of every sample too
        if axis == x.batch:
            build.apart(f"Slice (node {node.name!r}) cuts the axis that counts samples")
        if step == 1:
            x = build.call(torch.narrow, x, axis, taken.start, len(taken))
        elif step > 0:
            x = build.call(stepped, x, axis, taken.start, taken.stop, step)
        else:
            x = build.call(torch.index_select, x, axis, build.hold(np.array(taken, np.int64)))
    return x


def stepped(x: Any, axis: int, start: int, stop: int, step: int) -> Any:
    return x[(*(slice(None) for _ in range(axis)), slice(start, stop, step))]


def split(build: Build, node: NodeProto) -> list[Value]:
    x, stored = build.of(node.input[0]), build.fixed(node, 1)
    axis, count = attribute(node, "axis", 0) % len(x.shape), len(node.output)
    each = -(-x.shape[axis] // count)
    sizes = [min(each, x.shape[axis] - index * each) for index in range(count)] if stored is None else [int(one) for one in stored]
    if axis == x.batch:
        build.apart(f"Split (node {node.name!r}) cuts the axis that counts samples")
    starts = np.cumsum([0, *sizes])
    return [build.call(torch.narrow, x, axis, int(start), size) for start, size in zip(starts, sizes, strict=False)]


def gather(build: Build, node: NodeProto) -> Value:
    x = build.of(node.input[0])
    axis = attribute(node, "axis", 0) % len(x.shape)
    if axis == x.batch:
        build.apart(f"Gather (node {node.name!r}) picks along the axis that counts samples")
    if not build.is_fixed(node, 1):
        places = build.of(node.input[1])
        return build.call(embedded, places, x) if axis == 0 and len(x.shape) == 2 else build.call(picked_along, x, places, axis)
    stored = positive(build.fixed(node, 1), x.shape[axis])
    if stored.ndim == 0:
        return build.call(torch.select, x, axis, int(stored))
    picked = build.call(torch.index_select, x, axis, build.hold(stored.ravel()))
    return picked if stored.ndim == 1 else build.call(torch.unflatten, picked, axis, list(stored.shape))


def positive(places: Array | None, size: int) -> Array:
    found = np.asarray(places, np.int64)
    return np.where(found < 0, found + size, found)


def counted(places: Any, size: int) -> Any:
    """Indices from the start: negative ones count from the end."""
    return torch.where(places < 0, places + size, places).to(torch.int64)


def embedded(places: Any, table: Any) -> Any:
    return F.embedding(counted(places, table.shape[0]), table)


def picked_along(x: Any, places: Any, axis: int) -> Any:
    found = torch.index_select(x, axis, counted(places, x.shape[axis]).reshape(-1))
    return found.reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])


def gather_elements(build: Build, node: NodeProto) -> Value:
    x, places = build.all(node)
    axis = attribute(node, "axis", 0) % len(x.shape)
    return build.call(elements, x, alike(build, places, x), axis)


def elements(x: Any, places: Any, axis: int) -> Any:
    return torch.gather(x, axis, counted(places, x.shape[axis]))


def alike(build: Build, value: Value, x: Value) -> Value:
    """Stored values of one sample for every sample of `x`."""
    return value if x.batch is None or value.batch is not None else build.call(spread, value, x, x.batch)


def scatter_elements(build: Build, node: NodeProto) -> Value:
    x, places, updates = build.all(node)
    how = attribute(node, "reduction", b"none").decode()
    axis = attribute(node, "axis", 0) % len(x.shape)
    return build.call(scattered, x, alike(build, places, x), alike(build, updates, x), axis, how)


REDUCED = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def scattered(x: Any, places: Any, updates: Any, axis: int, how: str) -> Any:
    places = counted(places, x.shape[axis])
    return torch.scatter(x, axis, places, updates) if how == "none" else torch.scatter_reduce(x, axis, places, updates, REDUCED[how])


def gather_nd(build: Build, node: NodeProto) -> Value:
    x, places = build.all(node)
    return build.call(picked_nd, x, places, attribute(node, "batch_dims", 0))


def picked_nd(x: Any, places: Any, batches: int) -> Any:
    """ONNX operators, GatherND: the last axis of `places` holds indices into the axes of x after the first `batches`."""
    depth = places.shape[-1]
    lead = [
        torch.arange(size, device=x.device).reshape([-1 if one == axis else 1 for one in range(places.dim() - 1)])
        for axis, size in enumerate(x.shape[:batches])
    ]
    return x[(*lead, *(counted(places[..., one], x.shape[batches + one]) for one in range(depth)))]


def scatter_nd(build: Build, node: NodeProto) -> Value:
    x, places, updates = build.all(node)
    how = attribute(node, "reduction", b"none").decode()
    if how not in ("none", "add"):
        raise refusal(node, f"there is no PyTorch form of the reduction {how!r} here")
    if x.batch is not None:
        build.apart(f"ScatterND (node {node.name!r}) writes at indices that name the sample")
    return build.call(placed_nd, x, places, updates, how == "add")


def placed_nd(x: Any, places: Any, updates: Any, add: bool) -> Any:
    index = tuple(counted(places[..., one], x.shape[one]) for one in range(places.shape[-1]))
    return torch.index_put(x, index, updates, accumulate=add)


def where(build: Build, node: NodeProto) -> Value:
    return build.call(torch.where, *build.all(node))


def tile(build: Build, node: NodeProto) -> Value:
    x, counts = build.of(node.input[0]), [int(one) for one in build.fixed(node, 1)]  # type: ignore[union-attr]  # never left out
    if x.batch is not None and counts[x.batch] != 1:
        build.apart(f"Tile (node {node.name!r}) repeats along the axis that counts samples")
    return build.call(torch.Tensor.repeat, x, counts)


def depth_to_space(build: Build, node: NodeProto) -> Value:
    """ONNX operators, DepthToSpace: CRD is torch's pixel_shuffle, DCR has the block before the channels."""
    x, block = build.of(node.input[0]), attribute(node, "blocksize")
    if attribute(node, "mode", b"DCR").decode() == "CRD":
        return build.call(F.pixel_shuffle, x, block)
    return build.call(shuffled, x, block)


def shuffled(x: Any, block: int) -> Any:
    n, c, h, w = x.shape
    turned = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return turned.reshape(n, c // block**2, h * block, w * block)


def space_to_depth(build: Build, node: NodeProto) -> Value:
    """ONNX operators, SpaceToDepth: the inverse of DepthToSpace, of the mode DCR as long as nothing else is said."""
    crd = attribute(node, "mode", b"DCR").decode() == "CRD"
    return build.call(F.pixel_unshuffle if crd else unshuffled, build.of(node.input[0]), attribute(node, "blocksize"))


def unshuffled(x: Any, block: int) -> Any:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4).reshape(n, c * block**2, h // block, w // block)


def trilu(build: Build, node: NodeProto) -> Value:
    k = build.fixed(node, 1)
    return build.call(torch.triu if attribute(node, "upper", 1) else torch.tril, build.of(node.input[0]), 0 if k is None else int(k.item()))


def one_hot(build: Build, node: NodeProto) -> Value:
    places, depth, values = build.of(node.input[0]), build.fixed(node, 1), build.of(node.input[2])
    axis = attribute(node, "axis", -1)
    return build.call(marked, places, values, int(np.asarray(depth).item()), axis % (len(places.shape) + 1))


def marked(places: Any, values: Any, depth: int, axis: int) -> Any:
    """`values[1]` where the index is, `values[0]` elsewhere; an index outside −depth..depth−1 marks nothing."""
    row = torch.arange(depth, device=places.device).reshape([-1 if one == axis else 1 for one in range(places.dim() + 1)])
    found = torch.where(places < 0, places + depth, places).unsqueeze(axis) == row
    return torch.where(found, values[1], values[0])


OPERATORS: dict[str, Any] = {
    "Pad": pad,
    "Slice": slice_,
    "Split": split,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Where": where,
    "Tile": tile,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Trilu": trilu,
    "OneHot": one_hot,
}
