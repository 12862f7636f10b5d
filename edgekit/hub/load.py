"""A path in, a checked ONNX model out: what it is, whether it is whole, and whether all of its operators are known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor

from edgekit.hub.graph import DEFAULT_DOMAINS, Refusal, opset, subgraphs, title, walk
from edgekit.hub.quantized import widen
from edgekit.hub.save import PROTOBUF_BYTES
from edgekit.hub.shapes import skeleton

NOT_TENSORS = {
    "sequence_type": "a sequence of tensors",
    "optional_type": "an optional value",
    "map_type": "a map",
    "sparse_tensor_type": "a sparse tensor",
}
"""Kinds of value that no mobile format has."""

QUANTIZED = ("MatMulNBits", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "GatherBlockQuantized", "QLinearAdd", "QGemm", "MatMulBnb4")
"""Operators of ONNX Runtime's own (com.microsoft) that its quantizer writes."""

MOST_BYTES = 2_000_000_000
"""What protobuf and flatbuffers, whose offsets are 32 bits with a sign, can hold with the graph around it."""

OTHER_FILES: tuple[tuple[int, bytes, str], ...] = (
    (4, b"TFL3", "it is a TFLite file, which is a result of conversion: give the model that it was made from"),
    (0, b"PK\x03\x04", "it is a zip archive: a Keras model is named *.keras, a PyTorch program *.pt2"),
    (0, b"\x89HDF", "it is an HDF5 file: name it *.h5 or *.hdf5, and it is read as a Keras model"),
    (0, b"\x80\x02", "it is a Python pickle, which is never loaded: export the model to ONNX or with torch.export.save to *.pt2"),
    (0, b"version https://git-lfs", "it is a Git LFS pointer: run `git lfs pull`"),
    (0, b"<", "it is a web page or XML, so the download went wrong: fetch it again"),
    (0, b"{", "it is JSON: give the .onnx file"),
)
"""Offset, first bytes, and what to say."""


def load(path: Path) -> ModelProto:
    """Read an ONNX file with its external data, which must lie in the file's own folder.

    Raises:
        Refusal: not an ONNX model, truncated, from the future, or with operators or kinds of value that edgekit cannot carry.
    """
    if path.is_dir():
        raise Refusal(f"{path.name} is a folder, not an ONNX model: name the .onnx file")
    if path.stat().st_size > PROTOBUF_BYTES:
        raise Refusal(f"{path.name} is not an ONNX model: it is larger than 2 GB, which none is; save it with external data (onnx.save, save_as_external_data)")
    data = path.read_bytes()
    if not data:
        raise Refusal(f"{path.name} is not an ONNX model: it is empty")
    model = parse(path.name, data)
    check_text(path.name, model)
    check_opsets(path.name, model)
    load_external(path, model)
    widen(model)
    check_values(model)
    check_operators(path.name, model)
    check_form(path.name, model)
    return model


def parse(name: str, data: bytes) -> ModelProto:
    """The protobuf in `data`.

    Raises:
        Refusal: it is something else, or only a part of it.
    """
    words = next((words for offset, magic, words in OTHER_FILES if data[offset:].startswith(magic)), None)
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as exc:
        raise Refusal(f"{name} is not an ONNX model: {words or 'it is truncated or not a protobuf at all, so export or fetch it again'}") from exc
    if not model.HasField("graph") or not model.graph.output or not model.ir_version:
        raise Refusal(f"{name} is not an ONNX model: {words or 'it holds no graph with outputs, so export or fetch it again'}")
    return model


def check_text(name: str, model: ModelProto) -> None:
    """Refuse names that are no text: protobuf gives those as bytes, and everything that follows takes names for text."""
    for graph_nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in walk(graph_nodes):
            words = [node.name, node.op_type, node.domain, *node.input, *node.output, *(found.name for found in node.attribute)]
            if any(isinstance(word, bytes) for word in words):
                raise Refusal(f"{name} is damaged: a node has a name that is no text; fetch or export it again")
    named = [*model.graph.input, *model.graph.output, *model.graph.value_info, *tensors(model), *model.functions, *model.graph.sparse_initializer]
    if any(isinstance(getattr(one, "name", ""), bytes) for one in named) or any(isinstance(entry.domain, bytes) for entry in model.opset_import):
        raise Refusal(f"{name} is damaged: a tensor has a name that is no text; fetch or export it again")


def check_opsets(name: str, model: ModelProto) -> None:
    """Refuse a model that is newer than the installed onnx."""
    newest = onnx.defs.onnx_opset_version()
    if opset(model) > newest:
        raise Refusal(f"{name} uses opset {opset(model)}, and opset {newest} is the newest known here: export it with opset {newest} or lower")


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every stored tensor: initializers and tensors in attributes, those of bodies and functions included."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    yield from model.graph.initializer
    for node in walk(nodes):
        for found in node.attribute:
            yield from [found.t] if found.HasField("t") else []
            yield from found.tensors
        for body in subgraphs(node):
            yield from body.initializer


def load_external(path: Path, model: ModelProto) -> None:
    """Read the tensors that are stored in files beside the model.

    Raises:
        Refusal: a file is outside the model's folder, missing, or too short.
    """
    folder = path.parent.resolve()
    outside = sum(ExternalDataInfo(tensor).length or 0 for tensor in tensors(model) if tensor.data_location == TensorProto.EXTERNAL)
    if outside > MOST_BYTES:
        raise Refusal(
            f"{path.name} has {outside / 1e9:.1f} GB of weights, and one file of TFLite or ONNX holds 2 GB: give a smaller model, or export it in parts"
        )
    for tensor in tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        info = ExternalDataInfo(tensor)
        location = PurePosixPath(str(info.location).replace("\\", "/"))
        file = folder / location
        what = f"{path.name} stores tensor {tensor.name!r} in {str(location)!r}"
        if location.is_absolute() or ".." in location.parts or not file.resolve().is_relative_to(folder):
            raise Refusal(f"{what}, outside its own folder: put the data beside the model and export again")
        if not file.is_file():
            raise Refusal(f"{what}, which is missing: put that file beside the model")
        needed = (info.offset or 0) + (info.length or 0)
        if os.stat(file).st_size < needed:
            raise Refusal(f"{path.name} needs {needed} bytes of {str(location)!r}, which is shorter: fetch that file again")
        load_external_data_for_tensor(tensor, str(folder))
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def check_values(model: ModelProto) -> None:
    """Refuse inputs, outputs and stored tensors of kinds that no mobile format has."""
    stored = {tensor.name for tensor in model.graph.initializer}
    for role, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            kind = value.type.WhichOneof("value")
            if kind in NOT_TENSORS:
                raise Refusal(f"{role} {value.name!r} is {NOT_TENSORS[kind]}: export the model with plain tensors as its inputs and outputs")
            if role == "input" and value.name not in stored and kind is None:
                raise Refusal(f"input {value.name!r} has no type: export the model again")
            check_dtype(f"{role} {value.name!r}", value.type.tensor_type.elem_type)
    for tensor in tensors(model):
        check_dtype(f"tensor {tensor.name!r}", tensor.data_type)


def check_dtype(what: str, elem_type: int) -> None:
    """Refuse strings, complex numbers, and types that numpy lacks (`bfloat16`, `float8…`, 4-bit integers)."""
    if elem_type == TensorProto.STRING:
        raise Refusal(f"{what} holds strings, which no mobile format carries: do that part of the work outside the model")
    if elem_type == TensorProto.UNDEFINED:
        return
    if elem_type not in TensorProto.DataType.values():
        raise Refusal(f"{what} has the type {elem_type}, which ONNX does not define: the file is damaged, so fetch or export it again")
    name = TensorProto.DataType.Name(elem_type).lower()
    if (name not in ("float", "double") and not name.startswith(("int", "uint", "bool", "float16"))) or name in ("int4", "uint4", "int2", "uint2"):
        raise Refusal(f"{what} is {name}, which edgekit cannot carry: export the model in float32")


def check_operators(name: str, model: ModelProto) -> None:
    """Refuse operators that ONNX does not define, by their names."""
    version = opset(model)
    local = {(function.domain, function.name) for function in model.functions}
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    for node in walk(nodes):
        if (node.domain, node.op_type) in local:
            continue
        where = {"op": node.op_type, "node": title(node)}
        if node.domain not in DEFAULT_DOMAINS:
            cure = "export the model without it, or built from standard operators"
            if node.domain == "com.microsoft" and node.op_type in QUANTIZED:
                words = f"{name} is a file quantized for ONNX Runtime, not a source: it computes with {node.domain}::{node.op_type}"
                cure = "give the float model that it was made from; the file itself can be measured with `edgekit bench` and compared with `edgekit diff`"
                raise Refusal(f"{words}; {cure}", **where)
            if node.domain.startswith("com.microsoft"):
                cure = "give the model as it was before ONNX Runtime optimised or quantized it"
            raise Refusal(f"node {title(node)!r} is {node.domain}::{node.op_type}, a custom operator that no mobile format carries: {cure}", **where)
        try:
            schema = onnx.defs.get_schema(node.op_type, version, "")
        except onnx.defs.SchemaError as exc:
            raise Refusal(
                f"node {title(node)!r} is {node.op_type}, which opset {version} does not define: export the model again with a newer opset", **where
            ) from exc
        if schema.deprecated:
            raise Refusal(f"node {title(node)!r} is {node.op_type}, which opset {version} no longer has: export the model again", **where)
        if node.op_type.startswith(("Sequence", "Optional", "String")) or node.op_type in (
            "SplitToSequence",
            "ConcatFromSequence",
            "RegexFullMatch",
            "TfIdfVectorizer",
        ):
            raise Refusal(
                f"node {title(node)!r} is {node.op_type}, which works on values that are not tensors of numbers: export the model without it", **where
            )


def check_form(name: str, model: ModelProto) -> None:
    """Run ONNX's own checker, without the large tensors. Outputs may leave their shape to inference, as runtimes allow."""
    names = [value.name for value in model.graph.output]
    if len(set(names)) < len(names):
        raise Refusal(f"{name} gives the output {next(one for one in names if names.count(one) > 1)!r} twice: export it with a name for each")
    thin = skeleton(model)
    for value in thin.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(thin)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as exc:  # the checker's own message may hold what is no text
        words = " ".join(str(exc).split())[:300]
        raise Refusal(f"{name} is not a valid ONNX model ({words}): export it again") from exc
