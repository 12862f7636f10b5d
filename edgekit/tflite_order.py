"""The bytes of a .tflite file and a model's names in, the places of its inputs and outputs out, for a runtime that knows them by place only.

Reads the few tables of the flatbuffer that say so (`tensorflow/lite/schema/schema.fbs`: Model.subgraphs 2, signature_defs 7; SubGraph.tensors
0, inputs 1, outputs 2; Tensor.name 3; SignatureDef.inputs 0, outputs 1; TensorMap.name 0, tensor_index 1), and nothing of what they weigh.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgekit.errors import InputError


@dataclass(frozen=True, slots=True)
class Order:
    """For each input and output in the file's order, which of the model's it is."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def order_of(content: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> Order:
    """Match by the names of the signature, else by the tensors' own.

    Raises:
        InputError: it is no such file, or it does not have these inputs and outputs.
    """
    try:
        model = Table(content, struct.unpack_from("<I", content)[0])
        graph = next(model.tables(2))
        names = [tensor.text(3) for tensor in graph.tables(0)]
        signature = next(model.tables(7), None)
        sides = []
        for wanted, field in ((inputs, 0), (outputs, 1)):
            places = graph.numbers(field + 1)
            own = {entry.number(1): entry.text(0) for entry in signature.tables(field)} if signature else {}
            found = [own.get(place, names[place]) for place in places]
            if sorted(found) != sorted(wanted):
                raise InputError(f"the file has {', '.join(map(repr, found))} where the model has {', '.join(map(repr, wanted))}: convert the model again")
            sides.append(tuple(wanted.index(name) for name in found))
    except (struct.error, IndexError, StopIteration, UnicodeDecodeError) as exc:
        raise InputError("the file is no TFLite file that can be read: convert the model again") from exc
    return Order(*sides)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a flatbuffer, at its place in the file."""

    content: bytes
    at: int

    def place(self, field: int) -> int | None:
        """Where a field is; None where the table does not have it."""
        fields = self.at - struct.unpack_from("<i", self.content, self.at)[0]
        if fields < 0 or 4 + 2 * field >= struct.unpack_from("<H", self.content, fields)[0]:
            return None
        offset = struct.unpack_from("<H", self.content, fields + 4 + 2 * field)[0]
        return self.at + offset if offset else None

    def number(self, field: int) -> int:
        place = self.place(field)
        return 0 if place is None else int(struct.unpack_from("<I", self.content, place)[0])

    def vector(self, field: int) -> tuple[int, int]:
        """Where the items of a vector begin, and how many there are."""
        place = self.place(field)
        if place is None:
            return 0, 0
        start = place + struct.unpack_from("<I", self.content, place)[0]
        return start + 4, struct.unpack_from("<I", self.content, start)[0]

    def numbers(self, field: int) -> tuple[int, ...]:
        start, count = self.vector(field)
        return struct.unpack_from(f"<{count}I", self.content, start)

    def text(self, field: int) -> str:
        start, count = self.vector(field)
        return self.content[start : start + count].decode()

    def tables(self, field: int) -> Iterator[Table]:
        start, count = self.vector(field)
        for item in range(start, start + 4 * count, 4):
            yield Table(self.content, item + struct.unpack_from("<I", self.content, item)[0])
