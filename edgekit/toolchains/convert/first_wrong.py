"""A hub, an artifact's runner and one sample in, the first tensor of the hub that the artifact computes otherwise out.

The hub runs in ONNX Runtime with all tensors kept. An artifact's tensors are found by name; where a format moves channels last,
its arrays are compared in both layouts. Fused operators have no inner tensors, so what is named is the first that can be seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgekit.hub.bounds import Bound
from edgekit.toolchains.convert.runners import Array, OnnxRuntime, Runner, plain_name

CHANNELS_LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}


def first_wrong(hub: Path, runner: Runner, feeds: list[Array], bound: Bound) -> dict[str, Any] | None:
    """`tensor`, `op`, `node` of the first hub tensor, in order of computation, that departs; None where none can be told.

    None too where the file agrees with the hub: then it is the hub, or the samples, that differ from the source model.
    """
    graph = onnx.load(hub).graph
    makers = {name: node for node in graph.node for name in node.output if name}
    truth = OnnxRuntime(hub).tensors(feeds)
    found = runner.tensors(feeds)
    for name, node in makers.items():
        seen = [found[one] for one in names_in_artifact(graph, node, name) if one in found]
        wanted = [truth[one] for one in [name, *activated(graph, name)] if one in truth]
        if seen and wanted and not any(agrees(a, b, bound) for a in wanted for b in seen):
            return {"tensor": name, "op": node.op_type, "node": node.name}
    for value, array in zip(graph.output, runner.run(feeds), strict=True):
        if value.name in truth and not agrees(truth[value.name], array, bound):
            node = makers[value.name]  # right tensor by tensor, wrong as it runs: the difference is the delegate
            return {"tensor": value.name, "op": f"{node.op_type} under {runner.delegate}", "node": node.name}
    return None


def names_in_artifact(graph: onnx.GraphProto, node: onnx.NodeProto, name: str) -> Iterator[str]:
    """What a hub tensor may be called: its own name, Core ML's form of it, or onnx2tf's, after the nodes at its two ends."""
    yield name
    yield plain_name(name)
    yield f"{node.name}_output_nhwc"
    for reader in graph.node:
        if reader.input and reader.input[0] == name:
            yield f"{reader.name}_input_nhwc"


def activated(graph: onnx.GraphProto, name: str) -> list[str]:
    """The tensor behind the activation that a writer may have fused into this one's operator."""
    readers = [node for node in graph.node if name in node.input]
    return list(readers[0].output) if len(readers) == 1 and readers[0].op_type in ("Relu", "Clip") else []


def agrees(truth: Array, found: Array, bound: Bound) -> bool:
    """Whether two arrays are the same within a bound, in the hub's layout or with channels last."""
    if truth.size != found.size or not truth.size:
        return True
    turned = [truth] + ([truth.transpose(CHANNELS_LAST[truth.ndim])] if truth.ndim in CHANNELS_LAST else [])
    return any(within(one, found, bound) for one in turned)


def within(truth: Array, found: Array, bound: Bound) -> bool:
    a, b = truth.reshape(-1).astype(np.float64), found.reshape(-1).astype(np.float64)
    known = np.isfinite(a)
    a, b = a[known], b[known]
    if not np.isfinite(b).all():
        return False
    error, power = float(np.sum((a - b) ** 2)), float(np.sum(a**2))
    if error == 0 or not a.size:
        return True
    if bound.max_rel is not None and float(np.abs(a - b).max()) > bound.max_rel * (float(np.abs(a).max()) or 1.0):
        return False
    return bound.min_sqnr_db is None or bool(power > 0 and 10 * np.log10(power / error) >= bound.min_sqnr_db)
