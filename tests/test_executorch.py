"""ExecuTorch is the fourth format: written through the twin, run by ExecuTorch's own runtime, and refused in words where either lacks an operator."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgekit.cli.options import formats_from
from edgekit.toolchains.catalog import toolchain
from edgekit.write.executorch import FORMAT
from tests.lab.cli import edgekit
from tests.lab.onnx_cases import classifier, save


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
    said = edgekit("convert", save(classifier(), tmp_path / "small.onnx"), "--to", "executorch", "--recipe", "fp32,w8", "-o", tmp_path, "--json")
    found = {one["recipe"]: one for one in said.json["artifacts"]}
    assert found["fp32"]["status"] == "ok", said.stderr
    assert found["fp32"]["parity"]["host"]["max_rel"] < 1e-5
    assert found["fp32"]["notes"] == ["XNNPACK runs 1 part of the program, ExecuTorch's own kernels 0 operators"]
    assert (tmp_path / "small.fp32.pte").read_bytes()[4:8] == b"ET12"
    assert found["w8"]["error"] == "XNNPACK in ExecuTorch has no kernels for int8 weights with float activations: use w8a8 or fp32"


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
