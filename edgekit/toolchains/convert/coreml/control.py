"""If and Loop: a condition or a state in, what the body that runs gives out.

MIL's `cond` runs one of two blocks, its `while_loop` a block as long as another gives true for the state. ONNX decides about the next
turn in the body itself, so its condition is part of the state here, as is the number of the turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from coremltools.converters.mil import Builder as mb
from onnx import GraphProto, ModelProto, ValueInfoProto

from edgekit.hub.graph import constants, static_shapes
from edgekit.hub.lower import elem_types
from edgekit.toolchains.convert.coreml.node import INT32, Graph, Lowering, Node, Var, cast, mil_dtype, reshaped, sizes


def branch(node: Node) -> list[Var]:
    """An If: cond, whose blocks give tensors of one shape and dtype each."""
    then, other = node.attribute("then_branch"), node.attribute("else_branch")
    made = mb.cond(
        pred=reshaped(node.input(0), []),
        _true_fn=lambda: results(node, written(node.graph, then, {}), then.output),
        _false_fn=lambda: results(node, written(node.graph, other, {}), other.output),
    )
    return list(made) if isinstance(made, list | tuple) else [made]


def loop(node: Node) -> list[Var]:
    """A Loop without scan outputs: while_loop over the turn, the condition and what the Loop carries."""
    body: GraphProto = node.attribute("body")
    carried = len(node.proto.input) - 2
    if len(body.output) > 1 + carried:
        node.refuse("it gathers what each turn gives, and Core ML's loops carry tensors of fixed shapes only; write into a tensor that the loop carries")
    limit = reshaped(node.input(0), []) if node.given(0) else np.int32(INT32.max)
    start = [mb.identity(x=np.int32(0)), mb.identity(x=reshaped(node.input(1), []) if node.given(1) else np.bool_(True))]
    start += [mb.identity(x=node.input(2 + place)) for place in range(carried)]

    def goes_on(turn: Var, more: Var, *state: Var) -> Var:
        return mb.logical_and(x=more, y=mb.less(x=turn, y=limit))

    def step(turn: Var, more: Var, *state: Var) -> tuple[Var, ...]:
        given = dict(zip((value.name for value in body.input), (turn, more, *state), strict=True))
        found = written(node.graph, body, given)
        return mb.add(x=turn, y=np.int32(1)), own(reshaped(found[0], [])), *results(node, found[1:], body.output[1:], state)

    return list(mb.while_loop(_cond=goes_on, _body=step, loop_vars=tuple(start)))[2:]


def written(graph: Graph, body: GraphProto, given: Mapping[str, Var]) -> list[Var]:
    """Write a body into the block that is open; the variables of its outputs. What it makes is known inside only."""
    model = ModelProto(graph=body)
    stored = graph.stored | constants(body)
    inner = Graph(
        {**graph.variables, **given}, stored, graph.dtypes | elem_types(model), graph.shapes | static_shapes(body), graph.half, graph.write, graph.exact
    )
    graph.write(inner, body.node)
    return [inner.variable(value.name) for value in body.output]


def results(node: Node, found: Sequence[Var], values: Sequence[ValueInfoProto], like: Sequence[Var] = ()) -> list[Var]:
    """What a block gives: operations of its own, in the dtypes that MIL has for them, of the shapes of what is carried."""
    made = []
    for place, (variable, value) in enumerate(zip(found, values, strict=True)):
        given = own(cast(variable, mil_dtype(value.type.tensor_type.elem_type)))
        if place < len(like) and sizes(given) != sizes(like[place]):
            node.refuse(f"its state {value.name!r} changes its shape from turn to turn; carry a tensor of one shape")
        made.append(given)
    return made


def own(variable: Var) -> Var:
    """The variable as an operation's result of the block that is open: neither a constant nor something from outside."""
    return mb.identity(x=variable)


OPS: dict[str, Lowering] = {"If": branch, "Loop": loop}
