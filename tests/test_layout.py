"""`--layout nhwc`: images with their channels last, what else as the model has it; verified in the model's own order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import ModelProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgekit.hub.layout import images, turn
from edgekit.recipe import parse
from edgekit.verbs.source import refusal_of
from edgekit.write.format import format_named
from edgekit.write.wishes import Wishes
from tests.lab.convert import do, verified
from tests.lab.onnx_cases import save

DRAW = np.random.default_rng(0)


def network() -> ModelProto:
    """Two images and a matrix in; an image, a row and a table of rank 4 out."""
    text = """(float[1,3,6,8] x, float[1,4,6,8] gain, float[1,2,2,5] table) => (float[1,4,6,8] y, float[1,4] mean, float[1,2,2,5] other) {
        s = Sigmoid(x)  c = Conv<pads=[1,1,1,1]>(s, w)  y = Mul(c, gain)
        g = GlobalAveragePool(y)  mean = Flatten(g)  other = Softmax(table)
    }"""
    made = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g ' + text)
    made.graph.initializer.append(numpy_helper.from_array(np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32), "w"))
    return onnx.shape_inference.infer_shapes(made)


def test_only_images_are_turned_and_the_values_stay() -> None:
    # given a network with an image that a convolution reads and one that it is multiplied with
    made, turned = network(), network()
    # when its images are given channels last
    found = images(made)
    turn(turned, found)
    # then inputs and outputs that are no images keep their order, and the same numbers come out
    assert found == {"x": [0, 2, 3, 1], "gain": [0, 2, 3, 1], "y": [0, 2, 3, 1]}
    onnx.checker.check_model(turned, full_check=True)
    feeds = {v.name: DRAW.normal(size=[d.dim_value for d in v.type.tensor_type.shape.dim]).astype(np.float32) for v in made.graph.input}
    want = ReferenceEvaluator(made).run(None, feeds)
    got = ReferenceEvaluator(turned).run(None, {name: feed.transpose(found.get(name, range(feed.ndim))) for name, feed in feeds.items()})
    for value, a, b in zip(made.graph.output, want, got, strict=True):
        np.testing.assert_allclose(a.transpose(found.get(value.name, range(a.ndim))), b, rtol=1e-5, atol=1e-6)


def test_what_is_calibrated_keeps_the_models_order() -> None:
    words = refusal_of("onnx", parse("w8a8"), format_named("tflite"), Wishes(layout="nhwc"), True)
    assert "leave out --layout" in str(words)
    assert refusal_of("onnx", parse("w8"), format_named("tflite"), Wishes(layout="nhwc"), True) is None


@pytest.mark.toolchain
def test_the_file_has_no_transpose_and_is_verified_in_the_models_order(tmp_path: Path) -> None:
    made = network()
    done = do("write_tflite", {"hub": save(made, tmp_path / "hub.onnx")}, {"layout": "nhwc"})
    assert done.result["transposes"] == [0, 0]
    assert done.result["layout"] == {"inner": "nhwc", "inputs": [[0, 2, 3, 1], [0, 2, 3, 1], [0, 1, 2, 3]], "outputs": [[0, 2, 3, 1], [0, 1], [0, 1, 2, 3]]}
    found = verified(tmp_path, made, done.folder / "model.tflite", "tflite", layout=done.result["layout"])
    assert found["boundary"] is None
    assert found["parity"]["max_rel"] < 1e-5
