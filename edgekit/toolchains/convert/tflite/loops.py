"""A hub in, the same with its Ifs and Loops as onnx2tf takes them out: bodies in operators that it gets right, WHILEs that read nothing from outside.

TFLite's WHILE hands on a state and has no other way into its body, so what a Loop's body reads from outside becomes a part of the state;
stored tensors are stored in it once more.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgekit.hub.bodies import CONTROL, captured, in_bodies, types
from edgekit.hub.graph import Refusal, attribute, constants, set_attribute, title
from edgekit.hub.lower import lower
from edgekit.hub.names import rename
from edgekit.toolchains.convert.tflite.lowerings import LOWERINGS


def for_while(model: ModelProto) -> None:
    """Lower the bodies of every If and Loop, and close those of the Loops, in place.

    Raises:
        Refusal: a Loop gathers what each turn gives.
    """
    for node in model.graph.node:
        if node.op_type in CONTROL:
            in_bodies(model, node, lowered)
        if node.op_type == "Loop":
            close(model, node)


def lowered(body: ModelProto) -> None:
    lower(body, LOWERINGS)
    for_while(body)


def close(model: ModelProto, node: NodeProto) -> None:
    """Give a Loop its count and condition, and its body what it reads from outside: as state, or stored."""
    body, name = attribute(node, "body"), title(node)
    if len(node.output) > len(node.input) - 2:
        reason = "gathers what each turn gives, and TFLite's WHILE carries tensors of fixed shapes only; write into a tensor that the loop carries"
        raise Refusal(f"Loop node {name!r} {reason}", kind="convert", op="Loop", node=name)
    known, stored = types(model), constants(model.graph)
    for place, values in enumerate((np.int64(np.iinfo(np.int64).max), np.bool_(True))):
        if not node.input[place]:
            node.input[place] = f"{name}/{('count', 'condition')[place]}"
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), node.input[place]))
    for read in sorted(captured(body)):
        if read in stored:
            body.initializer.add().CopyFrom(stored[read])
            body.initializer[-1].name = f"{name}/{read}"
            rename(body, {read: f"{name}/{read}"})
            continue
        inside, after = f"{name}/{read}/in", f"{name}/{read}/next"
        rename(body, {read: inside})
        body.input.add(name=inside).type.CopyFrom(known[read])
        body.output.add(name=after).type.CopyFrom(known[read])
        body.node.append(helper.make_node("Identity", [inside], [after]))
        node.input.append(read)
        node.output.append(f"{name}/{read}/last")
        model.graph.value_info.add(name=node.output[-1]).type.CopyFrom(known[read])
    set_attribute(node, "body", body)
