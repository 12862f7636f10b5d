"""Cast and CastLike: a tensor in, its values in another dtype out, as far as Core ML holds them."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil import Builder as mb
from onnx import TensorProto

from edgekit.toolchains.convert.coreml.node import FLOATS, INTEGERS, NARROW, Lowering, Node, Var, cast, mil_dtype, wrap


def converted(node: Node, source: int, target: int) -> Var:
    """Integers that become narrower wrap around; a float becomes a bool where it is not 0."""
    x = node.input(0)
    if target not in FLOATS | INTEGERS and target != TensorProto.BOOL:
        node.refuse(f"it casts to {TensorProto.DataType.Name(target).lower()}, which Core ML does not have; cast to float32 or int32")
    if target == TensorProto.BOOL:
        return mb.not_equal(x=x, y=np.float16(0) if source == TensorProto.FLOAT16 else np.float32(0)) if source in FLOATS else cast(x, "bool")
    if target in NARROW and source in FLOATS:
        x = cast(x, "int32")
    made = cast(x, mil_dtype(target))
    if target in NARROW and source != TensorProto.BOOL and source != target:
        bits, signed = NARROW.get(source, (64, True))
        wanted, keeps_sign = NARROW[target]
        fits = (bits < wanted and (keeps_sign or not signed)) or (bits == wanted and signed == keeps_sign)
        return made if fits else wrap(made, target)
    return made


def bit_cast(node: Node) -> Var:
    """The same bits as another integer of that width; a sign where there was none wraps around."""
    x, source, target = node.input(0), node.dtype(0), node.attribute("to", 0)
    if source == TensorProto.BOOL and target in NARROW:
        return cast(x, "int32")
    signed = (TensorProto.INT32, TensorProto.INT64)
    if source not in INTEGERS or target not in INTEGERS or (target not in NARROW and target not in signed):
        node.refuse("it reads bits of floats or of large unsigned integers, which Core ML does not have; cast by value")
    return wrap(mb.identity(x=x), target)


OPS: dict[str, Lowering] = {
    "BitCast": bit_cast,
    "Cast": lambda node: converted(node, node.dtype(0), node.attribute("to", TensorProto.FLOAT)),
    "CastLike": lambda node: converted(node, node.dtype(0), node.dtype(1)),
}
