"""A checked ONNX model in, the hub out: fixed and inferred shapes, one opset, nothing in it that is not needed.

`prepare` comes before a simplifier and `finish` after it. The boundary (names, order, dtypes and shapes of inputs and outputs)
is the source model's throughout.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx.inliner
from onnx import ModelProto

from edgekit.hub.axes import Wanted
from edgekit.hub.bodies import settle_bodies
from edgekit.hub.fold import constants_to_initializers, fold, inline_decided_ifs
from edgekit.hub.functions import expand_uninferred
from edgekit.hub.graph import DEFAULT_DOMAINS, attribute, constants, set_attribute, walk
from edgekit.hub.loops import resolve_loops
from edgekit.hub.opsets import to_one_opset
from edgekit.hub.order import name_nodes, remove_dead, sort
from edgekit.hub.reversal import reverse_layers
from edgekit.hub.rewrite import rewrite
from edgekit.hub.save import by_bytes
from edgekit.hub.scan import unroll_scans
from edgekit.hub.shapes import check_static, fix_inputs, infer, restore_types

ROUNDS = 20
"""Folding gives new shapes and these give new constants; real models settle in two to four rounds."""


def prepare(model: ModelProto, shapes: Mapping[str, Wanted]) -> tuple[ModelProto, list[str]]:
    """Inline functions, fix and infer shapes, fold what is constant, bring to one opset, sort. Returns the model and notes.

    Raises:
        Refusal: see `shapes` and `order`; or an output's shape stays open.
    """
    if model.functions:
        model = by_bytes(model, onnx.inliner.inline_local_functions)
    notes = drop_stored_inputs(model)
    notes += fix_inputs(model, shapes)
    strip_default_domain(model)
    sort(model.graph)
    say_onesided(model)
    while expand_uninferred(model):
        constants_to_initializers(model)
    settle(model)
    converted, more = to_one_opset(model)
    if converted is not model:
        sort(converted.graph)
        settle(converted)
    for _ in range(ROUNDS):
        if not reverse_layers(converted):
            break
        sort(converted.graph)
        settle(converted)
    remove_dead(converted.graph)
    check_static(converted)
    return converted, notes + more


def settle(model: ModelProto) -> None:
    """Infer and fold until nothing changes."""
    for _ in range(ROUNDS):
        constants_to_initializers(model)
        infer(model)
        changed = fold(model)
        if unroll_scans(model) | expand_uninferred(model):
            sort(model.graph)
            changed = True
        if inline_decided_ifs(model) or (not changed and resolve_loops(model)):
            sort(model.graph)
            changed = True
        if not changed and not settle_bodies(model, settle):
            break
    restore_types(model, constants(model.graph))


def finish(model: ModelProto, boundary: ModelProto) -> ModelProto:
    """Rewrite into the hub's normal form, with the inputs and outputs of `boundary`.

    Raises:
        Refusal: an output was lost or changed on the way.
    """
    declare(model, boundary)
    sort(model.graph)
    settle(model)
    for _ in range(ROUNDS):
        if not rewrite(model):
            break
        sort(model.graph)
        settle(model)
        remove_dead(model.graph)
    remove_dead(model.graph)
    name_nodes(model.graph)
    declare(model, boundary)
    check_static(model)
    sign(model)
    return model


def is_signed(model: ModelProto) -> bool:
    """Whether `sign` would change nothing."""
    named = (model.producer_name, model.producer_version, model.doc_string, model.graph.doc_string) == ("edgekit", "", "", "")
    return named and not model.metadata_props and not any(node.doc_string or node.metadata_props for node in walk(model.graph.node))


def sign(model: ModelProto) -> None:
    """Name edgekit as the model's producer; what the exporter left in descriptions is dropped."""
    model.producer_name, model.producer_version, model.doc_string = "edgekit", "", ""
    model.graph.doc_string = ""
    for node in walk(model.graph.node):
        node.doc_string = ""
        del node.metadata_props[:]
    del model.metadata_props[:]


def say_onesided(model: ModelProto) -> None:
    """Write the default of STFT's `onesided` out: ONNX's shape inference takes it for 0, and its definition says 1."""
    for node in model.graph.node:
        if node.op_type == "STFT":
            set_attribute(node, "onesided", attribute(node, "onesided", 1))


def declare(model: ModelProto, boundary: ModelProto) -> None:
    """Give the model the inputs and outputs of another, in its order."""
    for mine, theirs in ((model.graph.input, boundary.graph.input), (model.graph.output, boundary.graph.output)):
        copies = list(theirs)
        del mine[:]
        mine.extend(copies)


def drop_stored_inputs(model: ModelProto) -> list[str]:
    """Inputs that have a stored default are constants of the model: take them from the inputs, with a note where that is a choice."""
    stored = constants(model.graph)
    chosen = [value.name for value in model.graph.input if value.name in stored]
    kept = [value for value in model.graph.input if value.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    if model.ir_version < 4:  # every initializer had to be listed
        model.ir_version = 4
        return []
    return [f"input {name!r} has a default in the model and is fixed at it" for name in chosen]


def strip_default_domain(model: ModelProto) -> None:
    """Write the default operator set as '' everywhere, and forget operator sets that no node uses."""
    used = set()
    for node in walk(model.graph.node):
        node.domain = "" if node.domain in DEFAULT_DOMAINS else node.domain
        used.add(node.domain)
    kept = {("" if entry.domain in DEFAULT_DOMAINS else entry.domain): entry.version for entry in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in kept.items() if domain in used or domain == "")
