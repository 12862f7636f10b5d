"""A package's feature descriptions in, Features out: names, dtypes, and the shapes that each may have (FeatureTypes.proto)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arguments import EvaluationError
from .values import UNKNOWN, Result

NAME_PREFIX = "edgekit.name."


@dataclass(frozen=True, slots=True)
class Feature:
    """An input or output as the package describes it.

    `dtype` is numpy's name; -1 in `shape` is a size that is open. What an open input may have is either one of `shapes`, or within
    `ranges`, the least and largest size of each axis (-1: no limit); both empty is any.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()

    def allows(self, shape: tuple[int, ...]) -> bool:
        """Whether a feed may have this shape."""
        if len(shape) != len(self.shape) or any(d not in (UNKNOWN, n) for n, d in zip(shape, self.shape, strict=True)):
            return False
        if self.shapes:
            return shape in self.shapes
        bounds = self.ranges if len(self.ranges) == len(shape) else ()
        return all(low <= n and (high == UNKNOWN or n <= high) for n, (low, high) in zip(shape, bounds, strict=False))

    @property
    def wanted(self) -> str:
        """The shapes that it may have, in words."""
        if self.shapes:
            return " or ".join(str(list(shape)) for shape in self.shapes)
        if self.ranges:
            return "[" + ", ".join(str(low) if low == high else f"{low}..{'' if high == UNKNOWN else high}" for low, high in self.ranges) + "]"
        return str(list(self.shape))


def features(described: Iterable[Any], recorded: Mapping[str, Result]) -> list[Feature]:
    """The features in the package's order, with the types that the program records for values of their names.

    Raises:
        EvaluationError: the program has no such value, or it is no tensor.
    """
    found = []
    for one in described:
        held = recorded.get(one.name)
        if held is None or held.dtype is None or held.dtype.kind == "U":
            raise EvaluationError(f"feature {one.name!r} is no tensor of the program")
        array = one.type.multiArrayType
        shapes = tuple(tuple(int(d) for d in shape.shape) for shape in array.enumeratedShapes.shapes)
        ranges = tuple((int(r.lowerBound), int(r.upperBound)) for r in array.shapeRange.sizeRanges)
        found.append(Feature(one.name, np.dtype(held.dtype).name, held.shape, shapes, ranges))
    return found


def model_names(model: Any) -> dict[str, str]:
    """A feature's name → the source model's own, where Core ML could not carry that."""
    own = dict(model.description.metadata.userDefined)
    return {key.removeprefix(NAME_PREFIX): name for key, name in own.items() if key.startswith(NAME_PREFIX)}
