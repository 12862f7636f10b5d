"""The tables of a .tflite file and what its tensors hold in, an ONNX graph under construction out.

TFLite keeps images channels last and ONNX operators want them channels first. A rule that works on images takes them with
`channels_first` and gives them back with `channels_last`, which remember each other: between two such rules nothing is turned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgekit.hub.graph import Refusal

Array = np.ndarray[Any, Any]

FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)
OPSET = 18

FUSED = {1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH"}
"""`ActivationFunctionType` of TFLite's schema."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operator of the file: its kind (`CONV_2D`), ONNX names of its inputs ("" where left out), shapes, and its options."""

    kind: str
    inputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    """Of the inputs."""
    output_shapes: tuple[tuple[int, ...], ...]
    output_dtypes: tuple[np.dtype[Any], ...]
    options: Any
    title: str
    """The name of its first output: what a person finds it by."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first output."""
        return self.output_shapes[0]

    def option(self, name: str, default: Any = 0) -> Any:
        """A field of the operator's options; a file may leave them all out."""
        return getattr(self.options, name, default)

    def refusal(self, why: str) -> Refusal:
        return Refusal(
            f"operator {self.kind} ({self.title!r}) {why}: give the model that the file was made from", kind="convert", op=self.kind, node=self.title
        )


@dataclass(slots=True)
class Graph:
    """Nodes and constants so far. Names of tensors are unique; every value has a known shape in `shapes`."""

    nodes: list[NodeProto] = field(default_factory=list)
    initializers: dict[str, TensorProto] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)
    """Name → content, of constants."""
    first: dict[str, str] = field(default_factory=dict)
    """Name of a tensor with channels last → the same with channels first."""
    count: int = 0

    def fresh(self, hint: str) -> str:
        self.count += 1
        return f"{hint}_{self.count}"

    def constant(self, content: Any, dtype: Any = None, hint: str = "constant") -> str:
        """An initializer with this content."""
        values = np.ascontiguousarray(np.asarray(content, dtype)).reshape(np.shape(content))
        name = self.fresh(hint)
        self.initializers[name] = numpy_helper.from_array(values, name)
        self.values[name] = values
        return name

    def node(self, op_type: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node with one result; gives its name."""
        return self.node_of(op_type, inputs, 1, **attributes)[0]

    def node_of(self, op_type: str, inputs: Sequence[str], results: int, **attributes: Any) -> list[str]:
        """A node with several results; gives their names."""
        names = [self.fresh(op_type.lower()) for _ in range(results)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=names[0], **attributes))
        return names

    def transpose(self, name: str, order: Sequence[int]) -> str:
        """The tensor with its axes in another order; a constant is turned here."""
        if name in self.values:
            return self.constant(self.values[name].transpose(order), hint=name)
        return self.node("Transpose", [name], perm=list(order))

    def channels_first(self, name: str) -> str:
        """An image [n, h, w, c] as [n, c, h, w]."""
        if name not in self.first:
            self.first[name] = self.transpose(name, FIRST)
        return self.first[name]

    def channels_last(self, name: str) -> str:
        """An image [n, c, h, w] as [n, h, w, c]."""
        found = self.transpose(name, LAST)
        self.first[found] = name
        return found

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        """The tensor in a fixed shape."""
        if name in self.values:
            return self.constant(self.values[name].reshape(shape), hint=name)
        return self.node("Reshape", [name, self.constant(list(shape), np.int64, "shape")])

    def cast(self, name: str, dtype: Any) -> str:
        return self.node("Cast", [name], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def fused(self, name: str, op: Op) -> str:
        """The activation that an operator applies to its own result."""
        code = op.option("fusedActivationFunction")
        if not code:
            return name
        if code not in FUSED:
            raise op.refusal(f"has the fused activation {code}, which is not known here")
        return activation(self, name, FUSED[code])

    def known(self, op: Op, position: int, what: str) -> Array:
        """The content of an input that has to be a constant.

        Raises:
            Refusal: it is known only when the model runs.
        """
        name = op.inputs[position]
        if name not in self.values:
            raise op.refusal(f"takes its {what} from a tensor that is known only when the model runs")
        return self.values[name]


def activation(graph: Graph, name: str, kind: str) -> str:
    """RELU, RELU_N1_TO_1, RELU_0_TO_1, RELU6 or TANH of a tensor."""
    if kind == "RELU":
        return graph.node("Relu", [name])
    if kind == "TANH":
        return graph.node("Tanh", [name])
    low, high = {"RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1), "RELU_0_TO_1": (0, 1)}[kind]
    return graph.node("Clip", [name, graph.constant(low, np.float32), graph.constant(high, np.float32)])


Rule = Callable[[Graph, Op], "str | list[str]"]
"""Writes an operator; gives the names of its results."""
