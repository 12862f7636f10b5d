"""Rules of operators that move channels: views, transposes, joins, parts, and blocks of places turned into channels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from onnx import NodeProto

from edgekit.compress.groups.tracing import Array, Channels, Trace
from edgekit.hub.graph import attribute, title

STACKED = 3
"""A view that splits channels into up to so many parts in front and others behind stacks what belongs together (Q, K and V; the halves of a
channel shuffle), so the next axis names the channels; with more parts in front these are heads, and go whole."""


def blocks(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Runs of axes of a view's two shapes that hold the same elements; axes of one element are in none."""
    left, right = ([axis for axis, size in enumerate(shape) if size != 1] for shape in (before, after))
    while left and right:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        while (here := math.prod(before[axis] for axis in ours)) != (there := math.prod(after[axis] for axis in theirs)):
            if here < there:
                ours.append(left.pop(0))
            else:
                theirs.append(right.pop(0))
        yield ours, theirs


def view(trace: Trace, node: NodeProto) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: axes that stay keep their channels; a merged axis has runs of them, a split one names them by one part."""
    before, after = trace.shapes[node.input[0]], trace.shapes[node.output[0]]
    given = trace.of(node.input[0])
    if 0 in before or math.prod(before) != math.prod(after):
        trace.unknown(node)
        return
    found: list[Channels] = [None] * len(after)
    for ours, theirs in blocks(before, after):
        flat = merged(trace, node, [given[axis] for axis in ours], [before[axis] for axis in ours])
        if flat is not None:
            place, channels = parted(trace, flat.reshape([after[axis] for axis in theirs]))
            found[theirs[place]] = channels
    trace.axes[node.output[0]] = found


def merged(trace: Trace, node: NodeProto, given: Sequence[Channels], sizes: Sequence[int]) -> Channels:
    """The channels along several axes seen as one: those of the first axis that has any."""
    known = [place for place, channels in enumerate(given) if channels is not None]
    if not known:
        return None
    for place in known[1:]:
        trace.freeze(given[place], f"{node.op_type} {title(node)!r} mixes them with others")
    shape = [size if place == known[0] else 1 for place, size in enumerate(sizes)]
    channels = given[known[0]]
    assert channels is not None
    return np.broadcast_to(channels.reshape(shape), sizes).ravel()


def parted(trace: Trace, channels: Array) -> tuple[int, Array]:
    """The axis of a split that names the channels, and its channels: one along which alone they differ, else heads, tied over the other axes."""
    places = [place for place, size in enumerate(channels.shape)]
    for place in places:
        first = lone(channels, place)
        if np.array_equal(np.broadcast_to(np.expand_dims(first, [other for other in places if other != place]), channels.shape), channels):
            return place, first
    place = 1 if channels.shape[0] <= STACKED else 0
    rows = np.moveaxis(channels, place, 0).reshape(channels.shape[place], -1)
    for other in rows.T[1:]:
        trace.tie(rows[:, 0], other, "")
    return place, rows[:, 0]


def lone(channels: Array, place: int) -> Array:
    """Channels along one axis, at the start of all others."""
    return np.moveaxis(channels, place, 0).reshape(channels.shape[place], -1)[:, 0]


def transpose(trace: Trace, node: NodeProto) -> None:
    given = trace.of(node.input[0])
    trace.axes[node.output[0]] = [given[axis] for axis in attribute(node, "perm", range(len(given))[::-1])]


def concat(trace: Trace, node: NodeProto) -> None:
    """Runs of channels side by side; what are no channels stays among them. Other axes are tied."""
    rank = len(trace.shapes[node.output[0]])
    joined = int(attribute(node, "axis")) % rank
    why = f"Concat {title(node)!r} joins them with what is computed without weights"
    computed = [name for name in node.input if name not in trace.stored]
    found: list[Channels] = []
    for axis in range(rank):
        parts = [trace.of(name)[axis] for name in computed]
        known = [part for part in parts if part is not None]
        if axis == joined:
            found.append(np.concatenate([section(trace, name, axis, why) for name in node.input]) if known else None)
            continue
        for part in parts if known else ():
            trace.tie(known[0], part, why)
        found.append(known[0] if known else None)
    for name in node.input:
        if name in trace.stored:
            trace.use(name, [None if axis == joined else channels for axis, channels in enumerate(found)])
    trace.axes[node.output[0]] = found


def section(trace: Trace, name: str, axis: int, why: str) -> Array:
    """One part of a joined axis."""
    channels = None if name in trace.stored else trace.of(name)[axis]
    return trace.inert(trace.shapes[name][axis], why) if channels is None else channels


def split(trace: Trace, node: NodeProto) -> None:
    """Runs of channels, each a tensor of its own."""
    given = trace.of(node.input[0])
    axis = int(attribute(node, "axis", 0)) % len(given)
    start = 0
    for name in node.output:
        if not name:
            trace.unknown(node)
            return
        size = trace.shapes[name][axis]
        own = given[axis]
        trace.axes[name] = [*given[:axis], None if own is None else own[start : start + size], *given[axis + 1 :]]
        start += size


def part(trace: Trace, node: NodeProto) -> None:
    """Slice: a run of channels."""
    given = list(trace.of(node.input[0]))
    values = [trace.values(name) if name else None for name in node.input[1:]]
    if any(name and value is None for name, value in zip(node.input[1:], values, strict=True)) or values[0] is None or values[1] is None:
        trace.unknown(node)
        return
    starts, ends = values[0], values[1]
    axes = values[2] if len(values) > 2 and values[2] is not None else np.arange(len(starts))
    steps = values[3] if len(values) > 3 and values[3] is not None else np.ones(len(starts), int)
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes.tolist(), steps.tolist(), strict=True):
        channels = given[axis]
        if channels is None:
            continue
        if step != 1:
            trace.freeze(channels, f"Slice {title(node)!r} takes one in {step}")
        given[axis] = channels[start:end:step]
    trace.axes[node.output[0]] = given


def gather(trace: Trace, node: NodeProto) -> None:
    """Rows of a table (an embedding): its columns are new channels. Of a computed tensor: channels in the order of the indices."""
    data, indices = node.input
    shape, rank = trace.shapes[data], len(trace.shapes[indices])
    axis = int(attribute(node, "axis", 0)) % len(shape)
    for channels in trace.axes.get(indices, ()):
        trace.freeze(channels, f"Gather {title(node)!r} takes them for indices")
    if data in trace.stored:
        made = trace.fresh(shape[-1]) if len(shape) == 2 and axis == 0 else None
        trace.use(data, [None, made] if len(shape) == 2 else [None] * len(shape), makes=1)
        trace.axes[node.output[0]] = [*[None] * (len(trace.shapes[node.output[0]]) - 1), made]
        return
    given = trace.of(data)
    taken: list[Channels] = [None] * rank
    own, chosen = given[axis], trace.values(indices)
    if own is not None and rank == 1 and chosen is not None and len(np.unique(chosen)) == len(chosen):
        taken = [own[chosen]]
    else:
        trace.freeze(own, f"Gather {title(node)!r} picks some of them")
    trace.axes[node.output[0]] = [*given[:axis], *taken, *given[axis + 1 :]]


def pad(trace: Trace, node: NodeProto) -> None:
    """Elements added to an axis of channels stay."""
    given = list(trace.of(node.input[0]))
    why = f"Pad {title(node)!r} adds to them"
    rank = len(given)
    pads = trace.values(node.input[1]) if len(node.input) > 1 else np.asarray(attribute(node, "pads"))
    listed = trace.values(node.input[3]) if len(node.input) > 3 and node.input[3] else np.arange(rank)
    if pads is None or listed is None:
        trace.unknown(node)
        return
    for place, axis in enumerate(listed.tolist()):
        before, after = int(pads[place]), int(pads[place + len(listed)])
        channels = given[axis]
        if channels is None or not (before or after):
            continue
        if min(before, after) < 0 or attribute(node, "mode", b"constant") != b"constant":
            trace.unknown(node)
            return
        given[axis] = np.concatenate([trace.inert(before, why), channels, trace.inert(after, why)])
    trace.axes[node.output[0]] = given


def tile(trace: Trace, node: NodeProto) -> None:
    repeats = trace.values(node.input[1])
    if repeats is None:
        trace.unknown(node)
        return
    trace.axes[node.output[0]] = [None if c is None else np.tile(c, int(n)) for c, n in zip(trace.of(node.input[0]), repeats, strict=True)]


def expand(trace: Trace, node: NodeProto) -> None:
    given = [] if node.input[0] in trace.stored else trace.of(node.input[0])
    trace.axes[node.output[0]] = [*[None] * (len(trace.shapes[node.output[0]]) - len(given)), *given]


def depth_to_space(trace: Trace, node: NodeProto) -> None:
    """All channels that become one go together (ONNX operators, DepthToSpace: modes DCR and CRD)."""
    channels, block = trace.of(node.input[0])[1], int(attribute(node, "blocksize"))
    for axis, other in enumerate(trace.of(node.input[0])):
        if axis != 1:
            trace.freeze(other, f"{node.op_type} {title(node)!r} takes them for places")
    if channels is not None:
        crd = attribute(node, "mode", b"DCR") == b"CRD"
        together = channels.reshape(-1, block * block) if crd else channels.reshape(block * block, -1).T
        for other in together.T[1:]:
            trace.tie(together[:, 0], other, "")
        channels = together[:, 0] if len(together) > 1 else None
        if channels is None:
            trace.freeze(together, f"{node.op_type} {title(node)!r} makes one channel of them")
    trace.axes[node.output[0]] = [None, channels, None, None]


def space_to_depth(trace: Trace, node: NodeProto) -> None:
    channels, block = trace.of(node.input[0])[1], int(attribute(node, "blocksize"))
    trace.axes[node.output[0]] = [None, None if channels is None else np.tile(channels, block * block), None, None]
