"""A hub in, the same function out, with nothing read of channels that are the same for every input: what they add is in the biases behind them.

A filter or neuron whose weights are all zero gives its bias, and what activations and poolings make of it. The next Conv without padding, or the next
Gemm, reads the same number everywhere, so its bias can take its place, exactly, and its own weights of that channel become zero: `channels` then
removes it first, and nothing changes.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgekit.compress.groups import Trace, trace
from edgekit.compress.wish import Array
from edgekit.hub.compressed import Spec
from edgekit.hub.graph import array, attribute, readers, title
from edgekit.hub.kinds import UNARY

ALIKE = ("Flatten", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""What gives a number where it reads that number alone."""

Known = tuple[Array, Array]
"""Channels, and the number that each is wherever it lies in a tensor."""


def fold_constant_channels(model: ModelProto, spec: Spec) -> list[str]:
    """Move what constant channels add into biases, in place. Returns a note where any did.

    Layers whose weights or biases have an entry in the Spec stay as they are.
    """
    traced = trace(model)
    known: dict[str, Known] = {}
    moved = 0
    for node in list(model.graph.node):
        if node.op_type in ("Conv", "Gemm") and node.input[1] in traced.stored:
            if node.input[0] in known and not spec.tensors.keys() & {*node.input}:
                moved += move(model, traced, node, known[node.input[0]])
            found = silent(traced, node)
        elif node.input and node.input[0] in known and not any(traced.shapes[name] for name in node.input[1:] if name and node.op_type in UNARY):
            found = passed(traced, node, known[node.input[0]])
        else:
            found = None
        if found is not None and len(found[0]):
            known[node.output[0]] = found
    return [f"what {moved} channels that are the same for every input add is in the biases behind them"] if moved else []


def silent(traced: Trace, node: NodeProto) -> Known | None:
    """The channels that a layer makes with zeros alone, and its bias there."""
    made = traced.of(node.output[0])[1]
    axis = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
    bias = node.input[2] if len(node.input) > 2 else ""
    if made is None or (bias and (bias not in traced.stored or len(traced.shapes[bias]) != 1 or traced.shapes[bias] != [len(made)])):
        return None
    values = traced.values(node.input[1])
    assert values is not None
    zero = ~values.any(axis=tuple(place for place in range(values.ndim) if place != axis))
    given = array(traced.stored[bias]) * attribute(node, "beta", 1.0) if bias else np.zeros(len(made), np.float32)
    return made[zero], given[zero]


def passed(traced: Trace, node: NodeProto, known: Known) -> Known | None:
    """What a node makes of constant channels, if it gives constants and the channels keep their names."""
    channels, numbers = known
    after = [one for one in traced.of(node.output[0]) if one is not None]
    if len(after) != 1:
        return None
    if node.op_type in UNARY and node.op_type != "Cast":
        given = {name: traced.values(name) for name in node.input[1:] if name}
        if any(value is None for value in given.values()):
            return None
        alone = NodeProto()
        alone.CopyFrom(node)
        made: list[Array] = ReferenceEvaluator(alone).run(None, {node.input[0]: numbers, **given})  # type: ignore[assignment]
        return channels, np.asarray(made[0], np.float32)
    before = next(one for one in traced.of(node.input[0]) if one is not None)
    if node.op_type not in ALIKE or not np.array_equal(np.unique(before), np.unique(after[0])):
        return None
    return channels, numbers


def move(model: ModelProto, traced: Trace, node: NodeProto, known: Known) -> int:
    """Put what constant channels add to a layer into its bias. How many."""
    weights = traced.stored[node.input[1]]
    axis = 1 if node.op_type == "Conv" or attribute(node, "transB", 0) else 0
    padded = node.op_type == "Conv" and any(attribute(node, "pads", [0]))
    channels, numbers = known
    slot = traced.slots.get((weights.name, axis))
    plain = (("group", 1), ("transA", 0), ("alpha", 1.0), ("beta", 1.0))
    if slot is None or any(attribute(node, name, value) != value for name, value in plain) or len(readers(model.graph)[weights.name]) > 1:
        return 0
    values = array(weights).copy()
    here = np.moveaxis(values, axis, 0)
    number = np.zeros(traced.count, np.float32)
    is_known = np.zeros(traced.count, bool)
    number[channels], is_known[channels] = numbers, True
    if padded:
        is_known &= number == 0
    mask = is_known[slot.channels] & here.any(axis=tuple(range(1, here.ndim)))
    if not mask.any():
        return 0
    added = np.tensordot(number[slot.channels][mask], here[mask], axes=1)
    added = added.reshape(len(added), -1).sum(axis=1)
    if not change_bias(model, traced, node, added):
        return 0
    here[mask] = 0
    store(weights, values)
    return len(np.unique(slot.channels[mask]))


def change_bias(model: ModelProto, traced: Trace, node: NodeProto, added: Array) -> bool:
    """Add to a layer's bias; one that others read too is copied, one that is computed is left."""
    name = node.input[2] if len(node.input) > 2 else ""
    if name and (name not in traced.stored or math.prod(traced.shapes[name]) != len(added)):
        return False
    if name and len(readers(model.graph)[name]) == 1:
        bias = traced.stored[name]
        store(bias, array(bias) + added.reshape(bias.dims))
        return True
    old = array(traced.stored[name]).ravel() if name else np.zeros(len(added), np.float32)
    made = numpy_helper.from_array(np.asarray(old + added, array(traced.stored[node.input[1]]).dtype), f"{title(node)}/bias")
    model.graph.initializer.append(made)
    traced.stored[made.name], traced.shapes[made.name] = model.graph.initializer[-1], [len(added)]
    while len(node.input) < 3:
        node.input.append("")
    node.input[2] = made.name
    return True


def store(tensor: TensorProto, values: Array) -> None:
    """Put values into an initializer; it keeps its name and its type."""
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, array(tensor).dtype), tensor.name))
