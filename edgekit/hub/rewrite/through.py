"""A node of transposed inputs in, the same node on the inputs as they were before out, and how its result then has to be transposed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from edgekit.hub.graph import array, attribute
from edgekit.hub.kinds import ELEMENTWISE, UNARY

REDUCTIONS = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare"}


@dataclass(slots=True)
class Moved:
    """What a node becomes: its inputs (a transposed one by its name still), new stored tensors, and the transpose behind it."""

    inputs: list[str]
    perm: list[int]
    stored: list[TensorProto] = field(default_factory=list)
    attributes: dict[str, int | list[int]] = field(default_factory=dict)
    place: str = ""
    """The node's result, in which the names of its new constants end."""

    def store(self, index: int, values: np.ndarray) -> None:  # type: ignore[type-arg]
        """Give the node another constant."""
        self.inputs[index] = f"{self.inputs[index]}/{index}/{self.place}"
        self.stored.append(numpy_helper.from_array(np.ascontiguousarray(values), self.inputs[index]))


Stored = Mapping[str, TensorProto]


def through(node: NodeProto, perm: list[int], stored: Stored, turned: Collection[str]) -> Moved | None:
    """The node on the untransposed inputs, or None where it cannot be had, or would be no better.

    Args:
        perm: of every input in `turned`; all other inputs have to be stored.
    """
    kind = "elementwise" if node.op_type in ELEMENTWISE else "unary" if node.op_type in UNARY else "reduction" if node.op_type in REDUCTIONS else node.op_type
    rule = RULES.get(kind)
    others = [name for name in node.input if name and name not in turned]
    if rule is None or any(name not in stored for name in others):
        return None
    moved = Moved(list(node.input), list(perm), place=node.output[0])
    return moved if rule(node, moved, stored, turned) else None


def unary(node: NodeProto, moved: Moved, stored: Stored, turned: Collection[str]) -> bool:
    return node.input[0] in turned


def elementwise(node: NodeProto, moved: Moved, stored: Stored, turned: Collection[str]) -> bool:
    """Constants broadcast from the right, so they get all axes before these are turned back."""
    back = np.argsort(moved.perm)
    for index, name in enumerate(node.input):
        if name in turned:
            continue
        values = array(stored[name])
        if values.ndim > len(back):
            return False
        if values.size > 1:
            moved.store(index, values.reshape((1,) * (len(back) - values.ndim) + values.shape).transpose(back))
    return True


def concat(node: NodeProto, moved: Moved, stored: Stored, turned: Collection[str]) -> bool:
    for index, name in enumerate(node.input):
        if name not in turned:
            moved.store(index, array(stored[name]).transpose(np.argsort(moved.perm)))
    moved.attributes["axis"] = moved.perm[attribute(node, "axis")]
    return True


def pad(node: NodeProto, moved: Moved, stored: Stored, turned: Collection[str]) -> bool:
    if node.input[0] not in turned or len(node.input) < 2 or len(node.input) > 3:
        return False
    before_and_after = array(stored[node.input[1]]).reshape(2, -1)
    moved.store(1, before_and_after[:, np.argsort(moved.perm)].reshape(-1))
    return True


def slices(node: NodeProto, moved: Moved, stored: Stored, turned: Collection[str]) -> bool:
    if node.input[0] not in turned or len(node.input) < 4 or not node.input[3]:
        return False
    axes = array(stored[node.input[3]])
    moved.store(3, np.array([moved.perm[axis] for axis in axes], axes.dtype))
    return True


def softmax(node: NodeProto, moved: Moved, stored: Stored, turned: Collection[str]) -> bool:
    """Only where it stays over the last axis, which is the one that runtimes are fast on."""
    last = len(moved.perm) - 1
    return attribute(node, "axis", -1) % len(moved.perm) == last and moved.perm[last] == last


def reduction(node: NodeProto, moved: Moved, stored: Stored, turned: Collection[str]) -> bool:
    perm, given = moved.perm, attribute(node, "axes")
    if node.input[0] not in turned or (given is None and len(node.input) < 2):
        return False
    axes = [int(axis) % len(perm) for axis in (given if given is not None else array(stored[node.input[1]]))]
    before = sorted(perm[axis] for axis in axes)
    if given is not None:
        moved.attributes["axes"] = before
    else:
        moved.store(1, np.array(before, np.int64))
    if not attribute(node, "keepdims", 1):
        left = [perm[axis] for axis in range(len(perm)) if axis not in axes]
        moved.perm = [sorted(left).index(axis) for axis in left]
    return True


RULES: Mapping[str, Callable[[NodeProto, Moved, Stored, Collection[str]], bool]] = {
    "unary": unary,
    "elementwise": elementwise,
    "reduction": reduction,
    "Concat": concat,
    "Pad": pad,
    "Slice": slices,
    "Softmax": softmax,
    "LogSoftmax": softmax,
}
