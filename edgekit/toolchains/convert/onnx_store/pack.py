"""A constant of an ONNX model in; the fewest bytes that give it back bit for bit, with the standard operators that do so, out.

Few different values: their numbers as digits of a byte (base 3 holds five of ternary weights, base 16 two of a palette). Many zeros: a bit
for each value that says whether it is zero, and the others in a row. ONNX Runtime computes all of it once, when a session is made, so
such a file is as fast as with the constant as it was, and takes that much memory while it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgekit.hub.graph import array

Array = np.ndarray[Any, Any]

LEAST_BYTES = 256
"""Of a smaller constant the nodes take more than they save."""

NODE_BYTES = 40
"""What a node of a chain takes in the file, with the names of its ends."""

MOST_VALUES = 16
"""Of more than these not two fit into a byte."""


@dataclass(slots=True)
class Chain:
    """Constants, and the nodes that make one tensor of them."""

    name: str
    """Of the tensor to be; the inner ones have it before a number."""
    tensors: list[onnx.TensorProto] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def constant(self, values: Array) -> str:
        self.tensors.append(numpy_helper.from_array(values, f"{self.name}:c{len(self.tensors)}"))
        return str(self.tensors[-1].name)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [f"{self.name}:{len(self.nodes)}"], **attributes))
        return str(self.nodes[-1].output[0])

    @property
    def nbytes(self) -> int:
        return sum(len(tensor.raw_data) for tensor in self.tensors) + NODE_BYTES * (len(self.nodes) + len(self.tensors))

    def replace(self, model: onnx.ModelProto) -> None:
        """Take the place of the constant whose name it has: the last node gives it."""
        (old,) = (tensor for tensor in model.graph.initializer if tensor.name == self.name)
        model.graph.initializer.remove(old)
        model.graph.initializer.extend(self.tensors)
        self.nodes[-1].output[0] = self.name
        for node in reversed(self.nodes):
            model.graph.node.insert(0, node)


def pack(model: onnx.ModelProto) -> int:
    """Each constant of the main graph in its fewest bytes; how many bytes that saves."""
    outputs = {value.name for value in model.graph.output}
    saved = 0
    for tensor in list(model.graph.initializer):
        chain = packed(tensor.name, array(tensor)) if tensor.name not in outputs and 0 not in tensor.dims else None
        if chain is not None:
            saved += len(tensor.raw_data) - chain.nbytes
            chain.replace(model)
    return saved


def packed(name: str, values: Array) -> Chain | None:
    """The smallest chain that gives these values; None where they take the fewest bytes as they are."""
    if values.nbytes < LEAST_BYTES:
        return None
    chains = []
    for build in (dense, masked):
        chain = Chain(name)
        if (flat := build(chain, values.reshape(-1))) is not None:
            chain.node("Reshape", flat, chain.constant(np.array(values.shape, np.int64)))
            chains.append(chain)
    best = min(chains, key=lambda one: one.nbytes, default=None)
    return best if best is not None and best.nbytes < values.nbytes else None


def dense(chain: Chain, flat: Array) -> str | None:
    """Numbers of values, and the values; None where there are too many different ones."""
    palette = different(flat)
    if palette is None:
        return None
    codes = np.searchsorted(palette, flat)
    return chain.node("Gather", chain.constant(palette), digits(chain, codes, max(len(palette), 2)))


def masked(chain: Chain, flat: Array) -> str | None:
    """A bit for each value, and the values that are not zero: the place of one among them is the number of ones up to its own."""
    kept = flat != 0
    if kept.mean() > 0.75 or not kept.any():  # a bit each is more than is saved, even of 4-bit values
        return None
    bits = digits(chain, kept.astype(np.int64), 2)
    counted = chain.node("CumSum", bits, chain.constant(np.array(0, np.int32)))
    places = chain.node("Mul", counted, bits)
    zero = np.zeros(1, flat.dtype)
    others = dense(chain, flat[kept])
    if others is None:
        rows = chain.constant(np.concatenate([zero, flat[kept]]))
    else:
        rows = chain.node("Concat", chain.constant(zero), others, axis=0)
    return chain.node("Gather", rows, places)


def different(flat: Array) -> Array | None:
    """The different values, in order, where they are few."""
    if len(np.unique(flat[:4096])) > MOST_VALUES:
        return None
    found = np.unique(flat)
    return found if len(found) <= MOST_VALUES else None


def in_a_byte(base: int) -> int:
    """How many digits of a base a byte holds."""
    count = 1
    while base ** (count + 1) <= 256:
        count += 1
    return count


def digits(chain: Chain, codes: Array, base: int) -> str:
    """Codes below `base`, several in a byte, and the nodes that make a row of int32 of them."""
    powers = base ** np.arange(in_a_byte(base))[::-1]
    whole = np.append(codes, np.zeros(-codes.size % powers.size, codes.dtype)).reshape(-1, powers.size)
    stored = chain.constant((whole @ powers).astype(np.uint8).reshape(-1, 1))
    wide = chain.node("Cast", stored, to=onnx.TensorProto.INT32)
    shifted = chain.node("Div", wide, chain.constant(powers.astype(np.int32)))
    single = chain.node("Mod", shifted, chain.constant(np.array(base, np.int32)))
    row = chain.node("Reshape", single, chain.constant(np.array([-1], np.int64)))
    if whole.size == codes.size:
        return row
    return chain.node("Slice", row, chain.constant(np.array([0], np.int64)), chain.constant(np.array([codes.size], np.int64)))
