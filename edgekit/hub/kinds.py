"""ONNX operators by what they do with the order of axes."""

from __future__ import annotations

IMAGE_OPERATORS = (
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool", "Resize", "DepthToSpace",
    "SpaceToDepth", "InstanceNormalization", "BatchNormalization", "GroupNormalization", "LRN", "GridSample", "QLinearConv", "ConvInteger", "DeformConv",
)  # fmt: skip
"""Operators that tell channels from places, so that a file has to choose an order for them."""

UNARY = {
    "Abs", "Cast", "Ceil", "Celu", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Neg",
    "Not", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu",
}  # fmt: skip
ELEMENTWISE = {
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum",
    "Where", "Xor",
}  # fmt: skip
"""Operators that treat all elements alike: of one tensor, and of several that broadcast."""
