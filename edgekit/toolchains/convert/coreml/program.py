"""A hub in, the MIL program that computes it out: each node by the lowering of its operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program, types
from coremltools.converters.mil.mil.block import curr_block
from onnx import ModelProto, NodeProto

from edgekit.hub.graph import constants, static_shapes
from edgekit.hub.lower import elem_types
from edgekit.toolchains.convert.coreml import (
    activations,
    boolean,
    casts,
    control,
    convolution,
    elementwise,
    gather,
    matrix,
    normalization,
    pool,
    quantization,
    recurrent,
    reduce,
    resize,
    scatter,
    shape,
    signal,
)
from edgekit.toolchains.convert.coreml.node import Graph, Lowering, Node, Unwritable, Var, mil_dtype

FAMILIES = (
    activations, boolean, casts, control, convolution, elementwise, gather, matrix, normalization, pool, quantization, recurrent, reduce, resize, scatter,
    shape, signal,
)  # fmt: skip
LOWERINGS: Mapping[str, Lowering] = {op_type: lowering for family in FAMILIES for op_type, lowering in family.OPS.items()}

MIL_TYPES = {"fp32": types.fp32, "fp16": types.fp16, "int32": types.int32, "bool": types.bool}


class Failed(Exception):
    """A node whose lowering failed; the message says why."""

    def __init__(self, node: NodeProto, reason: str) -> None:
        super().__init__(reason)
        self.node = node


def to_mil(model: ModelProto, target: Any, half: bool) -> tuple[Program, set[str]]:
    """The program of a hub with fixed shapes whose names are identifiers, and the names of its operations that count in float32.

    Raises:
        Failed: an operator without a lowering, or one that Core ML cannot compute as it stands.
    """
    graph = model.graph
    stored = constants(graph)
    inputs = {v.name: v for v in graph.input if v.name not in stored}
    dtypes, shapes = elem_types(model), static_shapes(graph)
    taken = {name: mb.placeholder(shape=tuple(shapes[name]), dtype=MIL_TYPES[mil_dtype(dtypes[name])]) for name in inputs}
    with Function(taken, opset_version=target) as function:
        known = Graph(dict(function.inputs), stored, dtypes, shapes, half, write)
        write(known, graph.node)
        function.set_outputs([output(known, value.name) for value in graph.output])
    program = Program()
    program.add_function("main", function)
    return program, known.exact


def write(graph: Graph, nodes: Iterable[NodeProto]) -> None:
    """Write nodes into the block that is open: the program's own, or a body of an If or Loop.

    Raises:
        Failed: see `to_mil`.
    """
    for proto in nodes:
        before = set(curr_block().operations) if proto.op_type in quantization.OPS else None
        for name, variable in zip(proto.output, lowered(graph, proto), strict=False):
            if name:
                graph.variables[name] = named(variable, name, graph)
        if before is not None:
            graph.exact |= {operation.name for operation in set(curr_block().operations) - before}


def lowered(graph: Graph, proto: NodeProto) -> Sequence[Var]:
    """The MIL variables of a node's outputs."""
    lowering = LOWERINGS.get(proto.op_type) if proto.domain in ("", "ai.onnx") else None
    if lowering is None:
        raise Failed(proto, "it has no counterpart in Core ML")
    try:
        made = lowering(Node(graph, proto))
    except Unwritable as exc:
        raise Failed(proto, str(exc)) from exc
    except (ArithmeticError, AssertionError, AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as exc:
        raise Failed(proto, f"coremltools does not take it ({first_line(exc)})") from exc
    return made if isinstance(made, list | tuple) else [made]


def named(variable: Var, name: str, graph: Graph) -> Var:
    """The variable under the ONNX tensor's name; one that has such a name already (an input, say) is copied."""
    if variable.op is None or variable.op.op_type == "const" or variable.name in graph.variables:
        return mb.identity(x=variable, name=name)
    variable.set_name(name)
    return variable


def output(graph: Graph, name: str) -> Var:
    """The variable of an output of the model, which may be a stored tensor or an input."""
    variable = graph.variable(name)
    return variable if variable.op is not None and variable.op.op_type != "const" else mb.identity(x=variable)


def first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200].rstrip(".:")
