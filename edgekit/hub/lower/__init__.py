"""A writer's copy of the hub and rules in, the same computation in operators that the writer gets right out.

A rule looks at one node and says what it computes in other operators, or leaves it: `rule(graph, node)` adds nodes with
`graph.add`, the last of them giving the node's own outputs, and `lower` puts them in the node's place. A rule that adds nothing
leaves the node as it is. What a rule added is looked at again, until no rule has anything left to say, so a rule may build
on operators that another rule lowers further. A rule that must not be passed raises `Refusal`.

Rules live in this package, one file for each family of operators; each writer names those that it needs:

    lower(model, {"Elu": activations.elu, "LayerNormalization": expand})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekit.hub.functions import body_of
from edgekit.hub.graph import Refusal, array, constants, opset, static_shapes, title
from edgekit.hub.normalise import settle
from edgekit.hub.opsets import to_one_opset
from edgekit.hub.order import name_nodes, remove_dead, sort

Array = np.ndarray[Any, Any]
ROUNDS = 30
"""Rules build on each other a few levels deep; one that answers itself for ever is an error."""

SMALL_BYTES = 1024
"""Constants up to it (axes, shapes, scalars) are stored once, however often a rule asks for them."""


class Lowering:
    """The graph as rules see it: shapes, dtypes and stored values of tensors, and a way to add nodes."""

    def __init__(self, model: ModelProto, taken: set[str]) -> None:
        self.model = model
        self.opset = opset(model)
        self.shapes = static_shapes(model.graph)
        self.dtypes = elem_types(model)
        self.stored = constants(model.graph)
        self.taken = taken
        self.nodes: list[NodeProto] = []
        self.prefix = ""
        self.small: dict[Any, str] = {}

    def shape(self, name: str) -> list[int]:
        """The fixed shape of a tensor of the graph as it was before this round."""
        return self.shapes[name]

    def dtype(self, name: str) -> int:
        """The TensorProto.DataType of a tensor."""
        return self.dtypes[name]

    def numpy_dtype(self, name: str) -> np.dtype[Any]:
        return np.dtype(helper.tensor_dtype_to_np_dtype(self.dtypes[name]))

    def value(self, name: str) -> Array | None:
        """The values of a stored tensor; None for one that is computed, or left out ("")."""
        return array(self.stored[name]) if name in self.stored else None

    def given(self, node: NodeProto, index: int) -> str | None:
        """The name of a node's input, None where it is left out."""
        return node.input[index] if index < len(node.input) and node.input[index] else None

    def fresh(self, hint: str) -> str:
        """A tensor name that nothing has yet."""
        name, count = f"{self.prefix}/{hint}", 1
        while name in self.taken:
            name, count = f"{self.prefix}/{hint}_{count}", count + 1
        self.taken.add(name)
        return name

    def store(self, values: Any, dtype: Any = None, hint: str = "constant") -> str:
        """Store a tensor; `dtype` is a numpy dtype (default: the values' own). Returns its name."""
        values = np.array(values, dtype)
        key = (values.dtype.str, values.shape, values.tobytes()) if values.nbytes <= SMALL_BYTES else None
        if key in self.small:
            return self.small[key]
        tensor = numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), self.fresh(hint))
        self.model.graph.initializer.append(tensor)
        self.stored[tensor.name] = tensor
        self.shapes[tensor.name], self.dtypes[tensor.name] = list(values.shape), tensor.data_type
        if key is not None:
            self.small[key] = tensor.name
        return tensor.name

    def ints(self, *values: int) -> str:
        """Store an int64 vector: axes, shapes, pads."""
        return self.store(values, np.int64)

    def like(self, name: str, value: Any) -> str:
        """Store a scalar of a tensor's dtype."""
        return self.store(value, self.numpy_dtype(name))

    def add(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str] | None = None, **attributes: Any) -> str:
        """Add a node of the default operator set; without `outputs` it gives one new tensor. Returns its first output's name."""
        names = list(outputs) if outputs is not None else [self.fresh(op_type)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=self.fresh(op_type + "/node"), **attributes))
        return names[0]

    def refuse(self, node: NodeProto, reason: str) -> NoReturn:
        """End the writing. `reason` reads on from "Conv node 'x' " and holds cause and cure."""
        raise Refusal(f"{node.op_type} node {title(node)!r} {reason}", kind="convert", op=node.op_type, node=title(node))


Rule = Callable[[Lowering, NodeProto], None]


def lower(model: ModelProto, rules: Mapping[str, Rule]) -> None:
    """Apply rules (operator name → rule) to the nodes of the main graph until none adds anything; changes the model in place.

    Raises:
        Refusal: a rule's own; or rules that never come to an end.
    """
    taken = {name for node in model.graph.node for name in [*node.output, node.name]} | set(constants(model.graph))
    taken |= {value.name for value in model.graph.input}
    for _ in range(ROUNDS):
        if not once(model, rules, taken):
            return
        sort(model.graph)
        settle(model)
        converted, _ = to_one_opset(model)
        if converted is not model:
            model.CopyFrom(converted)
            settle(model)
        remove_dead(model.graph)
        name_nodes(model.graph)
    raise Refusal(f"the graph cannot be brought into the writer's operators in {ROUNDS} rounds: report the model", kind="convert")


def once(model: ModelProto, rules: Mapping[str, Rule], taken: set[str]) -> bool:
    """Apply the rules to each node once. Whether any was replaced."""
    graph = Lowering(model, taken)
    changed, nodes = False, []
    for node in model.graph.node:
        rule = rules.get(node.op_type) if node.domain == "" else None
        graph.nodes, graph.prefix = [], title(node)
        if rule is not None:
            rule(graph, node)
        changed |= bool(graph.nodes)
        nodes += graph.nodes or [copy(node)]
    if changed:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    return changed


def copy(node: NodeProto) -> NodeProto:
    twin = NodeProto()
    twin.CopyFrom(node)
    return twin


def elem_types(model: ModelProto) -> dict[str, int]:
    """Tensor name → TensorProto.DataType, as far as known."""
    found = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        if value.type.HasField("tensor_type"):
            found[value.name] = value.type.tensor_type.elem_type
    return {name: kind for name, kind in found.items() if kind != TensorProto.UNDEFINED}


def expand(graph: Lowering, node: NodeProto) -> None:
    """Replace a node by its definition in onnx.defs (LayerNormalization, Attention …); one without a definition stays."""
    types = [onnx.helper.make_tensor_type_proto(graph.dtypes[name], graph.shapes.get(name)) if name else onnx.TypeProto() for name in node.input]
    body = body_of(node, types, graph.opset, graph.fresh)
    if body is not None:
        graph.nodes += body
