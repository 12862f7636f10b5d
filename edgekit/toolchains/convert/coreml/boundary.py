"""An ONNX model's inputs and outputs in, what Core ML makes of them out: identifiers for names, and what has to differ.

A package whose feature cannot carry the model's own name keeps that in its metadata, as `edgekit.name.<feature>`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import coremltools as ct
import onnx
from coremltools.converters.mil.mil.passes.defs.preprocess import NameSanitizer

from edgekit.hub.bodies import names_of_their_own
from edgekit.hub.graph import subgraphs

NARROWED = {
    onnx.TensorProto.DOUBLE: "float64", onnx.TensorProto.BOOL: "bool", onnx.TensorProto.INT64: "int64", onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.INT8: "int8", onnx.TensorProto.UINT64: "uint64", onnx.TensorProto.UINT32: "uint32", onnx.TensorProto.UINT16: "uint16",
    onnx.TensorProto.UINT8: "uint8",
}  # fmt: skip
CARRIED = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT32, *NARROWED}


def inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    constants = {i.name for i in model.graph.initializer}
    return [v for v in model.graph.input if v.name not in constants]


def unsupported_feature(model: onnx.ModelProto) -> str | None:
    """One sentence on the first input or output that Core ML cannot have."""
    for side, values in (("input", inputs(model)), ("output", list(model.graph.output))):
        for value in values:
            tensor = value.type.tensor_type
            if tensor.elem_type not in CARRIED:
                dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
                return f"{side} {value.name!r} is {dtype}, which Core ML does not have at a model's boundary: make it float32 or int32"
            if side == "input" and not tensor.shape.dim:
                return f"input {value.name!r} is a scalar, which Core ML does not take: give it the shape [1]"
    return None


def identifiers(model: onnx.ModelProto) -> dict[str, str]:
    """Rename every value of the graph, in place, to an identifier of its own; returns new name → own name of inputs and outputs."""
    graph = model.graph
    boundary = [v.name for v in [*inputs(model), *graph.output]]
    names_of_their_own(model)
    renamed = unique_identifiers([*boundary, *names_inside(graph)])
    rename_all(graph, renamed)
    return {renamed[name]: name for name in boundary}


def names_inside(graph: onnx.GraphProto) -> Iterator[str]:
    """The names of all that a graph and its bodies hold."""
    yield from (value.name for value in [*graph.input, *graph.initializer])
    for node in graph.node:
        yield from (name for name in node.output if name)
        for body in subgraphs(node):
            yield from names_inside(body)


def rename_all(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename tensors in a graph and in its bodies, where each has a name of its own."""
    for value in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for body in subgraphs(node):
            rename_all(body, names)


def unique_identifiers(names: list[str]) -> dict[str, str]:
    """Name → identifier. A name that is one already, and no keyword of MIL, stays; no two names become the same."""
    wanted = {name: NameSanitizer().sanitize_name(name) for name in names}
    chosen = {name: name for name, identifier in wanted.items() if identifier == name}
    taken = set(chosen)
    for name, identifier in wanted.items():
        if name not in chosen:
            tries = itertools.chain([identifier], (f"{identifier}_{n}" for n in itertools.count(1)))
            chosen[name] = next(t for t in tries if t not in taken)
            taken.add(chosen[name])
    return chosen


def describe(spec: Any, model: onnx.ModelProto, own_names: dict[str, str]) -> list[str]:
    """Put names that could not be kept into the package's metadata; returns what differs from the model, in sentences."""
    array_types = ct.proto.FeatureTypes_pb2.ArrayFeatureType.ArrayDataType
    notes = []
    for side, features, values in (("input", spec.description.input, inputs(model)), ("output", spec.description.output, list(model.graph.output))):
        for feature, value in zip(features, values, strict=True):
            name = own_names[value.name]
            if feature.name != value.name:
                ct.utils.rename_feature(spec, feature.name, value.name, rename_inputs=side == "input", rename_outputs=side == "output")
            if feature.name != name:
                spec.description.metadata.userDefined[f"edgekit.name.{feature.name}"] = name
                notes.append(f"{side} {name!r} is called {feature.name!r}: names in Core ML are identifiers")
            was = NARROWED.get(value.type.tensor_type.elem_type)
            if was:
                now = array_types.Name(feature.type.multiArrayType.dataType).lower()
                notes.append(f"{side} {name!r} is {now} for {was}, which Core ML does not have")
    return notes
