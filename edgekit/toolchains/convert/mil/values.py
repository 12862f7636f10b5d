"""A Value or ValueType message of MIL.proto in, what it holds out: an array, a string or a list; a dtype and a shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arguments import LARGEST, EvaluationError, TensorList, Value
from .blobs import STRING, Blobs, from_bytes, np_dtype, widened

UNKNOWN = -1
"""A size that depends on the values."""

FIELDS = ("floats", "ints", "bools", "longInts", "doubles")


@dataclass(frozen=True, slots=True)
class Result:
    """A value that an operation or a block's boundary gives: its MIL name, and the dtype and shape that the program records.

    `dtype` is None for a list.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]


def result(named: Any) -> Result:
    """A NamedValueType.

    Raises:
        EvaluationError: a type that has no place here, or an array larger than any that is evaluated.
    """
    kind = named.type
    if kind.HasField("listType"):
        return Result(named.name, None, ())
    tensor = kind.stateType.wrappedType.tensorType if kind.HasField("stateType") else kind.tensorType
    if tensor.dataType == STRING:
        return Result(named.name, np.dtype(np.str_), ())
    shape = sizes(tensor)
    if math.prod(d for d in shape if d > 0) > LARGEST:
        raise EvaluationError(f"value {named.name!r} has the shape {list(shape)}, which is more than the evaluator takes")
    return Result(named.name, np_dtype(tensor.dataType), shape)


def sizes(tensor: Any) -> tuple[int, ...]:
    """The dimensions of a TensorType, UNKNOWN where they are open."""
    return tuple(d.constant.size if d.HasField("constant") else UNKNOWN for d in tensor.dimensions)


def read_value(value: Any, blobs: Blobs) -> Value:
    """What a Value holds; float16 widened to float32, elements of less than a byte in one byte each.

    Raises:
        EvaluationError: its parts do not fit each other, or weight.bin does not hold it.
    """
    if value.immediateValue.HasField("list"):
        return TensorList(np.asarray(read_value(one, blobs)) for one in value.immediateValue.list.values)
    code, shape = value.type.tensorType.dataType, sizes(value.type.tensorType)
    if UNKNOWN in shape:
        raise EvaluationError("a constant has an open shape")
    if value.HasField("blobFileValue"):
        blob = value.blobFileValue
        return blobs.array(blob.fileName, blob.offset, code, shape)
    tensor = value.immediateValue.tensor
    if code == STRING:
        if len(tensor.strings.values) != 1:
            raise EvaluationError("a constant holds several strings")
        return str(tensor.strings.values[0])
    if tensor.HasField("bytes"):
        return widened(from_bytes(np.frombuffer(tensor.bytes.values, np.uint8), code, shape))
    held: Sequence[Any] = next((getattr(tensor, field).values for field in FIELDS if tensor.HasField(field)), [])
    if len(held) != math.prod(shape):
        raise EvaluationError(f"a constant of the shape {list(shape)} holds {len(held)} values")
    return widened(np.array(held).astype(np_dtype(code)).reshape(shape))
