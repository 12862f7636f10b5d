"""A constant of an ONNX model in; the fewest bytes that give it back bit for bit, with the standard operators that do so, out.

Few different values: their numbers as digits of a byte (base 3 holds five of ternary weights, base 16 two of a palette). Many zeros: a bit
for each value that says whether it is zero, and the others in a row. ONNX Runtime computes all of it once, when a session is made, so
such a file is as fast as with the constant as it was. It takes no less memory while it runs, and more in making the session: of four million
weights 40 MB as float32, 61 as 4-bit integers, 69 as digits of 16 values, and up to 190 with a bit for each zero (ONNX Runtime 1.31).

Seven to sixteen values are an INT4 or UINT4 tensor where the model may be in opset 21: as many bytes as two digits in each, and one Cast
instead of what takes digits apart. Fewer values stay digits: INT2 needs opset 25 and holds no more of them in a byte. Zeros are not put in
their places by NonZero, which ONNX Runtime would compute in every run.
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

LARGE = 1 << 20
"""So many values are read off a table of what each byte stands for, which is a hundredth of them then, and not computed: ONNX Runtime keeps
what each node of a chain gives until a session is made, and that is half as much."""

LONGEST_GAP = 255
"""A byte says how far it is to the next value."""

MOST_VALUES = 16
"""Of more than these not two fit into a byte."""

FOUR_BITS = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)


@dataclass(slots=True)
class Chain:
    """Constants, and the nodes that make one tensor of them."""

    name: str
    """Of the tensor to be; the inner ones have it before a number."""
    four_bits: bool = False
    """Whether tensors of 4-bit integers may be used: opset 21."""
    tensors: list[onnx.TensorProto] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def constant(self, values: Array) -> str:
        self.tensors.append(numpy_helper.from_array(values, f"{self.name}:c{len(self.tensors)}"))
        return str(self.tensors[-1].name)

    def nibbles(self, values: Array, kind: int) -> str:
        """A constant of 4-bit integers, INT4 or UINT4: two in a byte, the first in the low half (ONNX, Int4 Type)."""
        low = np.append(values.reshape(-1).astype(np.uint8) & 15, np.zeros(values.size % 2, np.uint8))
        stored = (low[0::2] | low[1::2] << 4).tobytes()
        self.tensors.append(helper.make_tensor(f"{self.name}:c{len(self.tensors)}", kind, values.shape, stored, raw=True))
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


def pack(model: onnx.ModelProto, four_bits: bool = False) -> int:
    """Each constant of the main graph in its fewest bytes; how many bytes that saves. With `four_bits` the model may need opset 21 after it."""
    outputs = {value.name for value in model.graph.output}
    saved = 0
    for tensor in list(model.graph.initializer):
        chain = packed(tensor.name, array(tensor), four_bits) if may_be_packed(tensor, outputs) else None
        if chain is not None:
            saved += len(tensor.raw_data) - chain.nbytes
            chain.replace(model)
    return saved


def may_be_packed(tensor: onnx.TensorProto, outputs: set[str]) -> bool:
    return tensor.name not in outputs and 0 not in tensor.dims and tensor.data_type not in FOUR_BITS


def packed(name: str, values: Array, four_bits: bool = False) -> Chain | None:
    """The smallest chain that gives these values; None where they take the fewest bytes as they are."""
    if values.nbytes < LEAST_BYTES:
        return None
    whole = Chain(name, four_bits)
    chains = [whole] if narrow(whole, values) is not None else []
    for build in (masked, scattered) if chains else (dense, masked, scattered):
        chain = Chain(name, four_bits)
        if (flat := build(chain, values.reshape(-1))) is not None:
            if chain.nodes[-1].op_type == "Reshape":
                flat = chain.nodes.pop().input[0]
                chain.tensors.pop()
            chain.node("Reshape", flat, chain.constant(np.array(values.shape, np.int64)))
            chains.append(chain)
    best = min(chains, key=lambda one: one.nbytes, default=None)
    return best if best is not None and best.nbytes < values.nbytes else None


def narrow(chain: Chain, values: Array) -> str | None:
    """A tensor of 4-bit integers, which are the values or their numbers, of the values' shape; None where they are too many, or so few that digits are less."""
    palette = different(values.reshape(-1)) if chain.four_bits else None
    if palette is None or in_a_byte(max(len(palette), 2)) != 2:
        return None
    if values.dtype == np.int8 and palette[0] >= -8 and palette[-1] < 8:
        return chain.node("Cast", chain.nibbles(values, onnx.TensorProto.INT4), to=onnx.TensorProto.INT8)
    codes = chain.nibbles(np.searchsorted(palette, values), onnx.TensorProto.UINT4)
    return chain.node("Gather", chain.constant(palette), chain.node("Cast", codes, to=onnx.TensorProto.INT32))


def dense(chain: Chain, flat: Array) -> str | None:
    """Numbers of values, and the values; None where there are too many different ones."""
    if (found := narrow(chain, flat)) is not None:
        return found
    palette = different(flat)
    if palette is None:
        return None
    codes = np.searchsorted(palette, flat)
    if flat.size >= LARGE:
        return looked_up(chain, codes, palette)
    return chain.node("Gather", chain.constant(palette), digits(chain, codes, max(len(palette), 2)))


def masked(chain: Chain, flat: Array) -> str | None:
    """A bit for each value, and the values that are not zero: the place of one among them is the number of ones up to its own."""
    kept = flat != 0
    if kept.mean() > 0.75 or not kept.any():  # a bit each is more than is saved, even of 4-bit values
        return None
    bits = digits(chain, kept.astype(np.int64), 2) if flat.size < LARGE else looked_up(chain, kept.astype(np.int64), np.array([0, 1], np.int32))
    counted = chain.node("CumSum", bits, chain.constant(np.array(0, np.int32)))
    places = chain.node("Mul", counted, bits)
    zero = np.zeros(1, flat.dtype)
    others = dense(chain, flat[kept])
    if others is None:
        rows = chain.constant(np.concatenate([zero, flat[kept]]))
    else:
        rows = chain.node("Concat", chain.constant(zero), others, axis=0)
    return chain.node("Gather", rows, places)


def scattered(chain: Chain, flat: Array) -> str | None:
    """A byte for each value that is not zero, which says how far it is from the one before; a zero is one of them where that is too far."""
    places = np.flatnonzero(flat)
    if places.size > flat.size // 4 or not places.size:  # a bit for each value is less
        return None
    gaps = np.diff(places, prepend=-1)
    more = (gaps - 1) // LONGEST_GAP
    ends = np.cumsum(more + 1) - 1
    steps = np.full(int(ends[-1]) + 1, LONGEST_GAP, np.uint8)
    steps[ends] = gaps - more * LONGEST_GAP
    values = np.zeros(steps.size, flat.dtype)
    values[ends] = flat[places]
    wide = chain.node("Cast", chain.constant(steps), to=onnx.TensorProto.INT32)
    after = chain.node("CumSum", wide, chain.constant(np.array(0, np.int32)))
    where = chain.node("Sub", after, chain.constant(np.array(1, np.int32)))
    kept = dense(chain, values) or chain.constant(values)
    empty = helper.make_tensor("", helper.np_dtype_to_tensor_dtype(flat.dtype), [1], [0])
    zeros = chain.node("ConstantOfShape", chain.constant(np.array([flat.size], np.int64)), value=empty)
    return chain.node("ScatterElements", zeros, where, kept, axis=0)


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
    if chain.four_bits and in_a_byte(base) == 2:
        return chain.node("Cast", chain.nibbles(codes, onnx.TensorProto.UINT4), to=onnx.TensorProto.INT32)
    powers, stored = several(codes, base)
    wide = chain.node("Cast", chain.constant(stored.reshape(-1, 1)), to=onnx.TensorProto.INT32)
    shifted = chain.node("Div", wide, chain.constant(powers.astype(np.int32)))
    single = chain.node("Mod", shifted, chain.constant(np.array(base, np.int32)))
    return row(chain, single, codes.size, stored.size * powers.size)


def looked_up(chain: Chain, codes: Array, palette: Array) -> str:
    """Codes as `digits` has them, and a table of the values that each byte stands for."""
    powers, stored = several(codes, max(len(palette), 2))
    table = np.arange(powers[0] * max(len(palette), 2)).reshape(-1, 1) // powers % max(len(palette), 2)
    wide = chain.node("Cast", chain.constant(stored), to=onnx.TensorProto.INT32)
    found = chain.node("Gather", chain.constant(np.resize(palette, max(len(palette), 2))[table]), wide)
    return row(chain, found, codes.size, stored.size * powers.size)


def several(codes: Array, base: int) -> tuple[Array, Array]:
    """What each digit of a byte counts for, and the bytes; the last is filled up with zeros."""
    powers = base ** np.arange(in_a_byte(base))[::-1]
    whole = np.append(codes, np.zeros(-codes.size % powers.size, codes.dtype)).reshape(-1, powers.size)
    return powers, (whole @ powers).astype(np.uint8)


def row(chain: Chain, source: str, count: int, stored: int) -> str:
    """One axis, without what filled up the last byte."""
    flat = chain.node("Reshape", source, chain.constant(np.array([-1], np.int64)))
    if stored == count:
        return flat
    return chain.node("Slice", flat, chain.constant(np.array([0], np.int64)), chain.constant(np.array([count], np.int64)))
