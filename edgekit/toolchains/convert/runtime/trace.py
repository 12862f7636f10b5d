"""A file's runner and one sample in, every tensor that the file computes out, in the order of computation, with the operator that made it.

Tensors are told apart by an id of their own, because names repeat: a quantized TFLite file keeps none of its inner ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.toolchains.convert.runtime.runners import Array, LiteRt, OnnxRuntime, Runner, real

if TYPE_CHECKING:
    from edgekit.toolchains.convert.runtime.coreml import CoreMl


@dataclass(frozen=True, slots=True)
class Traced:
    """One tensor: its values as the numbers that they stand for, and where they come from."""

    id: str
    name: str
    op: str
    node: str
    reads: tuple[str, ...]
    """Ids of what its operator reads, constants and inputs of the model included."""
    values: Array


def trace(runner: Runner, feeds: list[Array]) -> list[Traced]:
    """The tensors of one run, computed without the fusions that hide inner ones.

    None for a format that nobody has said how to look into.

    Raises:
        CannotRunError: the runtime does not run the file in that way.
    """
    tracers: dict[str, Callable[[Any, list[Array]], Iterator[Traced]]] = {"LiteRt": of_litert, "OnnxRuntime": of_onnx_runtime, "CoreMl": of_core_ml}
    tracer = tracers.get(type(runner).__name__)
    return [] if tracer is None else list(tracer(runner, feeds))


def of_litert(runner: LiteRt, feeds: list[Array]) -> Iterator[Traced]:
    """Operators in the order of the main graph, without a delegate."""
    from ai_edge_litert.interpreter import OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = runner.load(experimental_preserve_all_tensors=True, experimental_op_resolver_type=plain)
    runner.invoke(interpreter, feeds)
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    for op in interpreter._get_ops_details():
        for index in map(int, op["outputs"]):
            if index not in details:
                continue
            try:
                values = interpreter.get_tensor(index)
            except ValueError:  # a tensor of another subgraph, or one that was never needed
                continue
            name = details[index]["name"]
            reads = tuple(str(int(read)) for read in op["inputs"])
            yield Traced(str(index), name, op["op_name"], name or str(op["index"]), reads, real(values, details[index]["quantization_parameters"]))


def of_onnx_runtime(runner: OnnxRuntime, feeds: list[Array]) -> Iterator[Traced]:
    """Nodes in the order of the graph."""
    import onnx

    found = runner.tensors(feeds)
    for node in onnx.load(runner.path, load_external_data=False).graph.node:
        for name in node.output:
            if name in found:
                yield Traced(name, name, node.op_type, node.name or name, tuple(node.input), found[name])


def of_core_ml(runner: CoreMl, feeds: list[Array]) -> Iterator[Traced]:
    """Operations of the MIL program."""
    found = runner.tensors(feeds)
    for step in runner.program.steps:
        reads = tuple(name for names in step.reads.values() for name in ([names] if isinstance(names, str) else names))
        for result in step.writes:
            if result.name in found:
                yield Traced(result.name, result.name, step.op_type, result.name, reads, np.asarray(found[result.name]))
