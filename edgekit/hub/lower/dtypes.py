"""A writer's copy of the hub in, the same with all of its floats in float32 inside and its boundary as it was out.

Mobile runtimes compute in float32. A model in float16 or float64 keeps its inputs and outputs, with a Cast behind each input and before
each output; what happens between them is done in float32. Attributes that name a dtype follow.
"""

from __future__ import annotations

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgekit.hub.graph import Refusal, array, constants
from edgekit.hub.names import rename
from edgekit.hub.normalise import settle
from edgekit.hub.order import sort

OTHER_FLOATS = (TensorProto.FLOAT16, TensorProto.DOUBLE)
BOUNDARY = "edgekit/boundary/"
NAMED_BY = ("to", "dtype", "stash_type", "softmax_precision", "output_dtype", "output_datatype")
"""Attributes that hold a TensorProto.DataType."""


def compute_in_float32(model: ModelProto) -> list[str]:
    """Let the graph compute in float32; changes it in place and returns notes.

    Raises:
        Refusal: a stored float64 that float32 cannot hold.
    """
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    found = {value.type.tensor_type.elem_type for value in values} | {tensor.data_type for tensor in graph.initializer}
    other = sorted(TensorProto.DataType.Name(kind).lower() for kind in found.intersection(OTHER_FLOATS))
    bits = any(node.op_type == "BitCast" for node in graph.node)  # the bits of another float are not those of a float32
    if not other or bits:
        return []
    stored = constants(graph)
    for value in graph.input:
        cast_input(model, value)
    for value in graph.output:
        if value.name not in stored or value.type.tensor_type.elem_type in OTHER_FLOATS:
            cast_output(model, value)
    for tensor in graph.initializer:
        if tensor.data_type in OTHER_FLOATS:
            tensor.CopyFrom(numpy_helper.from_array(narrowed(tensor), tensor.name))
    for node in graph.node:
        for attribute in () if node.name.startswith(BOUNDARY) else node.attribute:
            if attribute.name in NAMED_BY and attribute.i in OTHER_FLOATS:
                attribute.i = TensorProto.FLOAT
            elif attribute.type == AttributeProto.TENSOR and attribute.t.data_type in OTHER_FLOATS:
                attribute.t.CopyFrom(numpy_helper.from_array(narrowed(attribute.t), attribute.t.name))
    del graph.value_info[:]
    sort(graph)
    settle(model)
    return [f"{' and '.join(other)} is computed in float32"]


def cast_input(model: ModelProto, value: ValueInfoProto) -> None:
    """Let all that reads an input of another float read it through a Cast."""
    if value.type.tensor_type.elem_type in OTHER_FLOATS:
        name, inner = value.name, f"{value.name}/float"
        for output in model.graph.output:
            if output.name == name:
                return  # an input that is an output has nothing to compute
        for node in model.graph.node:
            node.input[:] = [inner if one == name else one for one in node.input]
        model.graph.node.append(helper.make_node("Cast", [name], [inner], name=f"{BOUNDARY}{name}", to=TensorProto.FLOAT))


def cast_output(model: ModelProto, value: ValueInfoProto) -> None:
    """Give an output of another float by a Cast."""
    kind = value.type.tensor_type.elem_type
    if kind in OTHER_FLOATS and value.name not in {one.name for one in model.graph.input}:
        kept = ValueInfoProto()
        kept.CopyFrom(value)
        rename(model.graph, {value.name: f"{value.name}/float"})
        value.CopyFrom(kept)
        model.graph.node.append(helper.make_node("Cast", [f"{kept.name}/float"], [kept.name], name=f"{BOUNDARY}{kept.name}", to=kind))


def narrowed(tensor: TensorProto) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The values as float32."""
    values = array(tensor)
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    if np.any(np.isinf(small) & np.isfinite(values)):
        reason = "export the model in float32"
        raise Refusal(f"tensor {tensor.name!r} holds float64 values that float32 cannot hold ({np.abs(values).max():.3g}): {reason}", kind="convert")
    return small
