"""From an .onnx file to the hub in its own process: the same outputs, the same boundary, and refusals as errors of edgekit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgekit.errors import ConvertError, InputError
from edgekit.toolchains.jobs import Job, Outcome, run
from tests.lab.packages import nmp_onnx

pytestmark = pytest.mark.toolchain
DRAW = np.random.default_rng(0)


def work(verb: str, files: dict[str, Path], /, **options: Any) -> Outcome:
    return run(Job("convert", verb, files, options), lambda text, fraction: None)


def largest_error(source: Path, hub: Outcome) -> float:
    """Of the hub against the source, both in ONNX Runtime, relative to each output's range."""
    io = {key: hub.result[key] for key in ("inputs", "outputs")}
    samples = work("samples", {"hub": hub.folder / "hub.onnx"}, inputs=io["inputs"], need_calibration=False, max_evaluation=4, seed=0)
    outputs = [work("reference_onnx", {"model": model, "samples": samples.folder / "evaluation"}, **io) for model in (source, hub.folder / "hub.onnx")]
    errors = []
    for index, spec in enumerate(io["outputs"]):
        want, found = (np.load(outcome.folder / f"{index}.npy") for outcome in outputs)
        assert want.shape == found.shape == (4, *spec["shape"])
        assert np.ptp(want) > 1e-3
        errors.append(float(np.abs(want - found).max() / np.ptp(want)))
    return max(errors)


def network() -> onnx.ModelProto:
    """Conv, batch norm, padding and a dense layer, as exporters write them: much that the hub has in fewer nodes."""
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 15]> g (float[batch,3,9,9] image, float[1] unused) => (float[batch,5] label) {
        p = Pad(image, pads)  c = Conv<strides=[2,2], kernel_shape=[3,3]>(p, k)  n = BatchNormalization(c, gamma, beta, mean, var)
        r = Relu(n)  a = GlobalAveragePool(r)  s = Shape(a)  i = Constant<value_ints=[0]>()  b = Gather(s, i)
        m = Constant<value_ints=[-1]>()  t = Concat<axis=0>(b, m)  f = Reshape(a, t)  d = MatMul(f, w)  label = Add(d, v) }""")
    shapes = {"k": (4, 3, 3, 3), "gamma": 4, "beta": 4, "mean": 4, "w": (4, 5), "v": 5}
    for name, shape in shapes.items():
        model.graph.initializer.append(numpy_helper.from_array(DRAW.normal(size=shape).astype(np.float32), name))
    model.graph.initializer.append(numpy_helper.from_array(DRAW.random(4, np.float32) + 0.5, "var"))
    model.graph.initializer.append(numpy_helper.from_array(np.int64([0, 0, 0, 0, 0, 0, 1, 1]), "pads"))  # type: ignore[arg-type]
    return model


def test_products_with_four_bit_weights_are_read_and_judged_in_float32(tmp_path: Path) -> None:
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]> g (float[1,64] x) => (float[1,16] y) {
        d = DequantizeLinear<axis=0, block_size=32>(w, s)  y = MatMul(x, d) }""")
    model.graph.initializer.append(onnx.helper.make_tensor("w", onnx.TensorProto.INT4, [64, 16], DRAW.integers(-8, 8, 1024).tolist()))
    model.graph.initializer.append(numpy_helper.from_array(DRAW.random((2, 16), np.float32), "s"))
    onnx.save(model, str(tmp_path / "m.onnx"))
    hub = work("read_onnx", {"model": tmp_path / "m.onnx"}, shapes={})
    assert hub.result["notes"] == ["weights stored as integers are the float32 that they stand for"]
    assert largest_error(tmp_path / "m.onnx", hub) < 1e-5


def test_a_network_as_exported_becomes_few_nodes_and_keeps_its_outputs(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    onnx.save(network(), str(source))
    hub = work("read_onnx", {"model": source}, shapes={})
    figures = work("figures", {"hub": hub.folder / "hub.onnx"}).result
    assert figures["ops"] == {"Conv": 1, "Relu": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert figures["opset"] == 18
    assert hub.result["inputs"] == [{"name": "image", "dtype": "float32", "shape": [1, 3, 9, 9]}, {"name": "unused", "dtype": "float32", "shape": [1]}]
    assert hub.result["outputs"] == [{"name": "label", "dtype": "float32", "shape": [1, 5]}]
    assert [(axis["input"], axis["axis"], axis["default"], axis["high"]) for axis in hub.result["flexible"]] == [("image", 0, 1, None)]
    assert largest_error(source, hub) < 1e-5


def test_a_given_batch_is_kept(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    onnx.save(network(), str(source))
    hub = work("read_onnx", {"model": source}, shapes={"image": [2, 3, 9, 9]})
    assert hub.result["outputs"][0]["shape"] == [2, 5]
    assert largest_error(source, hub) < 1e-5


def test_a_real_model() -> None:
    hub = work("read_onnx", {"model": nmp_onnx()}, shapes={})
    assert [spec["shape"] for spec in hub.result["outputs"]] == [[1, 172, 88], [1, 172, 88], [1, 172, 264]]
    assert largest_error(nmp_onnx(), hub) < 1e-5


def test_refusals_are_errors_of_edgekit(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    source.write_text("<html>")
    with pytest.raises(InputError, match=r"m\.onnx is not an ONNX model: it is a web page"):
        work("read_onnx", {"model": source}, shapes={})
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g (float[4] x) => (int64[1,k] y) { y = NonZero(x) }')
    onnx.save(model, str(source))
    with pytest.raises(ConvertError) as caught:
        work("read_onnx", {"model": source}, shapes={})
    assert caught.value.op == "NonZero"
