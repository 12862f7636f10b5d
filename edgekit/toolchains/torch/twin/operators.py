"""The table of operators that the twin computes: ONNX name → the function that adds it to the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgekit.toolchains.torch.twin import activations, convolution, elementwise, matrix, normalisation, pooling, recurrent, reduce, resize, select, shape

OPERATORS: dict[str, Callable[..., Any]] = {}
for family in (activations, convolution, elementwise, matrix, normalisation, pooling, recurrent, reduce, resize, select, shape):
    OPERATORS.update(family.OPERATORS)
