"""A hub in, its layers with weights out: which initializer, what its axes mean, and the multiply-accumulates it costs.

A layer is a node that multiplies by a constant: Conv, ConvTranspose, Gemm, MatMul, an LSTM's, GRU's or RNN's W and R; and a Gather that looks
rows up in a table (an embedding), which passes leave alone unless a wish names it. Biases and normalisation are no layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgekit.compress.layer_names import FACTORS, layer_names
from edgekit.hub.figures import GATES, macs
from edgekit.hub.graph import array, attribute, constants, output_names, static_shapes, title, walk

Array = np.ndarray[Any, Any]
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}


@dataclass(frozen=True, slots=True)
class Layer:
    """One constant that a node multiplies by."""

    node: NodeProto
    weight: str
    """Name of the initializer."""
    kind: str
    """The node's operator."""
    position: int
    """Which input of the node it is: 1; 2 is a recurrent node's R; 0 a constant on the left of a MatMul, or the table of a Gather."""
    shape: tuple[int, ...]
    output_axis: int
    input_axis: int
    """Of the weights. A ConvTranspose's and a grouped Conv's count the channels of one group there (ONNX operators, Conv and ConvTranspose)."""
    macs: int
    """Multiply-accumulates with these weights in one run."""
    groups: int = 1
    name: str = ""
    """What a person calls the layer; no other weights go by it (`edgekit.compress.layer_names`)."""

    @property
    def is_table(self) -> bool:
        """Looked up, not multiplied by."""
        return self.kind == "Gather"

    @property
    def is_depthwise(self) -> bool:
        """Each output channel sees one input channel."""
        return self.groups > 1 and (self.shape[1] if self.kind == "Conv" else self.shape[0] // self.groups) == 1


def layers(model: ModelProto) -> list[Layer]:
    """Every layer of a hub, in the graph's order; weights that several nodes read are in several layers.

    Weights that are read as something else too (tied to an embedding, an output of the model, used in a body) are not in it.
    """
    graph = model.graph
    shapes = static_shapes(graph)
    floats = {tensor.name for tensor in graph.initializer if tensor.data_type in FLOATS}
    found = [layer for node in graph.node for layer in of_node(node, shapes) if layer.weight in floats]
    uses: dict[str, int] = dict.fromkeys(output_names(graph), 1)
    for node in walk(graph.node):
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    explained: dict[tuple[str, bool], int] = {}
    for layer in found:
        explained[layer.weight, layer.is_table] = explained.get((layer.weight, layer.is_table), 0) + 1
    return named([layer for layer in found if explained[layer.weight, layer.is_table] == uses[layer.weight]])


def named(found: Sequence[Layer]) -> list[Layer]:
    """The layers with their names: the one way in which a layer is called in what edgekit prints and writes."""
    called = layer_names([(title(one.node), one.kind, one.weight, " WR"[one.position] if one.kind in GATES else "") for one in found])
    return [replace(one, name=name) for one, name in zip(found, called, strict=True)]


def names(layer: Layer) -> list[str]:
    """All that a layer goes by in a wish: its name, its weights', its node's, and those of the layer that it is a factor of; what is most its own first."""
    own = (layer.name, layer.weight, title(layer.node))
    return [*own, *(name.removesuffix(end) for name in own for end in FACTORS if name.endswith(end))]


def of_node(node: NodeProto, shapes: dict[str, list[int]]) -> Iterator[Layer]:
    """The layers of one node, were its inputs constants."""
    kind, given = node.op_type, node.input

    def layer(position: int, output_axis: int, input_axis: int, cost: int, groups: int = 1) -> Layer:
        return Layer(node, given[position], kind, position, tuple(shapes[given[position]]), output_axis, input_axis, cost, groups)

    if not all(name in shapes for name in [*given[:2], node.output[0]] if name):
        return
    if kind == "Conv":
        yield layer(1, 0, 1, macs(node, shapes), int(attribute(node, "group", 1)))
    elif kind == "ConvTranspose":
        yield layer(1, 1, 0, macs(node, shapes), int(attribute(node, "group", 1)))
    elif kind == "Gemm":
        cost, across = macs(node, shapes), bool(attribute(node, "transB", 0))
        yield layer(1, 0, 1, cost) if across else layer(1, 1, 0, cost)
    elif kind == "MatMul":
        cost = macs(node, shapes)
        for position in (0, 1):
            rank = len(shapes[given[position]])
            if rank >= 2:
                yield layer(position, *((rank - 2, rank - 1) if position == 0 else (rank - 1, rank - 2)), cost)
    elif kind in GATES:
        steps, batch = shapes[given[0]][:2]
        if given[2] in shapes:
            for position in (1, 2):
                yield layer(position, 1, 2, steps * batch * int(np.prod(shapes[given[position]])))
    elif kind == "Gather" and len(shapes[given[0]]) == 2 and attribute(node, "axis", 0) == 0:
        yield layer(0, 0, 1, 0)


def distinct(found: Iterable[Layer]) -> list[Layer]:
    """One layer for each weight: the first that reads it."""
    first: dict[str, Layer] = {}
    for layer in found:
        first.setdefault(layer.weight, layer)
    return list(first.values())


class Weights(MutableMapping[str, Array]):
    """The initializers of a hub by name, read as float32 when asked for, so that only the model itself is held; what is put in goes into the hub."""

    def __init__(self, model: ModelProto) -> None:
        self.tensors = constants(model.graph)

    def __getitem__(self, name: str) -> Array:
        """Not to be written into."""
        return array(self.tensors[name]).astype(np.float32, copy=False)

    def __setitem__(self, name: str, values: Array) -> None:
        """The initializer keeps its name and its type."""
        self.replace(name, lambda _: values)

    def replace(self, name: str, made: Callable[[Array], Array]) -> None:
        """Put what is made of the values there; neither is held while it goes into the hub, for a layer may be most of the model."""
        tensor, kind = self.tensors[name], self.kind(name)
        values = np.ascontiguousarray(made(self[name]), kind)
        shape, stored = values.shape, values.tobytes()
        del values
        for field in ("float_data", "double_data", "int32_data", "dims"):
            tensor.ClearField(field)
        tensor.dims.extend(shape)
        tensor.raw_data = stored

    def kind(self, name: str) -> np.dtype[Any]:
        """The type in which the hub holds it."""
        return np.dtype(helper.tensor_dtype_to_np_dtype(self.tensors[name].data_type))

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name} stays in the hub")

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def rows(values: Array, axis: int) -> Array:
    """Weights as [slices along the axis, everything else]; a view where the axis is the first."""
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def unrows(flat: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """What `rows` was given."""
    moved = (shape[axis], *(size for place, size in enumerate(shape) if place != axis))
    return np.moveaxis(flat.reshape(moved), 0, axis)
