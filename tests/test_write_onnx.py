"""write_onnx: the hub as it is, signed, without what its exporter said about it."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgekit.errors import ConvertError
from tests.lab.convert import do, verified, written
from tests.lab.onnx_cases import conv, save

pytestmark = pytest.mark.toolchain


def test_the_file_is_the_hub_signed_and_without_descriptions(tmp_path: Path) -> None:
    made = conv()
    made.producer_name, made.doc_string, made.graph.node[0].doc_string = "exporter", "/home/someone/model.py", "line 3"
    file = written(tmp_path, made, "onnx")
    found = onnx.load(file)
    assert found.producer_name == "edgekit"
    assert b"line 3" not in file.read_bytes()
    assert b"someone" not in file.read_bytes()
    assert found.graph.input == made.graph.input
    assert found.graph.output == made.graph.output
    assert verified(tmp_path, made, file, "onnx")["parity"]["max_rel"] < 1e-6


def test_the_opset_is_told(tmp_path: Path) -> None:
    assert do("write_onnx", {"hub": save(conv(), tmp_path / "hub.onnx")}).result["route"] == ["hub, opset ai.onnx 17"]


def test_a_graph_that_breaks_the_standard_is_refused(tmp_path: Path) -> None:
    made = conv()
    made.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ConvertError, match="breaks the ONNX standard"):
        do("write_onnx", {"hub": save(made, tmp_path / "hub.onnx")})
