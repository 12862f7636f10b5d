"""A .tflite file in, its tables out, and back; and what a file can lose without changing what it computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FLOAT32, INT4 = 0, 17
"""Tensor types of the schema."""


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator's kind (`CONV_2D`), the name of its first output, whether that is an output of the model, and its tensors by index."""

    kind: str
    output: str
    is_output: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(slots=True)
class TfliteFile:
    """The tables of the flatbuffer, as the generated schema's `ModelT`."""

    table: Any

    def operators(self) -> Iterator[Operator]:
        """The operators of the main graph, in order."""
        from ai_edge_litert.schema_py_generated import BuiltinOperator

        names = {value: name for name, value in vars(BuiltinOperator).items() if not name.startswith("_")}
        graph = self.table.subgraphs[0]
        for op in graph.operators:
            code = self.table.operatorCodes[op.opcodeIndex]
            first = int(op.outputs[0])
            name = graph.tensors[first].name or b""
            kind = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            yield Operator(kind, name.decode(), first in graph.outputs, tuple(map(int, op.inputs)), tuple(map(int, op.outputs)))

    def constants(self, kind: int) -> int:
        """How many numbers are in the constants of a tensor type."""
        tensors = [tensor for graph in self.table.subgraphs for tensor in graph.tensors if tensor.type == kind]
        held = [tensor for tensor in tensors if self.table.buffers[tensor.buffer].data is not None]
        return sum(int(np.prod([] if tensor.shape is None else tensor.shape)) for tensor in held)


def read(source: Path | bytes) -> TfliteFile:
    from ai_edge_litert.schema_py_generated import ModelT

    content = source if isinstance(source, bytes) else source.read_bytes()
    table = ModelT.InitFromPackedBuf(content, 0)
    for buffer in table.buffers:
        if buffer.offset > 1:  # stored behind the flatbuffer, as some writers do with large constants
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return TfliteFile(table)


def write(model: TfliteFile, path: Path) -> None:
    path.write_bytes(packed(model))


def packed(model: TfliteFile) -> bytes:
    """The flatbuffer."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.table.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def slim(model: TfliteFile) -> None:
    """Drop what only people and tools read: names of inner tensors, calibration ranges, copies of equal constants.

    Inputs and outputs, and the signature, keep their names. In a network of 20 thousand weights this is a third of the file.
    """
    for graph in model.table.subgraphs:
        boundary = {*graph.inputs, *graph.outputs}
        for index, tensor in enumerate(graph.tensors):
            if index not in boundary:
                tensor.name = None
            if tensor.quantization is not None:
                tensor.quantization.min = tensor.quantization.max = None
                if tensor.quantization.scale is None and tensor.quantization.details is None:
                    tensor.quantization = None
    model.table.metadata = None
    model.table.metadataBuffer = None
    share_buffers(model.table)


def share_buffers(table: Any) -> None:
    """Let equal constants share a buffer, and drop buffers that nothing refers to; buffer 0 stays the empty one."""
    kept = [table.buffers[0]]
    places: dict[bytes, int] = {}
    for graph in table.subgraphs:
        for tensor in graph.tensors:
            data = table.buffers[tensor.buffer].data
            if data is None or not len(data):
                tensor.buffer = 0
                continue
            content = bytes(data)
            if content not in places:
                places[content] = len(kept)
                kept.append(table.buffers[tensor.buffer])
            tensor.buffer = places[content]
    table.buffers = kept
