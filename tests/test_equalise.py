"""equalise: the same function, channels of a like range; and no factor through what does not let one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgekit.hub.equalise import equalise
from tests.lab.convert import do
from tests.lab.onnx_cases import FLOAT, draw, inputs_for, model, outputs_for, save

node = helper.make_node


def uneven(tensor: onnx.TensorProto, axis: int) -> onnx.TensorProto:
    """Ranges of channels that differ by up to a thousand."""
    values = numpy_helper.to_array(tensor)
    factors = np.logspace(0, -3, values.shape[axis], dtype=np.float32)
    return numpy_helper.from_array(values * factors.reshape([-1 if i == axis else 1 for i in range(values.ndim)]), tensor.name)


def chain(between: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    """Conv, depthwise Conv with two outputs a channel, grouped Conv, transposed Conv, pooling, Gemm; uneven channels all along."""
    between = between or [node("Relu", ["a"], ["b"])]
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        *between,
        node("Conv", ["b", "w2", "b2"], ["c"], group=8),
        node("LeakyRelu", ["c"], ["d"], alpha=0.1),
        node("Conv", ["d", "w3"], ["e"], group=4),
        node("Relu", ["e"], ["f"]),
        node("AveragePool", ["f"], ["g"], kernel_shape=[2, 2]),
        node("Flatten", ["g"], ["h"]),
        node("Gemm", ["h", "w4", "b4"], ["i"], transB=1),
        node("Relu", ["i"], ["j"]),
        node("Gemm", ["j", "w5"], ["y"]),
    ]
    constants = [
        uneven(draw("w1", 8, 3, 3, 3), 0),
        draw("b1", 8),
        uneven(draw("w2", 16, 1, 3, 3, seed=1), 0),
        draw("b2", 16),
        uneven(draw("w3", 8, 4, 1, 1, seed=2), 0),
        uneven(draw("w4", 5, 8 * 25, seed=3), 0),
        draw("b4", 5),
        draw("w5", 5, 4, seed=4),
        numpy_helper.from_array(np.float32(0), "low"),
        numpy_helper.from_array(np.float32(6), "high"),
        numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 0, 0, 0]), "pads"),
        numpy_helper.from_array(np.float32(1), "one"),
    ]
    return model(nodes, [("x", FLOAT, [1, 3, 8, 8])], [("y", FLOAT, [1, 4])], constants)


def spread(made: onnx.ModelProto, name: str) -> float:
    """Largest over smallest range of the output channels of the layer that gives a tensor."""
    (layer,) = (one for one in made.graph.node if one.output[0] == name)
    weights = next(numpy_helper.to_array(tensor) for tensor in made.graph.initializer if tensor.name == layer.input[1])
    ranges = np.abs(weights).max(axis=tuple(range(1, weights.ndim)))
    return float(ranges.max() / ranges.min())


def test_the_function_stays_and_the_channels_become_alike() -> None:
    made, changed = chain(), chain()
    assert equalise(changed) == 4
    onnx.checker.check_model(changed)
    inputs = inputs_for(made, 3)
    a, b = outputs_for(made, inputs)[0], outputs_for(changed, inputs)[0]
    assert 0 < np.abs(a - b).max() <= 1e-5 * np.abs(a).max()
    for name in ("a", "c"):
        assert spread(made, name) > 300
        assert spread(changed, name) < spread(made, name) / 5


@pytest.mark.parametrize(
    "between",
    [
        [node("Clip", ["a", "low", "high"], ["b"])],
        [node("Sigmoid", ["a"], ["b"])],
        [node("Pad", ["a", "pads", "one"], ["b"])],
        [node("Relu", ["a"], ["r"]), node("Add", ["r", "a"], ["b"])],
    ],
)
def test_what_lets_no_factor_through_is_no_pair(between: list[onnx.NodeProto]) -> None:
    made = chain(between)
    before = numpy_helper.to_array(made.graph.initializer[0])
    assert equalise(made) == 3
    (first,) = (one for one in made.graph.node if one.output[0] == "a")
    kept = next(numpy_helper.to_array(tensor) for tensor in made.graph.initializer if tensor.name == first.input[1])
    assert (kept == before).all()


def test_weights_that_another_layer_shares_stay_for_that_one() -> None:
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("Conv", ["r", "v"], ["y"]),
        node("Conv", ["x", "w", "b"], ["z"]),
    ]
    shapes = [("y", FLOAT, [1, 4, 4, 4]), ("z", FLOAT, [1, 8, 4, 4])]
    made = model(nodes, [("x", FLOAT, [1, 3, 4, 4])], shapes, [uneven(draw("w", 8, 3, 1, 1), 0), draw("b", 8), draw("v", 4, 8, 1, 1)])
    changed = onnx.ModelProto()
    changed.CopyFrom(made)
    assert equalise(changed) == 1
    inputs = inputs_for(made, 2)
    for a, b in zip(outputs_for(made, inputs), outputs_for(changed, inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_dead_channel_is_left_alone() -> None:
    w = numpy_helper.to_array(draw("w", 8, 3, 1, 1)).copy()
    w[2] = 0
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Relu", ["a"], ["r"]), node("Conv", ["r", "v"], ["y"])]
    constants = [numpy_helper.from_array(w, "w"), draw("v", 4, 8, 1, 1)]
    made = model(nodes, [("x", FLOAT, [1, 3, 4, 4])], [("y", FLOAT, [1, 4, 4, 4])], constants)
    assert equalise(made) == 1
    assert all(np.isfinite(numpy_helper.to_array(tensor)).all() for tensor in made.graph.initializer)


@pytest.mark.toolchain
def test_the_worker_gives_a_verified_hub_or_none(tmp_path: Path) -> None:
    outcome = do("equalise", {"hub": save(chain(), tmp_path / "hub.onnx")})
    assert outcome.result["equalised"] is True
    assert outcome.result["pairs"] == 4
    inputs = inputs_for(chain(), 2)
    a, b = outputs_for(chain(), inputs)[0], outputs_for(onnx.load(outcome.folder / "hub.onnx"), inputs)[0]
    assert np.abs(a - b).max() <= 1e-5 * np.abs(a).max()
    alone = model([node("Relu", ["x"], ["y"])], [("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 4])])
    assert do("equalise", {"hub": save(alone, tmp_path / "alone.onnx")}).result == {"equalised": False, "pairs": 0, "notes": []}
