"""An onnx2tf ModelIR in, the same with fewer operators out: moves of axes meet and cancel, activations and biases are part of their layers."""

from __future__ import annotations

from typing import Any

from edgekit.toolchains.convert.tighten.fuse import activations, dense_of_any_rank, matmuls, means, turned_weights
from edgekit.toolchains.convert.tighten.moves import merge, sink

RULES = (merge, sink, means, matmuls, dense_of_any_rank, activations, turned_weights)
ROUNDS = 50
"""Each rule only takes operators away or brings moves nearer to the outputs, so it ends by itself; real models settle in five."""


def tighten(graph: Any) -> None:
    """Apply all rules until none changes anything; changes the graph in place."""
    for _ in range(ROUNDS):
        changed = [rule(graph) for rule in RULES]  # all of them: any() over a generator would stop at the first
        if not any(changed):
            return
