"""Loops with a known number of turns: recurrent layers where they are such, else their turns; others stay and are refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import ModelProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgekit.hub.graph import Refusal, attribute
from edgekit.hub.normalise import prepare

CELL = {
    "RNN": "a = MatMul(x, w) b = MatMul(h, r) c = Add(a, b) next = Tanh(c)",
    "other": "a = MatMul(x, w) b = MatMul(h, r) c = Add(a, b) d = Tanh(c) next = Mul(d, d)",
}


def loop(body: str, *, turns: str = "five", steps: int = 5) -> ModelProto:
    """A Loop over [5, 1, 3] with a state [1, 2], as TensorFlow's exporter writes it; `body` makes `next` from `x` and `h`."""
    text = f"""<ir_version: 8, opset_import: ["" : 18]>
    g (float[{steps},1,3] series, float[1,2] start, int64 asked) => (float[{steps},1,2] steps, float[1,2] last)
    <int64 five = {{5}}, bool yes = {{1}}, int64 zero = {{0}}, int64 one = {{1}}> {{
        counted, last, steps = Loop ({turns}, yes, zero, start) <body = turn (int64 i, bool go, int64 t, float[1,2] h)
            => (bool more, int64 t_next, float[1,2] next_h, float[1,2] out) {{
            more = Identity(go) x = Gather <axis = 0> (series, t) t_next = Add(t, one) {body} next_h = Identity(next) out = Identity(next)
        }}>
    }}"""
    model = onnx.parser.parse_model(text)
    draw = np.random.default_rng(0)
    for name, shape in (("w", (3, 2)), ("r", (2, 2))):
        model.graph.initializer.append(numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), name))
    return model


def expected(model: ModelProto, feeds: dict[str, np.ndarray], square: bool) -> list[np.ndarray]:
    """The same in numpy."""
    w, r = (next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name) for name in "wr")
    h, steps = feeds["start"], []
    for x in feeds["series"]:
        h = np.tanh(x @ w + h @ r)
        h = h * h if square else h
        steps.append(h)
    return [np.stack(steps), h]


@pytest.mark.parametrize("kind", CELL)
def test_what_comes_of_a_loop_computes_the_same(kind: str) -> None:
    model = loop(CELL[kind])
    draw = np.random.default_rng(1)
    feeds = {"series": draw.normal(size=(5, 1, 3)).astype(np.float32), "start": draw.normal(size=(1, 2)).astype(np.float32), "asked": np.asarray(5)}
    want = expected(model, feeds, kind == "other")

    found, _ = prepare(model, {})

    kinds = [node.op_type for node in found.graph.node]
    assert "Loop" not in kinds
    assert kinds.count("RNN") == (1 if kind == "RNN" else 0)
    assert kinds.count("Tanh") == (0 if kind == "RNN" else 5)
    for values, right in zip(ReferenceEvaluator(found).run(None, feeds), want, strict=True):
        np.testing.assert_allclose(values, right, atol=1e-5)


def test_steps_gathered_by_a_count_that_is_known_only_when_the_model_runs_are_refused() -> None:
    with pytest.raises(Refusal, match="shape is known only when the model runs"):
        prepare(loop(CELL["RNN"], turns="asked"), {})


def test_a_layer_over_a_reversed_sequence_runs_in_reverse() -> None:
    # given x → reversed → RNN → reversed again, as TensorFlow writes a layer that goes backwards
    draw = np.random.default_rng(0)
    stored = [numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), name) for name, shape in (("w", (1, 2, 3)), ("r", (1, 2, 2)))]
    stored += [numpy_helper.from_array(np.array([4], np.int64), "lengths"), numpy_helper.from_array(np.array([1], np.int64), "axis")]
    nodes = [
        helper.make_node("ReverseSequence", ["x", "lengths"], ["turned"], time_axis=0, batch_axis=1),
        helper.make_node("RNN", ["turned", "w", "r"], ["y", "last"], hidden_size=2),
        helper.make_node("Squeeze", ["y", "axis"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["batch_first"], perm=[1, 0, 2]),
        helper.make_node("ReverseSequence", ["batch_first", "lengths"], ["steps"], time_axis=1, batch_axis=0),
        helper.make_node("Identity", ["last"], ["state"]),
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4, 1, 3])
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("steps", "state")]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], outputs, stored), opset_imports=[helper.make_opsetid("", 18)], ir_version=8)

    found, _ = prepare(model, {})

    (layer,) = [node for node in found.graph.node if node.op_type == "RNN"]
    assert attribute(layer, "direction") == b"reverse"
    assert not {"ReverseSequence", "Gather"} & {node.op_type for node in found.graph.node}
