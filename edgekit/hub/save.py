"""A graph in, its file out: one protobuf, or, where its weights would not fit into one, the weights in a file beside it.

`<name>.onnx` then has its weights in `<name>.onnx.data` (ONNX IR, External Tensor Data); `onnx.load` and ONNX Runtime find them there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, TensorProto

from edgekit.hub.graph import walk
from edgekit.hub.shapes import skeleton

PROTOBUF_BYTES = 2**31 - 1
"""What a protobuf holds at most (protobuf.dev, "Proto Limits")."""
GRAPH_BYTES = 2**26
"""Room for all but the weights."""
INNER_BYTES = 1024
"""Smaller tensors (axes, shapes, biases) stay in the graph, where shape inference reads them."""


def save(model: ModelProto, path: Path, limit_bytes: int = PROTOBUF_BYTES - GRAPH_BYTES) -> None:
    """Write a model. Where its weights go into a second file, the model itself is left pointing there: it is not to be used afterwards."""
    if stored_bytes(model) <= limit_bytes:
        write(model, path)
        return
    onnx.save(model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=data_of(path).name, size_threshold=INNER_BYTES)


def write(model: ModelProto, path: Path) -> None:
    """One protobuf, written a weight at a time: `SerializeToString` of a whole model takes two to three times its size beside it.

    A message is its fields one after the other in any order (protobuf.dev, "Encoding"), so a weight's raw data come last in
    it, the weights in the graph, and the graph in the model.
    """
    heads = [head(tensor) for tensor in model.graph.initializer]
    sizes = [len(head) + len(tensor.raw_data) for head, tensor in zip(heads, model.graph.initializer, strict=True)]
    rest = without(model.graph, "initializer").SerializeToString()
    total = len(rest) + sum(1 + len(varint(size)) + size for size in sizes)
    with path.open("wb") as file:
        file.write(without(model, "graph").SerializeToString() + key(model, "graph") + varint(total) + rest)
        for begin, tensor, size in zip(heads, model.graph.initializer, sizes, strict=True):
            file.write(key(model.graph, "initializer") + varint(size) + begin)
            file.write(tensor.raw_data)


def head(tensor: TensorProto) -> bytes:
    """A stored tensor up to its raw data: all of it, where it has none."""
    rest = bytes(without(tensor, "raw_data").SerializeToString())
    return rest + key(tensor, "raw_data") + varint(len(tensor.raw_data)) if tensor.HasField("raw_data") else rest


def without(message: Any, left_out: str) -> Any:
    """A copy of a message but for one of its fields."""
    made = type(message)()
    for field, value in message.ListFields():
        if field.name == left_out:
            continue
        if hasattr(value, "extend"):
            getattr(made, field.name).extend(value)
        elif hasattr(value, "CopyFrom"):
            getattr(made, field.name).CopyFrom(value)
        else:
            setattr(made, field.name, value)
    return made


def key(message: Any, field: str) -> bytes:
    """What a field of bytes or of a message begins with: the field's number, and that its length follows."""
    return varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | 2)


def varint(number: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the least first."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def data_of(path: Path) -> Path:
    """Where the weights of a file are that does not hold them itself."""
    return path.with_name(path.name + ".data")


def stored_bytes(model: ModelProto) -> int:
    """What the weights take; a model that is too large for a protobuf cannot be asked for its own size."""
    return sum(len(tensor.raw_data) or tensor.ByteSize() for tensor in model.graph.initializer)


def by_bytes(model: ModelProto, change: Callable[[ModelProto], ModelProto], limit_bytes: int = PROTOBUF_BYTES - GRAPH_BYTES) -> ModelProto:
    """What ONNX's inliner or version converter makes of a model: they take and give bytes, so the weights of one too large for that stay out of it."""
    if stored_bytes(model) <= limit_bytes:
        return change(model)
    changed = change(skeleton(model))
    inputs, there = {value.name for value in model.graph.input}, {tensor.name for tensor in changed.graph.initializer}
    kept = [value for value in changed.graph.input if value.name in inputs]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    used = {name for node in walk(changed.graph.node) for name in node.input}
    changed.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name not in there and tensor.name in used)
    return changed
