"""Bytes of a model.mlmodel in, the messages of its ML Program out: Model.proto, FeatureTypes.proto and MIL.proto, as far as they are read here.

Apple publishes these files with coremltools (mlmodel/format). Only numbers and types stand on the wire, so the messages are
described below by those and made at run time by protobuf, in a pool of their own: nothing of coremltools is needed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

PACKAGE = "mil"

FIELDS = """
Model: specificationVersion=1 int32, description=2 ModelDescription, mlProgram=502 Program
ModelDescription: functions=20 *FunctionDescription, metadata=100 Metadata, input=1 *FeatureDescription, output=10 *FeatureDescription
FunctionDescription: name=1 string, input=2 *FeatureDescription, output=3 *FeatureDescription
FeatureDescription: name=1 string, type=3 FeatureType
Metadata: userDefined=100 {string
FeatureType: multiArrayType=5 ArrayFeatureType
ArrayFeatureType: shape=1 *int64, dataType=2 int32, enumeratedShapes=21 EnumeratedShapes, shapeRange=31 ShapeRange
EnumeratedShapes: shapes=1 *Shape
Shape: shape=1 *int64
ShapeRange: sizeRanges=1 *SizeRange
SizeRange: lowerBound=1 uint64, upperBound=2 int64
Program: functions=2 {Function
Function: inputs=1 *NamedValueType, opset=2 string, block_specializations=3 {Block
Block: inputs=1 *NamedValueType, outputs=2 *string, operations=3 *Operation
Argument: arguments=1 *Binding
Binding: name=1 string, value=2 Value
Operation: type=1 string, inputs=2 {Argument, outputs=3 *NamedValueType, blocks=4 *Block, attributes=5 {Value
NamedValueType: name=1 string, type=2 ValueType
ValueType: tensorType=1 TensorType, listType=2 ListType, stateType=5 StateType
TensorType: dataType=1 int32, rank=2 int64, dimensions=3 *Dimension
ListType: type=1 ValueType
StateType: wrappedType=1 ValueType
Dimension: constant=1 ConstantDimension, unknown=2 UnknownDimension
ConstantDimension: size=1 uint64
UnknownDimension: variadic=1 bool
Value: type=2 ValueType, immediateValue=3 ImmediateValue, blobFileValue=5 BlobFileValue
ImmediateValue: tensor=1 TensorValue, list=3 ListValue
BlobFileValue: fileName=1 string, offset=2 uint64
ListValue: values=1 *Value
TensorValue: floats=1 Floats, ints=2 Ints, bools=3 Bools, strings=4 Strings, longInts=5 LongInts, doubles=6 Doubles, bytes=7 Bytes
Floats: values=1 *float
Ints: values=1 *int32
Bools: values=1 *bool
Strings: values=1 *string
LongInts: values=1 *int64
Doubles: values=1 *double
Bytes: values=1 bytes
"""
"""Message: field=number type; `*` repeats, `{` is a map from strings. Enumerations are read as int32, which is the same on the wire."""

Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "double": Field.TYPE_DOUBLE,
    "float": Field.TYPE_FLOAT,
    "int64": Field.TYPE_INT64,
    "uint64": Field.TYPE_UINT64,
    "int32": Field.TYPE_INT32,
    "bool": Field.TYPE_BOOL,
    "string": Field.TYPE_STRING,
    "bytes": Field.TYPE_BYTES,
}


class NotAModelError(ValueError):
    """The bytes are no Model message."""


def parse(data: bytes) -> Any:
    """The Model message.

    Raises:
        NotAModelError: the bytes are not one.
    """
    model = model_class()()
    try:
        model.ParseFromString(data)
    except DecodeError as exc:
        raise NotAModelError(f"its model.mlmodel is damaged ({exc})") from exc
    return model


@cache
def model_class() -> Any:
    """The class of the Model message."""
    file = descriptor_pb2.FileDescriptorProto(name="mil.proto", package=PACKAGE, syntax="proto3")
    for line in FIELDS.strip().splitlines():
        name, fields = line.split(": ")
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            add_field(message, *field.replace("=", " ").split())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Model"))


def add_field(message: Any, name: str, number: str, kind: str) -> None:
    field = message.field.add(name=name, number=int(number), label=Field.LABEL_REPEATED if kind[0] in "*{" else Field.LABEL_OPTIONAL)
    if kind[0] != "{":
        set_type(field, kind.lstrip("*"))
        return
    # A map is a list of entries, each with a key 1 and a value 2 (protobuf's encoding, "Maps").
    entry = message.nested_type.add(name="".join(word.capitalize() for word in name.split("_")) + "Entry")
    if name == "userDefined":
        entry.name = "UserDefinedEntry"
    entry.options.map_entry = True
    set_type(entry.field.add(name="key", number=1, label=Field.LABEL_OPTIONAL), "string")
    set_type(entry.field.add(name="value", number=2, label=Field.LABEL_OPTIONAL), kind[1:])
    set_type(field, f"{message.name}.{entry.name}")


def set_type(field: Any, kind: str) -> None:
    if kind in SCALARS:
        field.type = SCALARS[kind]
    else:
        field.type, field.type_name = Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
