"""Records in, JSON values out, and back: strict, generic over the frozen dataclasses of `records.py`; no I/O.

A tuple becomes a list, a path its text, and a float that JSON has no number for one of `"NaN"`, `"Infinity"`, `"-Infinity"`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from edgekit.errors import InputError

Record = TypeVar("Record")

NOT_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(value: object) -> Any:
    """A record, or anything that a record may hold, as what `json.dumps` takes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"a record cannot hold {type(value).__name__}")


def from_json(kind: type[Record], value: object) -> Record:
    """The record of type `kind` that `to_json` made `value` from.

    Raises:
        InputError: a key that is missing or not known, or a value of the wrong type; the message gives its place.
    """
    return cast(Record, read(kind, value, kind.__name__))


@cache
def field_types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def read(kind: Any, value: object, place: str) -> Any:
    """`value` as the annotation `kind` wants it; `place` is where it stands, for the message."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return read_union(get_args(kind), value, place)
    if origin is Literal:
        return value if value in get_args(kind) else refuse(place, " or ".join(map(repr, get_args(kind))), value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return read_record(kind, value, place)
    if origin is tuple:
        item = get_args(kind)[0]
        listed = value if isinstance(value, list) else refuse(place, "a list", value)
        return tuple(read(item, part, f"{place}.{index}") for index, part in enumerate(listed))
    if origin is Mapping:
        mapped = value if isinstance(value, dict) else refuse(place, "an object", value)
        return {key: read(get_args(kind)[1], part, f"{place}.{key}") for key, part in mapped.items()}
    return read_plain(kind, value, place)


def read_union(kinds: tuple[Any, ...], value: object, place: str) -> Any:
    """The first member that fits: `Parity | None`, `int | str`."""
    if value is None and NoneType in kinds:
        return None
    rest = [kind for kind in kinds if kind is not NoneType]
    for kind in rest[:-1]:
        if isinstance(value, kind):
            return read(kind, value, place)
    return read(rest[-1], value, place)


def read_record(kind: type, value: object, place: str) -> Any:
    """A record of whose fields only those with a default may be missing."""
    given = value if isinstance(value, dict) else refuse(place, "an object", value)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in given:
        if key not in fields:
            raise InputError(f"{place}: '{key}' is not known: the record was made by another version of edgekit")
    for name, field in fields.items():
        if name not in given and field.default is dataclasses.MISSING:
            raise InputError(f"{place}: '{name}' is missing: the record is damaged or was made by another version of edgekit")
    types = field_types(kind)
    return kind(**{name: read(types[name], part, f"{place}.{name}") for name, part in given.items()})


def read_plain(kind: Any, value: object, place: str) -> Any:
    """Text, a path, a truth value or a number."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, str) and value in NOT_NUMBERS:
        return NOT_NUMBERS[value]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (str, bool, int, float) and type(value) is kind:
        return value
    return refuse(place, kind.__name__, value)


def refuse(place: str, wanted: str, value: object) -> Any:
    raise InputError(f"{place}: expected {wanted}, found {value!r:.60}: the record is damaged or was made by another version of edgekit")
