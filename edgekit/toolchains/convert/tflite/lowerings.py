"""What onnx2tf gets wrong or lacks, by ONNX operator: the rule that writes it in operators that it gets right."""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.hub.lower import Rule, conv, expand, pool, quantize, scatter, stored, transform
from edgekit.hub.lower import activations as act
from edgekit.hub.lower import integers as ints
from edgekit.hub.lower import select as sel
from edgekit.hub.lower.recurrent import unroll
from edgekit.hub.lower.resize import resize

WIDENED = ("Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mul", "Neg", "Sign", "Sub", "TopK")
REDUCED = tuple(f"Reduce{name}" for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"))
DEFINED = (
    "AffineGrid",
    "Attention",
    "CastLike",
    "CausalConvWithState",
    "CenterCropPad",
    "GroupNormalization",
    "LinearAttention",
    "MeanVarianceNormalization",
    "RMSNormalization",
    "RotaryEmbedding",
    "SwiGLU",
)
"""Written out by their definition."""

LOWERINGS: Mapping[str, Rule] = {
    **dict.fromkeys(DEFINED, expand),
    **dict.fromkeys(WIDENED, ints.widened),
    **dict.fromkeys(REDUCED, ints.widened),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix", "Range"), ints.then(stored.stored, expand)),
    **dict.fromkeys(("Shape", "Size"), stored.shape),
    **dict.fromkeys(("ReduceMax", "ReduceMin"), ints.then(stored.bool_reduction, ints.widened)),
    **dict.fromkeys(("Max", "Min"), ints.then(act.variadic, ints.widened)),
    **dict.fromkeys(("Sum", "Mean"), act.variadic),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), unroll),
    **dict.fromkeys(("ArgMax", "ArgMin"), sel.arg),
    "Abs": ints.then(ints.widened, ints.absolute),
    "AveragePool": pool.average_pool,
    "BitShift": ints.bit_shift,
    "BitwiseNot": stored.bitwise_not,
    "Clip": act.clip,
    "Conv": conv.conv,
    "ConvTranspose": conv.conv_transpose,
    "CumProd": transform.cumulative_product,
    "DFT": transform.dft,
    "DequantizeLinear": quantize.dequantize,
    "DynamicQuantizeLinear": quantize.dynamic,
    "Einsum": transform.einsum,
    "Elu": act.elu,
    "EyeLike": stored.eye_like,
    "Flatten": sel.flatten,
    "GatherElements": sel.gather,
    "Hardmax": act.hardmax,
    "LpNormalization": act.lp_normalization,
    "LpPool": pool.lp_pool,
    "MaxPool": pool.max_pool,
    "Mish": act.mish,
    "Mod": ints.then(ints.widened, ints.mod),
    "OneHot": stored.one_hot,
    "PRelu": act.prelu,
    "Pad": sel.pad,
    "Pow": ints.power,
    "QLinearConv": quantize.conv,
    "QLinearMatMul": quantize.matmul,
    "QuantizeLinear": quantize.quantize,
    "Resize": resize,
    "RoiAlign": conv.roi_align,
    "STFT": transform.stft,
    "ScatterElements": scatter.scatter_elements,
    "ScatterND": scatter.scatter_nd,
    "Slice": sel.slice_,
    "SpaceToDepth": sel.space_to_depth,
    "Split": sel.split,
    "Swish": act.swish,
    "Trilu": sel.trilu,
}
