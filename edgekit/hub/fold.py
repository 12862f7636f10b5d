"""A graph with fixed shapes in, the same graph with everything that does not depend on the inputs computed out."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from edgekit.hub.graph import Refusal, array, attribute, constants, opset, output_names, static_shapes, subgraphs, title
from edgekit.hub.names import rename

KEPT = {"DequantizeLinear", "QuantizeLinear", "RandomNormalLike", "RandomUniformLike", "RandomNormal", "RandomUniform", "Multinomial", "Bernoulli", "Dropout"}
"""Never folded: they hold what quantization chose, or draw random numbers."""

GROWTH_BYTES = 1 << 16
"""A folded tensor may be this much larger than what it is computed from; a large ConstantOfShape or Expand stays a node."""


def constants_to_initializers(model: ModelProto) -> None:
    """Turn the Constant nodes of the main graph into initializers (an output of the graph keeps its node)."""
    graph = model.graph
    outputs = set(output_names(graph))
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if node.op_type == "Constant" and node.output[0] not in outputs:
            graph.initializer.append(constant_tensor(node))
            del graph.node[index]


def constant_tensor(node: NodeProto) -> TensorProto:
    """What a Constant node holds, under the name of its output."""
    held = node.attribute[0]
    value = onnx.helper.get_attribute_value(held)
    if held.name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(held.t)
    elif held.name in ("value_float", "value_floats"):
        tensor = numpy_helper.from_array(np.asarray(value, np.float32))
    elif held.name in ("value_int", "value_ints"):
        tensor = numpy_helper.from_array(np.asarray(value, np.int64))
    else:
        raise Refusal(f"node {title(node)!r} (Constant) holds a {held.name}, which no mobile format carries: export the model without it", op="Constant")
    tensor.name = node.output[0]
    return tensor


def fold(model: ModelProto) -> bool:
    """Compute each node of the main graph that depends on stored tensors (or fixed shapes) alone. Whether anything changed.

    Needs topological order and inferred shapes; nodes that give an output of the graph stay.
    """
    graph = model.graph
    known, shapes, outputs = constants(graph), static_shapes(graph), set(output_names(graph))
    folded = []
    for index, node in enumerate(graph.node):
        if node.op_type in KEPT or outputs.intersection(node.output) or next(subgraphs(node), None) is not None:
            continue
        values = shape_of(node, shapes)
        if values is None:
            if not all(name in known for name in node.input if name) or grows(node, known, shapes):
                continue
            values = evaluate(node, known, opset(model))
        if values is None:
            continue
        for tensor in values:
            known[tensor.name] = tensor
            graph.initializer.append(tensor)
        folded.append(index)
    for index in reversed(folded):
        del graph.node[index]
    return bool(folded)


def shape_of(node: NodeProto, shapes: dict[str, list[int]]) -> list[TensorProto] | None:
    """The result of a Shape or Size of a tensor whose shape is fixed, else None."""
    if node.op_type not in ("Shape", "Size") or node.input[0] not in shapes:
        return None
    shape = shapes[node.input[0]]
    if node.op_type == "Size":
        return [numpy_helper.from_array(np.asarray(math.prod(shape), np.int64), node.output[0])]
    part = shape[slice(attribute(node, "start", 0), attribute(node, "end"))]
    return [numpy_helper.from_array(np.asarray(part, np.int64), node.output[0])]


def grows(node: NodeProto, known: dict[str, TensorProto], shapes: dict[str, list[int]]) -> bool:
    """Whether a node's results would need much more room than what they are computed from."""
    results = sum(8 * math.prod(shapes[name]) for name in node.output if name in shapes)
    needed = sum(known[name].ByteSize() for name in node.input if name)
    return results > GROWTH_BYTES + 2 * int(needed)


def evaluate(node: NodeProto, known: dict[str, TensorProto], version: int) -> list[TensorProto] | None:
    """A node's results by ONNX's reference implementation, or None where it has none for these inputs."""
    from onnx.reference import ReferenceEvaluator  # 0.2 s, and many models have nothing to fold

    names = [name for name in node.input if name]
    results = [name for name in node.output if name]
    graph = GraphProto(node=[node], name="fold")
    graph.initializer.extend(known[name] for name in dict.fromkeys(names))
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in results)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)])
    try:
        values = ReferenceEvaluator(model).run(None, {})
    except Exception:  # noqa: BLE001  numpy code for 200 operators: whatever it raises, the node stays as it is and runs later
        return None
    if not all(isinstance(value, np.ndarray | np.generic) for value in values):
        return None
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in zip(results, values, strict=True)]


def inline_decided_ifs(model: ModelProto) -> bool:
    """Replace each If of the main graph whose condition is stored by its branch. Whether anything changed."""
    graph = model.graph
    known = constants(graph)
    decided = [node for node in graph.node if node.op_type == "If" and node.input[0] in known]
    for node in decided:
        branch = attribute(node, "then_branch" if bool(array(known[node.input[0]]).item()) else "else_branch")
        index = list(graph.node).index(node)
        tail = []
        for later in list(graph.node)[index + 1 :]:
            copy = NodeProto()
            copy.CopyFrom(later)
            tail.append(copy)
        inner = unbound(branch, node)
        del graph.node[index:]
        graph.node.extend(inner.node)
        graph.initializer.extend(inner.initializer)
        graph.node.extend(tail)
    return bool(decided)


def unbound(branch: GraphProto, node: NodeProto) -> GraphProto:
    """A branch as part of the graph around it: its own tensors renamed so that they meet no others, its outputs named as the If's."""
    graph = GraphProto()
    graph.CopyFrom(branch)
    prefix = f"{node.name or node.output[0]}/"
    own = {name for inner in graph.node for name in inner.output if name} | {tensor.name for tensor in graph.initializer}
    names = {name: prefix + name for name in own}
    rename(graph, names)
    for inner in graph.node:
        inner.name = prefix + inner.name if inner.name else ""
    for inside, outside in zip(branch.output, node.output, strict=True):
        graph.node.append(onnx.helper.make_node("Identity", [names.get(inside.name, inside.name)], [outside], name=f"{prefix}{outside}"))
    return graph
