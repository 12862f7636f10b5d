"""A .tflite file in, what LiteRT makes of it out: the operators of its graph, the names of its boundary, and all shapes and constants.

LiteRT itself runs the file once on zeros. That tells every shape as it is at run time, and the content of what depends on constants
only: float16 and sparse weights as the float32 that they stand for.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.hub.graph import Refusal
from edgekit.toolchains.convert.tflite.file import read

Array = np.ndarray[Any, Any]

RUN_TIME = ("IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE")
STATEFUL = (
    "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN", "RNN", "LSTM", "SVDF", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT",
)  # fmt: skip
CURE = "give the model that the file was made from"


@dataclass(frozen=True, slots=True)
class Node:
    """An operator of the main graph: tensors by index, -1 where one is left out."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any
    title: str


@dataclass(frozen=True, slots=True)
class Source:
    """A .tflite file as LiteRT runs it."""

    nodes: Sequence[Node]
    inputs: Mapping[str, int]
    """Name → tensor, in the file's order."""
    outputs: Mapping[str, int]
    interpreter: Any

    def values(self, index: int) -> Array:
        """What a tensor held when the file ran on zeros."""
        return np.asarray(self.interpreter.get_tensor(index))


def nodes_of(path: Path) -> list[Node]:
    """The operators of a file that holds one plain graph.

    Raises:
        Refusal: not a TFLite file, or one with custom operators, control flow, state or quantized arithmetic.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        table = read(path).table
        graph = table.subgraphs[0]
        names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
        codes = [(names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "?"), code.customCode) for code in table.operatorCodes]
        nodes = []
        for op in graph.operators:
            kind, custom = codes[op.opcodeIndex]
            title = (graph.tensors[op.outputs[0]].name or b"?").decode(errors="replace") if len(op.outputs) else "?"
            options = op.builtinOptions or op.builtinOptions2
            if kind == "CUSTOM":
                kind = (custom or b"?").decode(errors="replace")
                refuse_custom(kind, title)
            refuse_kind(kind, title)
            node = Node(kind, indices(op.inputs), indices(op.outputs), options, title)
            if max((*node.inputs, *node.outputs), default=-1) >= len(graph.tensors):
                raise IndexError("an operator names a tensor that it does not hold")
            nodes.append(node)
    except (ValueError, IndexError, TypeError, AttributeError, KeyError, struct.error) as exc:
        raise Refusal(f"{path.name} is not a whole TFLite file ({' '.join(str(exc).split())[:120]}): fetch or export it again") from exc
    if not nodes:
        raise Refusal(f"{path.name} holds no operators: export it again")
    refuse_quantized(graph, nodes, path.name)
    return nodes


def indices(found: Any) -> tuple[int, ...]:
    return tuple(int(index) for index in found) if found is not None else ()


def refuse_custom(kind: str, title: str) -> None:
    what = "needs TensorFlow itself (a Flex operator)" if kind.startswith("Flex") else "is a custom operator, which only the app that brings it can run"
    raise Refusal(f"operator {kind} ({title!r}) {what}: {CURE}, exported without it", kind="convert", op=kind, node=title)


def refuse_kind(kind: str, title: str) -> None:
    if kind in RUN_TIME:
        why = "decides what runs while the model runs"
    elif kind in STATEFUL:
        why = "keeps a state from one call to the next"
    else:
        return
    raise Refusal(f"operator {kind} ({title!r}) {why}, which edgekit does not read from TFLite: {CURE}", kind="convert", op=kind, node=title)


def refuse_quantized(graph: Any, nodes: Sequence[Node], name: str) -> None:
    """Weights may be quantized where DEQUANTIZE makes them float again; arithmetic in integers is refused.

    Raises:
        Refusal: a result is quantized (`w8a8`), or an operator takes quantized weights directly (`w8d`).
    """
    cure = "give the float model that it was made from; the file itself can be measured with `edgekit bench` and compared with `edgekit diff`"
    stored = set(range(len(graph.tensors))) - {index for node in nodes for index in node.outputs} - set(indices(graph.inputs))

    def is_quantized(index: int) -> bool:
        scale = graph.tensors[index].quantization.scale if graph.tensors[index].quantization is not None else None
        return scale is not None and len(scale) > 0 and graph.tensors[index].type in (3, 7, 9, 17)  # uint8, int16, int8, int4

    constant = set(stored)
    for node in nodes:
        if all(index in constant or index < 0 for index in node.inputs):
            constant.update(node.outputs)
            continue
        for index in (*node.inputs, *node.outputs):
            if index >= 0 and is_quantized(index) and index not in constant:
                raise Refusal(f"{name} is a quantized file, not a source: its activations are integers, from {called(node)} on; {cure}")
        if any(index in constant and is_quantized(index) for index in node.inputs if index >= 0) and node.kind != "DEQUANTIZE":
            raise Refusal(f"{name} is a quantized file, not a source: it quantizes activations when it runs, from {called(node)} on; {cure}")


def called(node: Node) -> str:
    """An operator with the name of what it gives, where the file tells it."""
    return node.kind if node.title == "?" else f"{node.kind} {node.title!r}"


def open_source(path: Path, nodes: Sequence[Node], shapes: Mapping[str, Sequence[int]] | None) -> Source:
    """Load a file in LiteRT at given shapes and run it on zeros; without shapes it is only loaded.

    Raises:
        Refusal: LiteRT does not take the file.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate keeps inner tensors to itself
        interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True, experimental_op_resolver_type=plain)
        inputs, outputs = (named(interpreter, kind) for kind in ("inputs", "outputs"))
        if shapes is not None:
            for name, shape in shapes.items():
                interpreter.resize_tensor_input(inputs[name], list(shape))
            interpreter.allocate_tensors()
            for detail in interpreter.get_input_details():
                interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
            interpreter.invoke()
    except (RuntimeError, ValueError) as exc:
        raise Refusal(f"LiteRT does not take {path.name} ({' '.join(str(exc).split())[:200]}): check that it is whole and that --shape fits it") from exc
    return Source(nodes, inputs, outputs, interpreter)


def named(interpreter: Any, kind: str) -> dict[str, int]:
    """Name → tensor of the `inputs` or `outputs`, in the file's order: names of the signature, where there is one."""
    names: dict[str, str] = {}
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        found = runner.get_input_details() if kind == "inputs" else runner.get_output_details()
        names.update({detail["name"]: name for name, detail in found.items()})
        break
    details = interpreter.get_input_details() if kind == "inputs" else interpreter.get_output_details()
    found_names: dict[str, int] = {}
    for detail in details:
        name = base = names.get(detail["name"], detail["name"]) or kind.removesuffix("s")
        count = 0
        while name in found_names:
            count += 1
            name = f"{base}_{count}"
        found_names[name] = int(detail["index"])
    return found_names


def open_shapes(source: Source) -> dict[str, list[int | str | None]]:
    """The inputs' declared shapes, None where an axis is open."""
    details = {int(detail["index"]): detail for detail in source.interpreter.get_input_details()}
    found: dict[str, list[int | str | None]] = {}
    for name, index in source.inputs.items():
        signature = details[index].get("shape_signature")
        shape = details[index]["shape"] if signature is None or len(signature) != len(details[index]["shape"]) else signature
        found[name] = [int(size) if size >= 0 else None for size in shape]
    return found
