"""A program of one sample and several samples in, its outputs of all of them out: three ways, of which the first that is right is the fastest.

Everywhere samples lie along axis 0: n times the first axis that the hub has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

TOLERANCE = 1e-4
"""Of the largest output: two samples together against the same two alone; the order of additions is the whole difference."""


def together(program: Any, inputs: Sequence[Any], shapes: Sequence[Sequence[int]]) -> tuple[Any, ...]:
    """All at once."""
    return tuple(program(*inputs))


def mapped(program: Any, inputs: Sequence[Any], shapes: Sequence[Sequence[int]]) -> tuple[Any, ...]:
    """By torch.func.vmap, which gives each operator an axis of samples that the graph does not see."""
    rows = [value.unflatten(0, (-1, shape[0])) for value, shape in zip(inputs, shapes, strict=True)]
    found = torch.func.vmap(program, randomness="different")(*rows)
    return tuple(value.flatten(0, 1) if value.dim() > 1 else value for value in found)


def one_by_one(program: Any, inputs: Sequence[Any], shapes: Sequence[Sequence[int]]) -> tuple[Any, ...]:
    parts = [value.split(shape[0]) if shape else None for value, shape in zip(inputs, shapes, strict=True)]
    n = max([len(part) for part in parts if part is not None], default=1)
    rows = [program(*(value if part is None else part[index] for value, part in zip(inputs, parts, strict=True))) for index in range(n)]
    return tuple(torch.cat(column) if column[0].dim() else torch.stack(column) for column in zip(*rows, strict=True))


def differs(found: Sequence[Any], expected: Sequence[Any]) -> str | None:
    """What is not the same, in words, or None."""
    for index, (both, alone) in enumerate(zip(found, expected, strict=True)):
        if both.shape != alone.shape:
            return f"output {index} does not grow with the number of samples"
        if not both.is_floating_point():
            same = torch.equal(both, alone)
        else:
            allowed = float(TOLERANCE * torch.nan_to_num(alone).abs().max() + 1e-6) if alone.numel() else 0.0
            same = torch.allclose(both, alone, rtol=0, atol=allowed, equal_nan=True)
        if not same:
            return f"output {index} of a sample depends on the other samples"
    return None


def random(value: Any, drawn: Any) -> tuple[Any, Any]:
    """Two samples of an input: normal values; integers 0 and 1, which any table has."""
    if value.dtype.is_floating_point:
        return tuple(torch.randn(value.shape, generator=drawn, dtype=torch.float32).to(value.dtype) for _ in range(2))
    return tuple(torch.randint(0, 2, value.shape, generator=drawn).to(value.dtype) for _ in range(2))
