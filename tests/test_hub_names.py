"""Names of layers that others went into: the source model's."""

from __future__ import annotations

import onnx
import pytest

from edgekit.hub.names import name_fused

BEFORE = """<ir_version: 10, opset_import: ["" : 18]> g (float[1,2,4,4] x, float[1,2,4,4] other) => (float[1,2,4,4] y)
    <float[2,2,1,1] w = {1,2,3,4}, float[1,2,1,1] s = {1,2}> { [mine] a = Conv(x, w) SCALE }"""
AFTER = """<ir_version: 10, opset_import: ["" : 18]> g (float[1,2,4,4] x, float[1,2,4,4] other) => (float[1,2,4,4] y)
    <float[2,2,1,1] y_weight = {1,2,3,4}> { [made_up] y = Conv(x, y_weight) }"""


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("[scale] y = Mul(a, s)", "mine"),
        ("[scale] b = Mul(a, s) [shift] y = Add(s, b)", "mine"),
        ("[sum] y = Add(a, other)", "made_up"),  # the other is computed too: that is no bias
        ("[act] y = Relu(a)", "made_up"),
    ],
)
def test_a_layer_keeps_the_name_that_it_had_before_a_scale_went_into_it(scale: str, expected: str) -> None:
    before, after = onnx.parser.parse_model(BEFORE.replace("SCALE", scale)), onnx.parser.parse_model(AFTER)
    name_fused(after, before)
    assert [node.name for node in after.graph.node] == [expected]
