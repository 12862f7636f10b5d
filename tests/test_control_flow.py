"""If and Loop with computed conditions: bodies in normal form in the hub, right values in every format, refusals that name the node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from edgekit.hub.bodies import names_of_their_own
from edgekit.hub.graph import Refusal, attribute, static_shapes
from edgekit.hub.normalise import prepare
from edgekit.toolchains.catalog import toolchain

ROOT = Path(__file__).parent.parent


def counted(body: str, state: str = "float[?,3] v", scanned: str = "", outputs: str = "float[n,3] y") -> ModelProto:
    """A Loop of `turns` turns; `body` makes `next` from `v`; the shape of the state is not said in the body."""
    scan, given = (", steps", f", float[2,3] {scanned}") if scanned else ("", "")
    return onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 18]> g (float[2,3] x, int64 turns) => ({outputs}) <bool yes = {{1}}> {{
        y{scan} = Loop (turns, yes, x) <body = b (int64 i, bool go, {state.replace("?", "m")}) => (bool more, float[k,3] next{given}) {{
            more = Identity(go) {body}
        }}> }}""")


def test_a_loop_by_a_count_from_outside_keeps_its_turns_and_gets_the_shapes_of_its_state() -> None:
    # given a body in which what is constant is computed anew in each turn, and what is not used too
    body = "two = Constant <value = float {2.0}> () four = Mul(two, two) left = Tanh(v) next = Mul(v, four)"
    model = counted(body)

    found, _ = prepare(model, {})

    (loop,) = found.graph.node
    assert static_shapes(found.graph)["y"] == [2, 3]
    assert [node.op_type for node in attribute(loop, "body").node] == ["Identity", "Mul"]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(ReferenceEvaluator(found).run(None, {"x": x, "turns": np.asarray(3)})[0], x * 64)


@pytest.mark.parametrize(
    "model",
    [
        counted("next = Concat <axis = 0> (v, v)"),
        counted("next = Identity(v) out = Tanh(v)", scanned="out", outputs="float[n,3] y, float[t,2,3] steps"),
    ],
    ids=["state that grows", "steps gathered"],
)
def test_a_loop_whose_results_have_a_shape_known_only_at_run_time_is_refused_by_name(model: ModelProto) -> None:
    model.graph.node[0].name = "around"

    with pytest.raises(Refusal, match=r"node 'around' \(Loop\) gives .* shape is known only when the model runs.* let the loop carry tensors of one shape"):
        prepare(model, {})


def test_tensors_of_bodies_get_names_of_their_own_and_the_same_values() -> None:
    # given two branches whose tensors share their names
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 18]> g (float[2] x, bool c) => (float[2] y) {
        seen = Abs(x)
        y = If (c) <then_branch = p () => (float[2] a) { b = Neg(seen) a = Exp(b) }, else_branch = q () => (float[2] a) { b = Exp(seen) a = Neg(b) }> }""")
    feeds = [{"x": np.float32([1, -2]), "c": np.asarray(flag)} for flag in (True, False)]
    expected = [ReferenceEvaluator(model).run(None, feed)[0] for feed in feeds]

    names_of_their_own(model)

    names = [name for held in model.graph.node[1].attribute for node in held.g.node for name in node.output]
    assert len(set(names)) == 4
    for feed, right in zip(feeds, expected, strict=True):
        np.testing.assert_array_equal(ReferenceEvaluator(model).run(None, feed)[0], right)


@pytest.mark.toolchain
def test_what_is_decided_at_run_time_comes_out_right_in_every_format_that_has_it() -> None:
    argv = [str(toolchain("convert").python), "-W", "ignore", "-m", "tests.lab.control"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr[-2000:]
    verdicts = json.loads(done.stdout.splitlines()[-1])
    assert len(verdicts) == 16
    refused = verdicts.pop("branches tflite fp32")
    assert "(node 'If_2')" in refused
    assert {name: words for name, words in verdicts.items() if words != "right"} == {}
