"""An operator's name in, its rule out; a hub in, the Trace of its channels out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onnx import ModelProto, NodeProto

from edgekit.compress.groups import moves, same, weighted
from edgekit.compress.groups.tracing import Trace
from edgekit.hub.graph import output_names, reads, subgraphs
from edgekit.hub.kinds import ELEMENTWISE, UNARY

Rule = Callable[[Trace, NodeProto], None]

RULES: Mapping[str, Rule] = {
    **dict.fromkeys((*UNARY, *ELEMENTWISE, "BitShift", "Dropout", "Identity", "IsInf", "IsNaN", "Mod", "Shrink", "Swish"), same.elementwise),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), same.quantize),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GridSample", "LpPool", "MaxPool"), same.windows),
    "Resize": same.resize,
    **dict.fromkeys(("ArgMax", "ArgMin", "Hardmax", "LogSoftmax", "LRN", "LpNormalization", "Softmax", "TopK"), same.across),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"), same.reduce),
    **dict.fromkeys(("ReduceSum", "ReduceSumSquare"), same.reduce),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), same.per_channel),
    "LayerNormalization": same.layer_normalization,
    "RMSNormalization": same.layer_normalization,
    "GroupNormalization": same.group_normalization,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), moves.view),
    "Transpose": moves.transpose,
    "Concat": moves.concat,
    "Split": moves.split,
    "Slice": moves.part,
    "Gather": moves.gather,
    "Pad": moves.pad,
    "Tile": moves.tile,
    "Expand": moves.expand,
    "DepthToSpace": moves.depth_to_space,
    "SpaceToDepth": moves.space_to_depth,
    **dict.fromkeys(("Conv", "ConvTranspose"), weighted.convolution),
    "Gemm": weighted.gemm,
    "MatMul": weighted.matmul,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), weighted.recurrent),
}
"""An operator that is not here is not cut through."""


def trace(model: ModelProto) -> Trace:
    """Follow the channels of a hub from the weights that make them to those that read them."""
    found = Trace(model)
    for node in model.graph.node:
        known = all(name in found.shapes for name in (*reads(node), *node.output) if name)
        rule = RULES.get(node.op_type) if known and not node.domain and not any(subgraphs(node)) else None
        if rule is None:
            found.unknown(node)
        else:
            rule(found, node)
        found.settle(node)
    for name in output_names(model.graph):
        for channels in found.axes.get(name, ()):
            found.freeze(channels, f"they reach the model's output {name!r}")
        if name in found.stored:
            found.fixed.update((name, axis) for axis in range(len(found.stored[name].dims)))
    for place in sorted(found.fixed & found.slots.keys()):
        found.freeze(found.slots[place].channels, f"{place[0]!r} is also read whole")
    return found
