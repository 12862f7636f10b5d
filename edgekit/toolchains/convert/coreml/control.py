"""If and Loop: a condition or a state in, what the body that runs gives out.

MIL's `cond` runs one of two blocks, its `while_loop` a block as long as another gives true for the state. ONNX decides about the next
turn in the body itself, so its condition is part of the state here, as is the number of the turn. coremltools has two types for a single
value, and holds a block that gives the other one for wrong: blocks give tensors of shape [1] for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from coremltools.converters.mil import Builder as mb
from onnx import GraphProto, ModelProto, ValueInfoProto, numpy_helper

from edgekit.hub.fold import constant_tensor
from edgekit.hub.graph import constants, static_shapes
from edgekit.hub.lower import elem_types
from edgekit.toolchains.convert.coreml.node import INT32, Graph, Lowering, Node, Var, carried, cast, mil_dtype, reshaped, sizes


def branch(node: Node) -> list[Var]:
    """An If: cond, whose blocks give tensors of one shape and dtype each."""
    then, other = node.attribute("then_branch"), node.attribute("else_branch")
    made = mb.cond(
        pred=single(node.input(0)),
        _true_fn=lambda: results(written(node.graph, then, {}), then.output),
        _false_fn=lambda: results(written(node.graph, other, {}), other.output),
    )
    found = list(made) if isinstance(made, list | tuple) else [made]
    return [lowered(variable, node.made_shape(place)) if node.wanted(place) else variable for place, variable in enumerate(found)]


def loop(node: Node) -> list[Var]:
    """A Loop without scan outputs: while_loop over the turn, the condition and what the Loop carries."""
    body: GraphProto = node.attribute("body")
    count = len(node.proto.input) - 2
    if len(body.output) > 1 + count:
        node.refuse("it gathers what each turn gives, and Core ML's loops carry tensors of fixed shapes only; write into a tensor that the loop carries")
    limit = single(node.input(0)) if node.given(0) else np.int32(INT32.max)
    state = [node.input(2 + place) for place in range(count)]
    shapes = [list(sizes(x)) for x in state]
    start = [raised(mb.const(val=np.int32(0))), raised(node.input(1) if node.given(1) else mb.const(val=np.bool_(True))), *map(raised, state)]

    def goes_on(turn: Var, more: Var, *state: Var) -> Var:
        return mb.logical_and(x=single(more), y=mb.less(x=single(turn), y=limit))

    def step(turn: Var, more: Var, *state: Var) -> tuple[Var, ...]:
        values = [single(turn), single(more), *(lowered(x, shape) for x, shape in zip(state, shapes, strict=True))]
        found = written(node.graph, body, dict(zip((value.name for value in body.input), values, strict=True)))
        made = results(found[1:], body.output[1:])
        for x, was, value in zip(made, state, body.output[1:], strict=True):
            if sizes(x) != sizes(was):
                node.refuse(f"its state {value.name!r} changes its shape from turn to turn; carry a tensor of one shape")
        return mb.add(x=turn, y=np.array([1], np.int32)), raised(found[0]), *made

    made = list(mb.while_loop(_cond=goes_on, _body=step, loop_vars=tuple(start)))[2:]
    return [lowered(x, shape) for x, shape in zip(made, shapes, strict=True)]


def written(graph: Graph, body: GraphProto, given: Mapping[str, Var]) -> list[Var]:
    """Write a body into the block that is open; the variables of its outputs. What it makes is known inside only."""
    model = ModelProto(graph=body)
    stored = graph.stored | constants(body)
    inner = Graph(
        {**graph.variables, **given}, stored, graph.dtypes | elem_types(model), graph.shapes | static_shapes(body), graph.half, graph.write, graph.exact
    )
    graph.write(inner, body.node)
    return [inner.variable(value.name) for value in body.output]


def results(found: Sequence[Var], values: Sequence[ValueInfoProto]) -> list[Var]:
    """What a block gives, in the dtypes that MIL has for it."""
    return [raised(cast(variable, mil_dtype(value.type.tensor_type.elem_type))) for variable, value in zip(found, values, strict=True)]


def raised(x: Var) -> Var:
    """The variable as an operation's result of the block that is open, neither a constant nor something from outside; a single value as [1]."""
    return mb.identity(x=x) if x.shape else mb.expand_dims(x=x, axes=[0])


def single(x: Var) -> Var:
    """The only element of a tensor."""
    return mb.squeeze(x=reshaped(x, [1]), axes=[0]) if x.shape else x


def lowered(x: Var, shape: Sequence[int]) -> Var:
    """A block's result in the shape that ONNX gives it."""
    return x if shape else single(x)


def constant(node: Node) -> Var:
    """A Constant, which is one of a body's results: others are stored tensors."""
    return mb.const(val=carried(numpy_helper.to_array(constant_tensor(node.proto)), node.graph.half))


OPS: dict[str, Lowering] = {"Constant": constant, "If": branch, "Loop": loop}
