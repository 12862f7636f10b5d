"""A hub in, the tensors that a format quantizes out: one grid for each, and which of them must share one.

What TFLite's full-integer kernels and QDQ pairs in ONNX both take (TFLite 8-bit quantization specification; ONNX Runtime, "Quantize ONNX models"):
every float tensor that an operator reads or gives, after the activation that is fused into what computes it. Operators that only move, pick or
compare values hand their input's grid on; what they join has one grid together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto

from edgekit.hub.graph import array, constants, makers, readers

SAME = {
    *("MaxPool", "AveragePool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Pad", "Slice", "Gather", "Expand"),
    *("Tile", "DepthToSpace", "SpaceToDepth", "Resize", "ReduceMax", "ReduceMin", "Split"),
}
"""The outputs stand on the grid of the first input."""
JOINED = {"Concat", "Max", "Min"}
"""All inputs and the output stand on one grid."""
FUSED = {"Relu", "Clip"}
"""Computed by the kernel of what comes before: the tensor between is never rounded."""
FUSING = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "Mul", "BatchNormalization"}
FIXED = {"Softmax": (2.0**-8, -128), "Sigmoid": (2.0**-8, -128), "Tanh": (2.0**-7, 0), "LpNormalization": (2.0**-7, 0)}
"""Scale and zero point of an int8 output that the operator's definition gives."""


@dataclass(frozen=True, slots=True)
class Site:
    """Tensors on one grid; those of `places` are put on it, the others are on it by what makes them."""

    tensors: tuple[str, ...]
    places: tuple[str, ...]
    fixed: tuple[float, int] | None = None


def sites(model: ModelProto, names: Iterable[str]) -> list[Site]:
    """Where activations are quantized, in the graph's order.

    Args:
        names: float inputs and tensors, in the graph's order; others get no grid.
    """
    graph = model.graph
    stored, read, made = constants(graph), readers(graph), makers(graph)
    known = [name for name in names if name not in stored]
    order = {name: place for place, name in enumerate(known)}
    outputs = {value.name for value in graph.output}
    inner = {name for name in known if name not in outputs and is_inner(made.get(name), read.get(name, []), stored)}
    root = {name: name for name in known if name not in inner}

    def top(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    def join(one: str, other: str) -> None:
        if one in root and other in root:
            first, second = sorted((top(one), top(other)), key=order.__getitem__)
            root[second] = first

    handed: set[str] = set()
    for node in graph.node:
        if node.op_type in SAME:
            for name in node.output:
                join(node.input[0], name)
                if node.input[0] in root:
                    handed.add(name)
        elif node.op_type in JOINED:
            for name in node.input:
                join(node.output[0], name)
            if all(name in root for name in node.input):
                handed.add(node.output[0])
    together: dict[str, list[str]] = {}
    for name in root:
        together.setdefault(top(name), []).append(name)
    found = []
    for members in together.values():
        places = tuple(name for name in members if name not in handed)
        fixed = FIXED.get(made[members[0]].op_type) if members[0] in made and len(places) == 1 else None
        found.append(Site(tuple(members), places, fixed))
    return found


def is_inner(maker: NodeProto | None, following: list[NodeProto], stored: dict[str, TensorProto]) -> bool:
    """Whether a tensor lies between an operator and the activation fused into it, or between a product and its bias."""
    if maker is None or len(following) != 1 or maker.op_type not in FUSING:
        return False
    after = following[0]
    if after.op_type == "Clip":
        return all(name in stored for name in after.input[1:] if name) and bounds_fuse(after, stored)
    bias = after.op_type == "Add" and maker.op_type in ("MatMul", "Gemm", "Conv") and any(name in stored for name in after.input)
    return bias or after.op_type in FUSED


def bounds_fuse(clip: NodeProto, stored: dict[str, TensorProto]) -> bool:
    """0..6 and −1..1 are what TFLite's kernels fuse."""
    bounds = [float(array(stored[name]).reshape(-1)[0]) if name else None for name in clip.input[1:3]]
    return bounds in ([0.0, 6.0], [-1.0, 1.0], [0.0, None], [0.0])
