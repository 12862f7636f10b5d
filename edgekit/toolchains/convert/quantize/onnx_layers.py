"""A float ONNX model in, the same with biases corrected for what rounding the weights takes from each output's mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from edgekit.hub.graph import array, attribute, constants
from edgekit.hub.weights import Array
from edgekit.toolchains.convert.quantize.onnx_weights import LEAST_VALUES, channel_axis

INPUT_AXES = {"Conv": 1, "Gemm": 1}
"""Operators that have a bias → the axis of their input that counts channels."""


def input_axes(model: onnx.ModelProto) -> dict[str, int]:
    """Tensors whose channel means `correct` needs."""
    return {node.input[0]: INPUT_AXES[node.op_type] for node in model.graph.node if node.op_type in INPUT_AXES}


def correct(model: onnx.ModelProto, means: Mapping[str, Array], stored: Callable[[int, Array, int], Array]) -> None:
    """Add -ΔW · E[x] to each bias (Nagel et al. 2019, "Data-Free Quantization …", section 4.2), E[x] measured on calibration samples.

    ΔW is what storing changes: `stored` gives what is left of the weights of the node at a position, from its axis of output channels.
    Borders that are padded with zeros are not told apart.
    """
    tensors = constants(model.graph)
    for position, node in enumerate(list(model.graph.node)):
        axis = channel_axis(node, node.input[1]) if node.op_type in INPUT_AXES else None
        weights = tensors.get(node.input[1]) if axis is not None else None
        if axis is None or weights is None or np.prod(weights.dims) < LEAST_VALUES or node.input[0] not in means:
            continue
        values = array(weights)
        shift = response(node, stored(position, values, axis) - values, means[node.input[0]])
        given = len(node.input) > 2 and bool(node.input[2])
        old = array(tensors[node.input[2]]) if given and node.input[2] in tensors else None if given else np.zeros(1, np.float32)
        if shift is None or old is None or attribute(node, "beta", 1.0) != 1.0 or old.size not in (1, shift.size):
            continue
        name = f"bias:{position}"
        model.graph.initializer.append(numpy_helper.from_array((old.reshape(-1) - shift).astype(np.float32), name))
        node.input[:] = [*node.input[:2], name]


def response(node: onnx.NodeProto, weights: Array, mean: Array) -> Array | None:
    """What weights give for an input that has its mean everywhere; None where the channels do not match."""
    if node.op_type == "Gemm":
        matrix = weights if attribute(node, "transB", 0) else weights.T
        return np.asarray(attribute(node, "alpha", 1.0) * matrix @ mean) if matrix.shape[1] == mean.size else None
    groups = int(attribute(node, "group", 1))
    if weights.shape[1] * groups != mean.size:
        return None
    outputs = weights.reshape(groups, weights.shape[0] // groups, weights.shape[1], -1).sum(axis=3)
    return np.asarray(np.einsum("goi,gi->go", outputs, mean.reshape(groups, -1)).reshape(-1))
