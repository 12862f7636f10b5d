"""A format that a stranger's package adds is converted to, verified and measured like those that edgekit has itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.lab.cli import Said, edgekit
from tests.lab.tiny import tiny

PACKAGE = Path(__file__).parent / "lab/npz_graph"
pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site-packages with the stranger's distribution: its package, and the metadata that an installer writes."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, site / "npz_graph", ignore=shutil.ignore_patterns("__pycache__"))
    info = site / "npz_graph-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: npz-graph\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edgekit.formats]\nnpz-graph = npz_graph:FORMAT\n")
    return site


def with_plugin(site: Path, *argv: object) -> Said:
    return edgekit(*argv, PYTHONPATH=str(site))


def test_a_package_is_all_that_a_format_needs(installed: Path, tmp_path: Path) -> None:
    made = tiny(tmp_path)
    said = with_plugin(installed, "convert", made.onnx, "--to", "npz-graph,onnx", "--recipe", "fp32,w8", "-o", tmp_path / "out", "--json")
    assert said.code == 0, said.stderr
    found = {(one["format"], one["recipe"]): one for one in said.json["artifacts"]}
    mine = found["npz-graph", "fp32"]
    assert mine["status"] == "ok"
    assert mine["parity"]["host"]["max_rel"] < 1e-6
    assert (mine["route"], mine["ops"]) == (["npz"], 1)
    assert found["npz-graph", "w8"]["error"] == "an NPZ graph has no integers: use fp32"
    lineage = json.loads((tmp_path / "out/tiny.fp32.npzgraph.json").read_text())
    assert lineage["routes"] == [{"name": "onnx", "outcome": "taken"}]


def test_it_is_measured_by_its_own_adapter(installed: Path, tmp_path: Path) -> None:
    made = tiny(tmp_path)
    said = with_plugin(installed, "deploy", made.onnx, "--target", "local", "--to", "npz-graph", "--recipe", "fp32", "--json")
    assert said.code == 0, said.stderr + said.stdout
    (variant,) = said.json["variants"]
    assert variant["status"] == "ok"
    assert variant["parity"]["device"]["max_rel"] < 1e-6
    assert variant["latency_ns"]["n"] >= 50
    assert variant["conditions"]["runtime"].startswith("ONNX Runtime on NPZ graphs")
    assert said.json["chosen"] == {**said.json["chosen"], "recipe": "fp32", "format": "npz-graph"}


def test_its_refusals_and_its_wrong_files_are_said_like_others(installed: Path, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Elu", ["x"], ["y"], name="bend")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "elu.onnx")
    refused = with_plugin(installed, "convert", tmp_path / "elu.onnx", "--to", "npz-graph", "-o", tmp_path / "out", "--json")
    assert refused.code == 4
    assert refused.json["artifacts"][0]["error"] == "NPZ graphs cannot carry the operator Elu: write another format"
    np.savez(tmp_path / "broken.npz", other=np.zeros(3))
    (tmp_path / "broken.npz").rename(tmp_path / "broken.npzgraph")
    broken = with_plugin(installed, "bench", tmp_path / "broken.npzgraph", "--target", "local")
    assert broken.code == 2
    assert broken.error.startswith("broken.npzgraph is no npz-graph file that runs here: it is no NPZ graph")


def test_without_the_package_there_is_no_such_format(tmp_path: Path) -> None:
    said = edgekit("convert", tiny(tmp_path).onnx, "--to", "npz-graph", "-o", tmp_path / "out")
    assert said.code == 2
    assert "npz-graph" in said.error
