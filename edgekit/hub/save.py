"""A graph in, its file out: one protobuf, or, where its weights would not fit into one, the weights in a file beside it.

`<name>.onnx` then has its weights in `<name>.onnx.data` (ONNX IR, External Tensor Data); `onnx.load` and ONNX Runtime find them there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import ModelProto

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
        onnx.save(model, str(path))
        return
    onnx.save(model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=data_of(path).name, size_threshold=INNER_BYTES)


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
