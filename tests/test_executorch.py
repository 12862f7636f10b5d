"""ExecuTorch is the fourth format: written through the twin, run by ExecuTorch's own runtime, and refused in words where either lacks an operator."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.cli.options import formats_from
from edgekit.hub.compressed import Grid, Spec, Tensor
from edgekit.hub.graph import array
from edgekit.toolchains.catalog import toolchain
from edgekit.write.executorch import FORMAT
from tests.lab.cli import edgekit
from tests.lab.convert import do
from tests.lab.onnx_cases import FLOAT, classifier, draw, model, save


def test_it_is_written_where_it_is_named() -> None:
    assert [one.name for one in formats_from("all", [])] == ["coreml", "onnx", "tflite"]
    assert [one.name for one in formats_from("executorch", [])] == ["executorch"]


def test_devices_get_the_locked_runtime() -> None:
    agent = FORMAT.agent
    assert agent is not None
    assert {name: toolchain("executorch").version(name) for name in agent.packages} == agent.packages
    assert f'VERSION = "{agent.packages["executorch"]}"' in agent.file.read_text()


@pytest.mark.toolchain
def test_a_program_keeps_the_models_boundary_and_values(tmp_path: Path) -> None:
    said = edgekit("convert", save(classifier(), tmp_path / "small.onnx"), "--to", "executorch", "--recipe", "fp32,w8d,w8", "-o", tmp_path, "--json")
    found = {one["recipe"]: one for one in said.json["artifacts"]}
    assert found["fp32"]["status"] == "ok", said.stderr
    assert found["fp32"]["parity"]["host"]["max_rel"] < 1e-5
    assert found["fp32"]["notes"] == ["XNNPACK runs 1 part of the program, ExecuTorch's own kernels 0 operators"]
    assert (tmp_path / "small.fp32.pte").read_bytes()[4:8] == b"ET12"
    assert found["w8d"]["status"] == "ok", said.stderr
    assert "XNNPACK computes 1 of 2 convolutions and linear layers in integers" in found["w8d"]["notes"]
    assert (tmp_path / "small.w8d.pte").stat().st_size < (tmp_path / "small.fp32.pte").stat().st_size - 10 * 256 * 2
    assert found["w8"]["error"] == "XNNPACK in ExecuTorch has no kernels for int8 weights with float activations: use w8a8, w8d or fp32"


def mixed() -> onnx.ModelProto:
    """Reads of one tensor by three, a join of two ranges, and a convolution that XNNPACK has no integer kernel for."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1], group=6),
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("Concat", ["d", "b"], ["e"], axis=1),
        helper.make_node("ConvTranspose", ["e", "w3"], ["f"], strides=[2, 2], group=2),
        helper.make_node("GlobalAveragePool", ["f"], ["g"]),
        helper.make_node("Flatten", ["g"], ["h"]),
        helper.make_node("Gemm", ["h", "w4", "bias"], ["y"]),
    ]
    constants = [draw("w1", 6, 4, 3, 3), draw("w2", 6, 1, 3, 3), draw("w3", 12, 2, 2, 2), draw("w4", 4, 3), draw("bias", 3)]
    return model(nodes, [("x", FLOAT, [1, 4, 8, 8])], [("y", FLOAT, [1, 3])], constants)


@pytest.mark.toolchain
def test_integers_are_onnxs_and_xnnpack_computes_with_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(24, 4, 8, 8)).astype(np.float32))
    path = save(mixed(), tmp_path / "mixed.onnx")
    said = edgekit("convert", path, "--to", "executorch,onnx", "--recipe", "w8a8", "--data", tmp_path / "data.npz", "-o", tmp_path, "--json")
    found = {one["format"]: one for one in said.json["artifacts"]}
    assert found["executorch"]["status"] == "ok", said.stderr
    assert found["executorch"]["parity"]["host"]["sqnr_db"] == pytest.approx(found["onnx"]["parity"]["host"]["sqnr_db"], abs=1)
    assert "XNNPACK computes 3 of 4 convolutions and linear layers in integers" in found["executorch"]["notes"]
    assert "computed in float32: convolution" in found["executorch"]["notes"]


@pytest.mark.toolchain
def test_learned_integers_are_the_files(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-127, 128, (4, 3, 1, 1)).astype(np.float32) * np.float32(0.01)
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    hub = model([node], [("x", FLOAT, [1, 3, 4, 4])], [("y", FLOAT, [1, 4, 4, 4])], [numpy_helper.from_array(values, "w")])
    spec = Spec({"w": Tensor(grid=Grid(8, (0.01,) * 4, (0,) * 4, 0))}, {"x": Grid(8, (0.02,), (3,)), "y": Grid(8, (0.05,), (-4,))})
    spec.save(tmp_path / "compress.json")
    path = save(hub, tmp_path / "hub.onnx")
    outcome = do("store_qdq", {"float": path, "hub": path, "spec": tmp_path / "compress.json"}, {"recipe": None})
    graph = onnx.load(outcome.folder / "model.onnx").graph
    held = {tensor.name: array(tensor) for tensor in graph.initializer}
    assert [one.tolist() for one in held.values() if one.dtype == np.int8 and one.ndim == 4] == [np.rint(values / 0.01).tolist()]
    steps = {(float(held[one.input[1]]), int(held[one.input[2]])) for one in graph.node if one.op_type == "QuantizeLinear"}
    assert steps == {(np.float32(0.02), 3), (np.float32(0.05), -4)}


@pytest.mark.toolchain
def test_what_pytorch_lacks_is_refused_by_name(tmp_path: Path) -> None:
    node = helper.make_node("BitShift", ["x", "x"], ["y"], direction="LEFT", name="shift")
    ends = [[helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 4])] for name in ("x", "y")]
    path = tmp_path / "shift.onnx"
    onnx.save(helper.make_model(helper.make_graph([node], "g", *ends), opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    said = edgekit("convert", path, "--to", "executorch", "-o", tmp_path, "--json")
    assert said.code == 4
    assert "BitShift" in said.json["artifacts"][0]["error"]
    assert said.json["artifacts"][0]["error"].endswith("write another format")


@pytest.mark.toolchain
@pytest.mark.skipif("EDGEKIT_SOAK" not in os.environ, reason="sends PyTorch along, which takes minutes the first time: make soak")
def test_it_is_measured_on_local_like_the_others(tmp_path: Path) -> None:
    said = edgekit("deploy", save(classifier(), tmp_path / "small.onnx"), "--target", "local", "--to", "executorch", "--recipe", "fp32", "--json")
    (variant,) = said.json["variants"]
    assert variant["status"] == "ok", variant["error"]
    assert variant["parity"]["device"]["max_rel"] < 1e-5
    assert variant["latency_ns"]["n"] >= 50
    assert variant["conditions"]["runtime"] == "ExecuTorch 1.5.1"
