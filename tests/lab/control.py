"""If and Loop whose conditions are computed in; of each in each format whether what comes of it is right out, as JSON.

    $CONVERT_PY -m tests.lab.control

Every case goes the way of `edgekit convert`, in one process, and runs on inputs that take different ways through it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx.reference import ReferenceEvaluator

from tests.lab.backend_suite import SUFFIX, Job, Refused, be_a_worker, worker

Array = np.ndarray[Any, Any]
TEXT = '<ir_version: 9, opset_import: ["" : 18]> g '
CASES = {
    # the state alone decides how often; the turn is counted; weights come from outside
    "while": """(float[2,3] x) => (float[2,3] y) <float half = {0.5}, float limit = {1.0}, int64 most = {50}, float[3,3] w = {1,0,0.5,0,1,0,0,0,1}> {
        size = ReduceMax <keepdims = 0> (x) start = Greater(size, limit)
        y, turns = Loop (most, start, x, size) <body = b (int64 i, bool go, float[2,3] v, float s) => (bool more, float[2,3] next, float left) {
            small = Mul(v, half) turned = MatMul(small, w) n = Cast <to = 1> (i) next = Add(turned, n) left = Mul(s, half) more = Greater(left, limit)
        }> }""",
    # as often as an input says; what each turn adds is computed outside; the last two turns differ by an If within
    "for": """(float[2,3] x, int64[1] n) => (float[2,3] y, float[1] z) <bool yes = {1}, float[1] none = {0}, int64 two = {2}, float one = {1.0}> {
        step = Tanh(x)
        y, z = Loop (n, yes, x, none) <body = b (int64 i, bool go, float[2,3] v, float[1] t) => (bool more, float[2,3] next, float[1] count) {
            more = Identity(go) early = Less(i, two)
            next = If (early) <then_branch = p () => (float[2,3] a) { a = Add(v, step) }, else_branch = q () => (float[2,3] e) { e = Sub(v, step) }>
            count = Add(t, one)
        }> }""",
    # a condition that ends it after one turn, however many are asked for
    "once": """(float[2,3] x, int64[1] n) => (float[2,3] y) <bool yes = {1}> {
        y = Loop (n, yes, x) <body = b (int64 i, bool go, float[2,3] v) => (bool more, float[2,3] next) { more = Not(go) next = Neg(v) }> }""",
    # branches of several results, one of them a single value, weights from outside, a stored result
    "branches": """(float[2,3] x) => (float[2,3] y, float z) <float[3,3] w = {1,2,0.5,0,1,0,0,3,1}, float zero = {0.0}, float one = {1.0}> {
        total = ReduceSum <keepdims = 0> (x) positive = Greater(total, zero)
        y, z = If (positive) <
            then_branch = p () => (float[2,3] a, float b) { a = MatMul(x, w) b = ReduceMax <keepdims = 0> (a) },
            else_branch = q () => (float[2,3] c, float d) { c = Elu(x) d = Constant <value = float {7.0}> () }> }""",
}
INPUTS: dict[str, list[list[Array]]] = {
    "while": [[np.float32([[a, 0.5, -1], [0.25, 2, 3]])] for a in (9, -50, 40)],
    "for": [[np.float32([[a, 0.5, -1], [0.25, 2, 3]]), np.array(n)] for a, n in ((1, 0), (2, 1), (3, 5))],
    "once": [[np.float32([[a, 0.5, -1], [0.25, 2, 3]]), np.array(n)] for a, n in ((1, 0), (2, 1), (3, 5))],
    "branches": [[np.float32([[a, 0.5, -1], [0.25, 2, 3]])] for a in (1, -50, 4)],
}


def judge(name: str, format_: str, precision: str) -> str:
    """`right`, or what is wrong, or the words of a refusal."""
    model = onnx.parser.parse_model(TEXT + CASES[name])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        onnx.save(model, folder / "model.onnx")
        for out in ("read", "write"):
            (folder / out).mkdir()
        try:
            worker("read_onnx").run(Job({"model": folder / "model.onnx"}, {"shapes": {}}, folder / "read"))
            worker(f"write_{format_}").run(Job({"hub": folder / "read/hub.onnx"}, {"precision": precision}, folder / "write"))
        except Refused as exc:
            return f"refused: {exc}"
        runner = worker("runtime.runners").open_runner(folder / f"write/model.{SUFFIX[format_]}", format_)
        if format_ == "tflite":
            table = worker("tflite.file").read(folder / "write/model.tflite").table
            names = [tensor.name for body in table.subgraphs for tensor in body.tensors]
            if len({*names}) < len(names):
                return "wrong: tensors share their names, which the quantizer refuses"
        source = ReferenceEvaluator(model)
        for values in INPUTS[name]:
            feeds = [np.asarray(value).reshape(one["shape"]).astype(one["dtype"]) for value, one in zip(values, runner.inputs, strict=True)]
            named = {one.name: np.asarray(value).reshape(feed.shape) for one, value, feed in zip(model.graph.input, values, feeds, strict=True)}
            for found, right in zip(runner.run(feeds), source.run(None, named), strict=True):
                if not np.allclose(found, right, rtol=1e-2 if precision == "fp16" else 1e-5, atol=1e-2 if precision == "fp16" else 1e-6):
                    return f"wrong: {found.tolist()} for {np.asarray(right).tolist()}"
    return "right"


def main() -> None:
    be_a_worker()
    formats = (("onnx", "fp32"), ("tflite", "fp32"), ("coreml", "fp32"), ("coreml", "fp16"))
    print(json.dumps({f"{name} {format_} {precision}": judge(name, format_, precision) for name in CASES for format_, precision in formats}))


if __name__ == "__main__":
    main()
