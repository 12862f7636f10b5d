"""A graph with Scans in, the same graph with their bodies written out step by step out (ONNX operator Scan-9).

What a mobile format carries has no loops; a Scan runs as often as its inputs are long, which is fixed once the shapes are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from edgekit.hub.graph import attribute, opset, set_attribute, static_shapes
from edgekit.hub.names import rename

LONGEST = 256
"""Steps up to which a Scan is written out: as many as of a recurrent layer."""


def unroll_scans(model: ModelProto) -> bool:
    """Write out each Scan of the main graph whose inputs have fixed shapes. Whether anything changed."""
    if opset(model) < 9:
        return False
    shapes = static_shapes(model.graph)
    changed, nodes = False, []
    for node in model.graph.node:
        steps = steps_of(node, shapes)
        if steps is None:
            nodes.append(copy(node))
        else:
            nodes += written_out(model.graph, node, steps, opset(model))
            changed = True
    if changed:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    return changed


def steps_of(node: NodeProto, shapes: dict[str, list[int]]) -> int | None:
    """How often a Scan runs; None for other nodes, and where it is not known or too often."""
    if node.op_type != "Scan":
        return None
    scanned = attribute(node, "num_scan_inputs")
    name = node.input[len(node.input) - scanned]
    axes = attribute(node, "scan_input_axes") or [0] * scanned
    if name not in shapes:
        return None
    steps = shapes[name][axes[0]]
    return steps if steps <= LONGEST else None


def written_out(graph: GraphProto, node: NodeProto, steps: int, version: int) -> list[NodeProto]:
    """The nodes that take the place of a Scan."""
    body, scanned = attribute(node, "body"), attribute(node, "num_scan_inputs")
    states = list(node.input[: len(node.input) - scanned])
    sources = list(node.input[len(states) :])
    prefix = f"{node.name or node.output[0]}/"
    nodes: list[NodeProto] = []
    given: list[list[str]] = [[] for _ in range(len(body.output) - len(states))]
    rows = directions(node, "scan_input_directions", scanned)
    for step in range(steps):
        inner = GraphProto()
        inner.CopyFrom(body)
        here = f"{prefix}{step}/"
        items = []
        for position, source in enumerate(sources):
            axis = (attribute(node, "scan_input_axes") or [0] * scanned)[position]
            place = steps - 1 - step if rows[position] else step
            items.append(take(graph, nodes, source, place, axis, f"{here}item{position}"))
        own = {name for one in inner.node for name in one.output if name} | {tensor.name for tensor in inner.initializer}
        names = {name: here + name for name in own}
        names |= {value.name: outer for value, outer in zip(inner.input, [*states, *items], strict=True)}
        rename(inner, names)
        for one in inner.node:
            one.name = f"{here}{one.name}" if one.name else ""
            nodes.append(copy(one))
        graph.initializer.extend(inner.initializer)
        results = [value.name for value in inner.output]
        states = results[: len(states)]
        for place, name in enumerate(results[len(states) :]):
            given[place].append(name)
    finish(graph, node, nodes, states, given, prefix, version)
    return nodes


def directions(node: NodeProto, name: str, count: int) -> list[int]:
    return list(attribute(node, name) or [0] * count)


def take(graph: GraphProto, nodes: list[NodeProto], source: str, place: int, axis: int, name: str) -> str:
    """One element of a scanned input, without the axis."""
    graph.initializer.append(numpy_helper.from_array(np.array(place, np.int64), f"{name}/place"))
    nodes.append(helper.make_node("Gather", [source, f"{name}/place"], [name], axis=axis))
    return name


def finish(graph: GraphProto, node: NodeProto, nodes: list[NodeProto], states: Sequence[str], given: list[list[str]], prefix: str, version: int) -> None:
    """The Scan's outputs: its last states, and what its steps gave, stacked."""
    outputs = [*node.output, *[""] * (len(states) + len(given) - len(node.output))]
    for state, name in zip(states, outputs, strict=False):
        if name:
            nodes.append(helper.make_node("Identity", [state], [name]))
    axes = attribute(node, "scan_output_axes") or [0] * len(given)
    backwards = directions(node, "scan_output_directions", len(given))
    for place, (name, parts) in enumerate(zip(outputs[len(states) :], given, strict=True)):
        if not name:
            continue
        axis = f"{prefix}axis{place}"
        if version >= 13:  # before, Unsqueeze had its axes as an attribute
            graph.initializer.append(numpy_helper.from_array(np.array([axes[place]], np.int64), axis))
        rows = []
        for step, part in enumerate(parts[::-1] if backwards[place] else parts):
            rows.append(f"{prefix}row{place}/{step}")
            nodes.append(helper.make_node("Unsqueeze", [part, axis] if version >= 13 else [part], [rows[-1]]))
            set_attribute(nodes[-1], "axes", None if version >= 13 else [axes[place]])
        nodes.append(helper.make_node("Concat", rows, [name], axis=axes[place]))


def copy(node: NodeProto) -> NodeProto:
    twin = NodeProto()
    twin.CopyFrom(node)
    return twin
