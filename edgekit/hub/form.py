"""A hub and the operators of a file made from it in, what the file is made of out: its layout, its operators and its transposes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from onnx import ModelProto, ValueInfoProto

from edgekit.hub.graph import constants, walk
from edgekit.hub.kinds import IMAGE_OPERATORS


def form(hub: ModelProto, inner: str, turned: Mapping[str, Sequence[int]] | None = None) -> Callable[[Sequence[str]], dict[str, Any]]:
    """What is known of a file before it is written; given the kind of every operator in it, a writer's `layout`, `ops` and `transposes`.

    Args:
        inner: `nhwc` or `nchw`, the format's own order.
        turned: name → the model's axes in the file's order, of those inputs and outputs that are not kept.
    """
    graph = hub.graph
    images = any(node.op_type in IMAGE_OPERATORS for node in walk(graph.node))
    stored = constants(graph)
    inputs = [order(value, turned or {}) for value in graph.input if value.name not in stored]
    outputs = [order(value, turned or {}) for value in graph.output]
    layout = {"inner": inner if images else None, "inputs": inputs, "outputs": outputs}
    before = transposes(node.op_type for node in walk(graph.node))
    return lambda kinds: {"layout": layout, "ops": len(kinds), "transposes": [before, transposes(kinds)]}


def order(value: ValueInfoProto, turned: Mapping[str, Sequence[int]]) -> list[int]:
    return list(turned.get(value.name, range(len(value.type.tensor_type.shape.dim))))


def transposes(kinds: Iterable[str]) -> int:
    return sum(kind.lower() == "transpose" for kind in kinds)
