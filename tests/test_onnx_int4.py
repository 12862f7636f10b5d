"""onnx_int4, onnx_layers: 4-bit weights are the float ones to half a step, whatever their shape; corrected biases take the mean error away."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgekit.hub.weights import clip, rounded
from edgekit.toolchains.convert.quantize.onnx_int4 import TABLE, as_stored, block_size, has_int4, pack, store_int4
from edgekit.toolchains.convert.quantize.onnx_layers import correct, input_axes
from tests.lab.onnx_cases import FLOAT, draw, inputs_for, model, outputs_for

node = helper.make_node

CASES = {
    "Conv": (node("Conv", ["x", "w"], ["y"]), [1, 6, 5, 5], [1, 16, 3, 3], (16, 6, 3, 3), 0),
    "odd": (node("Conv", ["x", "w"], ["y"]), [1, 5, 5, 5], [1, 7, 3, 3], (7, 5, 3, 3), 0),
    "ConvTranspose": (node("ConvTranspose", ["x", "w"], ["y"]), [1, 6, 4, 4], [1, 16, 6, 6], (6, 16, 3, 3), 1),
    "Gemm": (node("Gemm", ["x", "w"], ["y"], transB=1), [1, 64], [1, 10], (10, 64), 0),
    "MatMul": (node("MatMul", ["x", "w"], ["y"]), [1, 48], [1, 10], (48, 10), 1),
}


def case(name: str) -> tuple[onnx.ModelProto, np.ndarray, int]:  # type: ignore[type-arg]
    one, taken, given, shape, axis = CASES[name]
    copied = onnx.NodeProto()
    copied.CopyFrom(one)
    made = model([copied], [("x", FLOAT, taken)], [("y", FLOAT, given)], [draw("w", *shape)])
    return made, numpy_helper.to_array(made.graph.initializer[0]).copy(), axis


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("block", [None, 32])
@pytest.mark.parametrize("name", CASES)
def test_the_graph_computes_with_the_rounded_weights(name: str, block: int | None, opset: int) -> None:
    made, weights, axis = case(name)
    made.opset_import[0].version = opset
    block = None if name == "Gemm" else block  # it would be MatMulNBits, which the reference evaluator has not
    expected, changed = case(name)[0], made
    expected.graph.initializer[0].CopyFrom(numpy_helper.from_array(as_stored(weights, axis, block, False), "w"))
    store_int4(changed, block, False, set())
    onnx.checker.check_model(changed)
    inputs = inputs_for(expected, 2)
    np.testing.assert_allclose(outputs_for(changed, inputs)[0], outputs_for(expected, inputs)[0], rtol=1e-5, atol=1e-5)
    assert has_int4(changed)
    assert changed.opset_import[0].version == (21 if opset == 18 else 17)
    stored = max(changed.graph.initializer, key=lambda tensor: math.prod(tensor.dims) if tensor.name != TABLE else 0)
    assert len(stored.raw_data) == -(-weights.size // 2)


def test_blocks_are_rounded_finer_than_channels_and_clipping_finer_still() -> None:
    weights = np.random.default_rng(0).normal(size=(32, 512)).astype(np.float32)
    errors = [float(np.mean((as_stored(weights, 0, block, clipped) - weights) ** 2)) for block, clipped in [(None, False), (None, True), (32, True)]]
    assert errors[0] > 1.2 * errors[1] > 1.5 * errors[2]


def test_clipping_never_errs_more() -> None:
    weights = np.random.default_rng(0).normal(size=(16, 40)).astype(np.float32)
    weights[3] = 0
    error = [np.sum((rounded(given, 0, 4) - weights) ** 2, axis=1) for given in (clip(weights, 0, 4), weights)]
    assert (error[0] <= error[1]).all()


def test_a_block_divides_a_channel_or_is_the_channel() -> None:
    assert [block_size(n, 32) for n in (9, 32, 64, 144, 37, 40)] == [9, 32, 32, 24, 37, 20]
    assert block_size(4096, None) == 4096


def test_two_weights_share_a_byte() -> None:
    assert pack(np.array([-7, 7, 0], np.int8)).tolist() == [0xF1, 0x08]


def test_a_corrected_bias_takes_the_mean_error_away() -> None:
    one = node("Conv", ["x", "w", "b"], ["y"], group=2)
    made = model([one], [("x", FLOAT, [1, 8, 6, 6])], [("y", FLOAT, [1, 12, 4, 4])], [draw("w", 12, 4, 3, 3), draw("b", 12)])
    assert input_axes(made) == {"x": 1}
    samples = [1 + array for array in inputs_for(made, 8)]
    weights = numpy_helper.to_array(made.graph.initializer[0])
    coarse = rounded(weights, 0, 3)

    def mean_error(corrected: bool) -> float:
        changed = onnx.ModelProto()
        changed.CopyFrom(made)
        if corrected:
            mean = np.concatenate(samples).reshape(-1, 8, 36).mean(axis=(0, 2))
            correct(changed, {"x": mean}, lambda position, values, axis: rounded(values, axis, 3))
        next(tensor for tensor in changed.graph.initializer if tensor.name == "w").CopyFrom(numpy_helper.from_array(coarse, "w"))
        return float(np.abs((outputs_for(changed, samples)[0] - outputs_for(made, samples)[0]).mean(axis=(0, 1, 3, 4))).max())

    assert mean_error(True) < mean_error(False) / 5
