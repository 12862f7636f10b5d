"""An ONNX graph in, answers about it out: who makes a tensor, who reads it, what is constant, what shape it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

DEFAULT_DOMAINS = ("", "ai.onnx")


class Refusal(Exception):
    """A model that the hub cannot hold, in one sentence with cause and cure.

    `kind` is `input` (the file or what was said about it is wrong) or `convert` (the model is valid, but no route carries it).
    """

    def __init__(self, message: str, *, kind: str = "input", op: str | None = None, node: str | None = None) -> None:
        super().__init__(message)
        self.kind, self.op, self.node = kind, op, node


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute as Python data, or `default`."""
    for found in node.attribute:
        if found.name == name:
            return onnx.helper.get_attribute_value(found)
    return default


def set_attribute(node: NodeProto, name: str, value: Any) -> None:
    """Give a node an attribute; None removes it."""
    kept = [found for found in node.attribute if found.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        node.attribute.append(onnx.helper.make_attribute(name, value))


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The bodies of an If, Loop or Scan."""
    for found in node.attribute:
        if found.type == AttributeProto.GRAPH:
            yield found.g
        elif found.type == AttributeProto.GRAPHS:
            yield from found.graphs


def walk(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Every node, those inside bodies included, in the graph's order."""
    for node in nodes:
        yield node
        for body in subgraphs(node):
            yield from walk(body.node)


def reads(node: NodeProto) -> Iterator[str]:
    """The names of all tensors that a node reads; what its bodies read or give is included."""
    yield from (name for name in node.input if name)
    for body in subgraphs(node):
        yield from (output.name for output in body.output)
        for inner in body.node:
            yield from reads(inner)


def readers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """Tensor name → the nodes that read it."""
    found: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(reads(node)):
            found.setdefault(name, []).append(node)
    return found


def makers(graph: GraphProto) -> dict[str, NodeProto]:
    """Tensor name → the node that gives it."""
    return {name: node for node in graph.node for name in node.output if name}


def constants(graph: GraphProto) -> dict[str, TensorProto]:
    """Initializer name → tensor."""
    return {tensor.name: tensor for tensor in graph.initializer}


def array(tensor: TensorProto) -> np.ndarray[Any, Any]:
    """A tensor's values."""
    return numpy_helper.to_array(tensor)


def output_names(graph: GraphProto) -> list[str]:
    return [output.name for output in graph.output]


def dims(value: ValueInfoProto) -> list[int | str | None] | None:
    """A tensor's shape: int where fixed, str where named, None where open; None for the whole if its rank is open."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else (d.dim_param or None) for d in kind.shape.dim]


def static_shape(value: ValueInfoProto) -> list[int] | None:
    """A tensor's shape if all of it is fixed, else None."""
    found = dims(value)
    if found is None:
        return None
    fixed = [d for d in found if isinstance(d, int)]
    return fixed if len(fixed) == len(found) else None


def static_shapes(graph: GraphProto) -> dict[str, list[int]]:
    """Tensor name → shape, for all inputs, outputs, initializers and inferred tensors whose shape is fixed."""
    found: dict[str, list[int]] = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        shape = static_shape(value)
        if shape is not None:
            found[value.name] = shape
    return found


def spec(value: ValueInfoProto) -> dict[str, Any]:
    """`{"name", "dtype", "shape"}` of an input or output whose shape is fixed."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return {"name": value.name, "dtype": np.dtype(dtype).name, "shape": static_shape(value)}


def opset(model: ModelProto) -> int:
    """The version of the default operator set that a model imports."""
    return next((entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), 1)


def title(node: NodeProto) -> str:
    """What a person calls a node: its name, or the tensor that it gives."""
    return node.name or next((name for name in node.output if name), "without a name")
