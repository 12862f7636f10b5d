"""A hub and the channels that stay in, the smaller hub out: weights sliced, shapes and sizes corrected, the Spec's entries sliced with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from edgekit.compress.groups.tracing import Array, Trace
from edgekit.hub.compressed import Grid, Sparse, Spec, block_axis
from edgekit.hub.figures import GATES
from edgekit.hub.graph import array, attribute, readers, set_attribute, static_shape, title
from edgekit.hub.shapes import infer


def cut(model: ModelProto, spec: Spec, trace: Trace, stays: Array) -> list[str]:
    """Remove all other channels, in place. Returns notes of what the Spec lost.

    Args:
        stays: bool [channels of the trace].
    """
    corrections = Corrections(model, trace, stays)
    for node in model.graph.node:
        corrections.correct(node)
    notes: list[str] = []
    sliced: dict[str, dict[int, Array]] = {}
    for (name, axis), slot in trace.slots.items():
        kept = stays[slot.channels]
        if not kept.all():
            sliced.setdefault(name, {})[axis] = kept
    for name, masks in sliced.items():
        tensor = trace.stored[name]
        values = array(tensor)
        if name in spec.tensors:
            notes += slice_spec(spec, name, values, masks, any(trace.slots[name, axis].makes for axis in masks))
        for axis, kept in masks.items():
            values = np.compress(kept, values, axis=axis)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))
    for name in spec.activations:
        spec.activations[name] = slice_range(spec.activations[name], [None if c is None else stays[c] for c in trace.axes.get(name, ())])
    corrections.drop_unread()
    boundary = [static_shape(value) for value in model.graph.output]
    for value in model.graph.value_info:
        for axis, size in enumerate(corrections.shape(value.name) if value.name in trace.shapes else ()):
            value.type.tensor_type.shape.dim[axis].dim_value = size
    infer(model)
    assert [static_shape(value) for value in model.graph.output] == boundary, "channels of an output were cut"
    return notes


def slice_spec(spec: Spec, name: str, values: Array, masks: dict[int, Array], outputs: bool) -> list[str]:
    """Slice what is known of a tensor as the tensor is sliced. Notes say what no longer holds; the values hold as they are.

    Args:
        outputs: one of the sliced axes is that of output channels.
    """
    known, notes = spec.tensors[name], []
    pattern = "any" if known.sparse is None else known.sparse.pattern
    if pattern != "any" and (outputs if pattern.startswith("block") else len(masks) > outputs):
        notes.append(f"{name}: its zeros stay, no longer as {pattern}, whose neighbours were cut apart")
        known.sparse = Sparse()
    if known.palette is not None and known.palette.axis in masks and known.palette.group > 1:
        known.palette = replace(known.palette, group=1)
    grid = known.grid
    if grid is not None and grid.axis is not None:
        along = None if grid.block is None else block_axis(grid.axis)
        if along is not None and along in masks:
            notes.append(f"{name}: its values stay, its blocks of {grid.block} on one scale were cut apart and are no longer known")
            known.grid = None
        elif grid.axis in masks:
            shape = scales_shape(values, grid)
            axis = grid.axis if along is not None else 0
            scale, zero = (np.compress(masks[grid.axis], np.reshape(part, shape), axis=axis).ravel() for part in (grid.scale, grid.zero_point))
            known.grid = replace(grid, scale=tuple(scale.tolist()), zero_point=tuple(zero.tolist()))
    return notes


def scales_shape(values: Array, grid: Grid) -> list[int]:
    """One scale for each slice; with blocks, for each slice and block, in the order of the tensor's own axes."""
    assert grid.axis is not None
    if grid.block is None:
        return [values.shape[grid.axis]]
    shape = [1] * values.ndim
    shape[grid.axis], shape[block_axis(grid.axis)] = values.shape[grid.axis], -1
    return shape


def slice_range(grid: Grid, kept: list[Array | None]) -> Grid:
    """The grid of a computed tensor: its slices' scales go with them."""
    mask = kept[grid.axis] if grid.axis is not None and kept else None
    if mask is None or mask.all() or len(grid.scale) != len(mask):
        return grid
    both = [tuple(np.compress(mask, part).tolist()) for part in (grid.scale, grid.zero_point)]
    return replace(grid, scale=both[0], zero_point=both[1])


class Corrections:
    """Sizes that nodes have as attributes or stored inputs, as they are with fewer channels."""

    def __init__(self, model: ModelProto, trace: Trace, stays: Array) -> None:
        self.graph, self.trace, self.stays = model.graph, trace, stays
        self.dropped: set[str] = set()

    def kept(self, name: str, axis: int) -> Array | None:
        """bool along an axis of a computed tensor; None where nothing goes."""
        axes = self.trace.axes.get(name)
        mask = None if axes is None or axes[axis] is None else self.stays[axes[axis]]
        return None if mask is None or mask.all() else mask

    def size(self, name: str, axis: int) -> int:
        mask = self.kept(name, axis)
        return self.trace.shapes[name][axis] if mask is None else int(mask.sum())

    def shape(self, name: str) -> list[int]:
        return [self.size(name, axis) for axis in range(len(self.trace.shapes[name]))]

    def correct(self, node: NodeProto) -> None:
        kind = node.op_type
        if kind in ("Reshape", "Expand"):
            self.target(node, 1, list(range(len(self.trace.shapes[node.output[0]]))))
        elif kind == "Resize" and len(node.input) > 3 and node.input[3]:
            rank = len(self.trace.shapes[node.output[0]])
            self.target(node, 3, [axis % rank for axis in attribute(node, "axes", range(rank))])
        elif kind == "Split":
            self.split(node)
        elif kind == "Slice":
            self.part(node)
        elif kind == "Gather" and node.input[0] not in self.trace.stored:
            self.gather(node)
        elif kind in ("Conv", "ConvTranspose") and attribute(node, "group", 1) > 1:
            group = int(attribute(node, "group"))
            mask = self.kept(node.input[0], 1)
            if mask is not None:
                set_attribute(node, "group", int(mask.reshape(group, -1)[:, 0].sum()))
        elif kind == "GroupNormalization":
            mask = self.kept(node.input[0], 1)
            if mask is not None:
                set_attribute(node, "num_groups", int(mask.reshape(attribute(node, "num_groups"), -1)[:, 0].sum()))
        elif kind in GATES and (name := next((name for name in node.output if name), None)):
            set_attribute(node, "hidden_size", self.size(name, len(self.trace.shapes[name]) - 1))

    def target(self, node: NodeProto, position: int, axes: list[int]) -> None:
        """A shape that a node is to give: what was spelt out and has changed is spelt anew; 0, −1 and what is spread from 1 stay."""
        old, new = self.trace.shapes[node.output[0]], self.shape(node.output[0])
        values = self.trace.values(node.input[position])
        if old == new or values is None:
            return
        offset = len(old) - len(values) if node.op_type == "Expand" else 0
        corrected = [new[axes[i] + offset] if value == old[axes[i] + offset] else value for i, value in enumerate(values.tolist())]
        self.put(node, position, np.asarray(corrected, np.int64))

    def split(self, node: NodeProto) -> None:
        axis = int(attribute(node, "axis", 0)) % len(self.trace.shapes[node.input[0]])
        if self.kept(node.input[0], axis) is not None:
            set_attribute(node, "num_outputs", None)
            self.put(node, 1, np.asarray([self.size(name, axis) for name in node.output], np.int64))

    def part(self, node: NodeProto) -> None:
        """Where a run of channels starts and ends among those that stay."""
        shape = self.trace.shapes[node.input[0]]
        starts, ends = (self.trace.values(name) for name in node.input[1:3])
        if starts is None or ends is None:
            return
        axes = self.trace.values(node.input[3]) if len(node.input) > 3 and node.input[3] else np.arange(len(starts))
        assert axes is not None
        new_starts, new_ends = starts.copy(), ends.copy()
        for place, axis in enumerate(axes.tolist()):
            mask = self.kept(node.input[0], axis % len(shape))
            if mask is None:
                continue
            first, last, _ = slice(int(starts[place]), int(ends[place])).indices(shape[axis])
            new_starts[place], new_ends[place] = mask[:first].sum(), mask[:last].sum()
        if not (np.array_equal(starts, new_starts) and np.array_equal(ends, new_ends)):
            self.put(node, 1, new_starts)
            self.put(node, 2, new_ends)

    def gather(self, node: NodeProto) -> None:
        axis = int(attribute(node, "axis", 0)) % len(self.trace.shapes[node.input[0]])
        mask, chosen = self.kept(node.input[0], axis), self.trace.values(node.input[1])
        if mask is not None and chosen is not None and chosen.ndim == 1:
            place = np.cumsum(mask) - 1
            self.put(node, 1, place[chosen[mask[chosen]]].astype(chosen.dtype))

    def put(self, node: NodeProto, position: int, values: Array) -> None:
        """Give a node a stored input of its own."""
        while len(node.input) <= position:
            node.input.append("")
        old = node.input[position]
        name = f"{title(node)}/{old or 'sizes'}/cut"
        if old:
            self.dropped.add(old)
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        node.input[position] = name

    def drop_unread(self) -> None:
        read = readers(self.graph)
        for index in range(len(self.graph.initializer) - 1, -1, -1):
            name = self.graph.initializer[index].name
            if name in self.dropped and name not in read:
                del self.graph.initializer[index]
