"""What compression knows of a hub's tensors beside their values: a Spec, in memory and as `compress.json` beside `hub.onnx`.

The hub's initializers always hold the float values that count: a pruned weight is 0, a shared one is one of its palette, a quantized one is
scale × (q − zero point), rounded once to float32. The Spec says which of these hold, so that tuning keeps them, and every writer stores them small
and with exactly these numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
NAME = "compress.json"


@dataclass(frozen=True, slots=True)
class Sparse:
    """Zeros of a tensor that stay zero."""

    pattern: str = "any"
    """`any`; `2:4`: two of four along the input channels are zero; `block4`: whole blocks of four output channels."""


@dataclass(frozen=True, slots=True)
class Palette:
    """A tensor, or each slice of it, has few different values."""

    values: int
    """At most so many in a slice, zero included where the tensor is sparse too."""
    axis: int | None = None
    """Slices along this axis have a palette each; None: one palette for the tensor."""
    group: int = 1
    """So many neighbouring slices share a palette."""
    scaled: bool = False
    """A palette for each slice that is one pattern times a scale: ternary {−a, 0, a} and binary {−a, a}."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Integers that a tensor stands for: value = scale × (q − zero_point), in float32 (TFLite quantization specification; ONNX DequantizeLinear)."""

    bits: int
    scale: tuple[float, ...]
    """One, or one for each slice along `axis`; with `block`, one for each slice and block, in the order of the tensor's own axes."""
    zero_point: tuple[int, ...]
    """As many as scales; all 0 for weights."""
    axis: int | None = None
    block: int | None = None
    """Along the input channels: so many neighbours share a scale."""
    signed: bool = True

    @property
    def lowest(self) -> int:
        """Weights leave −2^(bits−1) out, so that the range is symmetric; two bits and activations use it."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def highest(self) -> int:
        return (1 << self.bits - 1) - 1 if self.signed else (1 << self.bits) - 1


@dataclass(slots=True)
class Tensor:
    """What holds of one initializer; all that is set holds at once."""

    sparse: Sparse | None = None
    palette: Palette | None = None
    grid: Grid | None = None


@dataclass(slots=True)
class Spec:
    """All that is known: initializer → Tensor; tensor computed on the way → its Grid; and what each step did, in its own words."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    activations: dict[str, Grid] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def of(self, name: str) -> Tensor:
        """The entry of an initializer, made if there is none."""
        return self.tensors.setdefault(name, Tensor())

    def forget(self, name: str) -> None:
        """An initializer that is no longer there, or whose values were made anew."""
        self.tensors.pop(name, None)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


def load_spec(path: Path | None) -> Spec:
    """A Spec as it was saved; an empty one where there is none."""
    if path is None or not path.exists():
        return Spec()
    said = json.loads(path.read_text())
    return Spec({name: tensor(one) for name, one in said["tensors"].items()}, {name: grid(one) for name, one in said["activations"].items()}, said["notes"])


def tensor(said: Mapping[str, Any]) -> Tensor:
    return Tensor(
        Sparse(**said["sparse"]) if said["sparse"] else None,
        Palette(**said["palette"]) if said["palette"] else None,
        grid(said["grid"]) if said["grid"] else None,
    )


def grid(said: Mapping[str, Any]) -> Grid:
    return Grid(**{**said, "scale": tuple(said["scale"]), "zero_point": tuple(said["zero_point"])})


def scale_like(values: Array, found: Grid) -> tuple[Array, Array]:
    """Scale and zero point of a grid, shaped to broadcast against `values` (float32, int64)."""
    scale, zero = np.asarray(found.scale, np.float32), np.asarray(found.zero_point, np.int64)
    if found.axis is None:
        return scale.reshape(()), zero.reshape(())
    if found.block is None:
        shape = [1] * values.ndim
        shape[found.axis] = -1
        return scale.reshape(shape), zero.reshape(shape)
    along = block_axis(found.axis)
    shape = [1] * values.ndim
    shape[found.axis], shape[along] = values.shape[found.axis], -1
    spread = [np.repeat(one.reshape(shape), found.block, axis=along) for one in (scale, zero)]
    kept = tuple(slice(0, values.shape[along]) if axis == along else slice(None) for axis in range(values.ndim))
    return spread[0][kept], spread[1][kept]


def block_axis(axis: int) -> int:
    """Blocks lie along the input channels: axis 1 of a convolution's or a transposed Gemm's weights, 0 of a MatMul's, whose outputs are axis 1."""
    return 1 if axis == 0 else 0


def integers(values: Array, found: Grid) -> Array:
    """The integers of values that lie on a grid (int64)."""
    scale, zero = scale_like(values, found)
    return np.clip(np.rint(values / scale).astype(np.int64) + zero, found.lowest, found.highest)


def floats(whole: Array, found: Grid) -> Array:
    """The float32 values of integers on a grid."""
    scale, zero = scale_like(whole, found)
    return np.asarray((whole - zero).astype(np.float32) * scale, np.float32)
