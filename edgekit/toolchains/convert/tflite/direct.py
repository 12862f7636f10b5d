"""onnx2tf's table of operators in, the same with integer operators of our own out: one TFLite operator each, in the tensor's own dtype.

onnx2tf computes 64-bit integers in 32 bits, and has no bitwise operators of integers. What TFLite's kernels take for each dtype was found
by running them; `edgekit.hub.lower.integers` brings the others into these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx2tf.tflite_builder import model_writer, op_registry
from onnx2tf.tflite_builder.core.op_contracts import DispatchEntry, ValidationSpec
from onnx2tf.tflite_builder.ir import OperatorIR

Builder = Callable[[Any, Any], None]

INTEGERS = ("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64", "BOOL")
BYTES = {"BOOL": 1, "INT8": 1, "UINT8": 1, "INT16": 2, "UINT16": 2, "INT32": 4, "UINT32": 4, "FLOAT32": 4, "INT64": 8, "UINT64": 8, "FLOAT64": 8}
BINARY = {
    "Add": "ADD",
    "Sub": "SUB",
    "Mul": "MUL",
    "Max": "MAXIMUM",
    "Min": "MINIMUM",
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
    "Div": "DIV",
    "Mod": "FLOOR_MOD",
}
FUSED = ("ADD", "SUB", "MUL", "DIV")
NO_OPTIONS = ("BITCAST", "FLOOR_DIV")


def register() -> None:
    """Put the entries into onnx2tf's table; what is no integer goes on to its own builders."""
    registry = op_registry._DISPATCH_REGISTRY
    if "BitCast" in registry:
        return
    for op, tflite in BINARY.items():
        take(registry, op, integer_binary(tflite))
    take(registry, "Where", where)
    take(registry, "Cast", cast)
    for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        take(registry, op, bitwise(op))
    take(registry, "BitCast", bitcast)
    take(registry, "BitShift", right_shift)
    options = model_writer._build_builtin_options

    def with_ours(schema_tflite: Any, op: Any) -> Any:
        return (0, None) if op.op_type in NO_OPTIONS else options(schema_tflite, op)

    model_writer._build_builtin_options = with_ours


def take(registry: dict[str, Any], op: str, ours: Callable[[Any, Any], bool]) -> None:
    """Let `ours` build an operator, and onnx2tf what it leaves (returns False for)."""
    before = registry.get(op)

    def build(node: Any, ctx: Any) -> None:
        for value in [*node.inputs, *node.outputs]:
            ctx.ensure_tensor(value.name)
        if not ours(node, ctx):
            if before is None:
                raise NotImplementedError(f"{op} has no integer form in TFLite. op={node.name}")
            before.builder(node, ctx)

    def validate(node: Any, ctx: Any) -> None:
        dtypes = {str(ctx.get_tensor_dtype(value.name)) for value in node.inputs if value.name}
        if before is not None and before.extra_validator is not None and not dtypes <= set(INTEGERS):
            before.extra_validator(node, ctx)

    spec = ValidationSpec(min_inputs=1, max_inputs=None, min_outputs=1, max_outputs=1) if before is None else before.validation
    names = [op] if before is None else before.tflite_ops
    registry[op] = DispatchEntry(onnx_op=op, tflite_ops=names, builder=build, validation=spec, extra_validator=validate)


def dtype(ctx: Any, name: str) -> str:
    return str(ctx.get_tensor_dtype(name)).upper()


def emit(ctx: Any, op: str, inputs: list[str], output: str, **options: Any) -> str:
    ctx.add_operator(OperatorIR(op_type=op, inputs=inputs, outputs=[output], options=options))
    return output


def inner(ctx: Any, base: str, kind: str, shape: list[int]) -> str:
    return str(ctx.add_intermediate_tensor(base, dtype=kind, shape=shape))


def shape_of(ctx: Any, name: str) -> list[int]:
    """A tensor's shape; onnx2tf writes a scalar as [1]."""
    return [int(size) for size in ctx.get_tensor_shape(name)]


def integer_binary(tflite: str) -> Callable[[Any, Any], bool]:
    def build(node: Any, ctx: Any) -> bool:
        names = [value.name for value in node.inputs]
        kinds = {dtype(ctx, name) for name in names}
        if len(names) != 2 or len(kinds) != 1 or not kinds <= {"INT32", "INT64", "BOOL"}:
            return False
        if tflite == "DIV" and kinds != {"INT32"}:
            raise NotImplementedError(f"TFLite divides 8, 16 and 32-bit integers only. op={node.name}")
        emit(ctx, tflite, names, node.outputs[0].name, **({"fusedActivationFunction": "NONE"} if tflite in FUSED else {}))
        return True

    return build


def where(node: Any, ctx: Any) -> bool:
    """SELECT_V2; onnx2tf multiplies by the condition instead, which makes NaN of an infinity that is not chosen."""
    condition, a, b = (value.name for value in node.inputs)
    if dtype(ctx, a) != dtype(ctx, b):
        return False
    emit(ctx, "SELECT_V2", [condition, a, b], node.outputs[0].name)
    return True


def cast(node: Any, ctx: Any) -> bool:
    """CAST; between int64 and uint64, which it does not know, the same bits."""
    source, target = node.inputs[0].name, node.outputs[0].name
    kinds = (dtype(ctx, source), dtype(ctx, target))
    if kinds[0] == kinds[1] or (kinds[0] == "FLOAT32" and kinds[1] in ("INT32", "BOOL")):
        return False
    if "UINT64" in kinds:
        if set(kinds) != {"UINT64", "INT64"}:
            raise NotImplementedError(f"TFLite casts uint64 to int64 only. op={node.name}")
        emit(ctx, "BITCAST", [source], target)
    else:
        emit(ctx, "CAST", [source], target, inDataType=kinds[0], outDataType=kinds[1])
    return True


def bitcast(node: Any, ctx: Any) -> bool:
    emit(ctx, "BITCAST", [node.inputs[0].name], node.outputs[0].name)
    return True


def right_shift(node: Any, ctx: Any) -> bool:
    emit(ctx, "RIGHT_SHIFT", [value.name for value in node.inputs], node.outputs[0].name)
    return True


def bitwise(op: str) -> Callable[[Any, Any], bool]:
    """XOR by bytes; a AND b = (a + b - a XOR b) / 2, a OR b = (a + b + a XOR b) / 2."""

    def build(node: Any, ctx: Any) -> bool:
        names, output = [value.name for value in node.inputs], node.outputs[0].name
        kind = dtype(ctx, names[0])
        if kind == "BOOL":
            return False
        size, shape = BYTES[kind], shape_of(ctx, output)
        bytes_of = [as_bytes(ctx, name, kind, size) for name in names]
        whole = [*shape, size]
        xor = emit(ctx, "BITWISE_XOR", bytes_of, inner(ctx, f"{output}_xor", "UINT8", whole))
        if op != "BitwiseXor":
            a, b, x = (wide(ctx, name) for name in (*bytes_of, xor))
            total = emit(ctx, "ADD", [a, b], inner(ctx, f"{output}_sum", "INT32", whole), fusedActivationFunction="NONE")
            sign = "SUB" if op == "BitwiseAnd" else "ADD"
            twice = emit(ctx, sign, [total, x], inner(ctx, f"{output}_twice", "INT32", whole), fusedActivationFunction="NONE")
            two = ctx.add_const_tensor(f"{output}_two", np.array(2, np.int32))
            half = emit(ctx, "DIV", [twice, two], inner(ctx, f"{output}_half", "INT32", whole), fusedActivationFunction="NONE")
            xor = emit(ctx, "CAST", [half], inner(ctx, f"{output}_bytes", "UINT8", whole), inDataType="INT32", outDataType="UINT8")
        if size == 1:
            target = ctx.add_const_tensor(f"{output}_shape", np.array(shape, np.int32))
            xor = emit(ctx, "RESHAPE", [xor, target], inner(ctx, f"{output}_flat", "UINT8", shape), newShape=shape)
        emit(ctx, "BITCAST", [xor], output)
        return True

    return build


def as_bytes(ctx: Any, name: str, kind: str, size: int) -> str:
    """The bytes of a tensor [...] as uint8 [..., size]."""
    shape = shape_of(ctx, name)
    whole = [*shape, size]
    if size > 1:
        return emit(ctx, "BITCAST", [name], inner(ctx, f"{name}_bytes", "UINT8", whole))
    same = emit(ctx, "BITCAST", [name], inner(ctx, f"{name}_byte", "UINT8", shape))
    target = ctx.add_const_tensor(f"{name}_byte_shape", np.array(whole, np.int32))
    return emit(ctx, "RESHAPE", [same, target], inner(ctx, f"{name}_bytes", "UINT8", whole), newShape=whole)


def wide(ctx: Any, name: str) -> str:
    return emit(ctx, "CAST", [name], inner(ctx, f"{name}_wide", "INT32", shape_of(ctx, name)), inDataType="UINT8", outDataType="INT32")
