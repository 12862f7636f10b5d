"""A model of any opset in, the same model in opset 18 out where that can be done exactly, with a note where it cannot."""

from __future__ import annotations

import onnx
import onnx.inliner
from onnx import ModelProto, NodeProto
from onnx.defs import OpSchema

from edgekit.hub.fold import constants_to_initializers
from edgekit.hub.graph import DEFAULT_DOMAINS, Refusal, attribute, opset, walk
from edgekit.hub.save import by_bytes
from edgekit.hub.shapes import infer, skeleton

OPSET = 18
"""What all three writers read, and what PyTorch's and TensorFlow's exporters both write."""

CHANGED_MEANING = {"GroupNormalization", "DFT", "GridSample", "Attention"}
"""Operators whose newer versions mean something else by the same words."""

NEW_VALUES = {("Pad", "mode"): b"wrap", ("Resize", "coordinate_transformation_mode"): b"half_pixel_symmetric"}
"""Attribute values that came after opset 18."""


def to_one_opset(model: ModelProto) -> tuple[ModelProto, list[str]]:
    """The model in opset 18.

    A node whose definition has not changed in what it uses needs a new label only; from older opsets ONNX's own version converter
    does the rest. What cannot be done exactly is left as it is, with a note.
    """
    version = opset(model)
    if version == OPSET:
        return model, []
    if version > OPSET:
        model = expand_new_functions(model)
        constants_to_initializers(model)
    if all(same(node, version) for node in walk(model.graph.node)) and fits(model):
        relabel(model, OPSET)
        return model, []
    if version < OPSET and not (version < 9 and any(node.op_type == "Scan" for node in model.graph.node)):  # the converter leaves its body wrong
        try:
            converted = by_bytes(model, lambda model: onnx.version_converter.convert_version(model, OPSET))
        except (RuntimeError, onnx.shape_inference.InferenceError) as exc:
            return model, [f"kept in opset {version}, because ONNX's version converter failed ({' '.join(str(exc).split())[:120]})"]
        if output_names_of(converted) == output_names_of(model):
            return converted, []
    return model, [f"kept in opset {version}, because it uses operators that opset {OPSET} defines otherwise"]


def output_names_of(model: ModelProto) -> list[str]:
    return [value.name for value in [*model.graph.input, *model.graph.output]]


def expand_new_functions(model: ModelProto) -> ModelProto:
    """Write operators that opset 18 lacks, and that ONNX defines by others (Gelu, RMSNormalization), out by their definition."""
    new = {node.op_type for node in walk(model.graph.node) if schema(node, OPSET) is None}
    if not new:
        return model
    try:
        return by_bytes(model, lambda model: onnx.inliner.inline_selected_functions(model, [("", op) for op in sorted(new)], inline_schema_functions=True))
    except RuntimeError:  # the inliner cannot expand a call that leaves out an input in the middle
        return model


def schema(node: NodeProto, version: int) -> OpSchema | None:
    """The definition of a node's operator in an opset, or None if it has none there."""
    try:
        return onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError:
        return None


def same(node: NodeProto, version: int) -> bool:
    """Whether a node means the same in opset 18 as in `version`."""
    if node.domain not in DEFAULT_DOMAINS:
        return False
    ours, theirs = schema(node, OPSET), schema(node, version)
    if ours is None or theirs is None or ours.deprecated:
        return False
    if ours.since_version == theirs.since_version:
        return True
    if version < OPSET or node.op_type in CHANGED_MEANING:
        return False
    if any(found.name not in ours.attributes for found in node.attribute) or len(node.input) > ours.max_input:
        return False
    return all(attribute(node, name) != value for (op, name), value in NEW_VALUES.items() if op == node.op_type)


def fits(model: ModelProto) -> bool:
    """Whether opset 18 gives the model's tensors the types and shapes that they have (newer opsets allow more types, and round some pools otherwise)."""
    trial = skeleton(model)
    relabel(trial, OPSET)
    try:
        infer(trial)
    except Refusal:
        return False
    return True


def relabel(model: ModelProto, version: int) -> None:
    """Say that the model is in that opset, and in no other operator set."""
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", version))
    model.ir_version = 8
