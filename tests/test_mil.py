"""The evaluator of Core ML programs: each operation against ONNX Runtime or its formula, float16, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from edgekit.toolchains.catalog import HERE, toolchain
from tests.lab.coreml import evaluate, graph, write

FLOAT32_BOUND = 2e-6  # a few roundings of float32, relative to the range of what is expected
FAMILIES = ["elementwise", "conv", "pool", "normalization", "reduce", "shape", "gather", "resize", "recurrent", "constexpr", "quantization", "ios18"]
FAMILIES += ["rearranged", "image", "control", "constexpr18", "state"]

pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All cases, evaluated once in the toolchain."""
    script = Path(__file__).parent / "lab/mil_check.py"
    argv = [str(toolchain("convert").python), str(script), str(HERE / "convert"), str(tmp_path_factory.mktemp("mil"))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("family", FAMILIES)
def test_operations_give_what_onnx_runtime_gives(checked: Any, family: str) -> None:
    wrong = {case: error for case, error in checked["errors"][family].items() if not error < FLOAT32_BOUND}
    assert checked["errors"][family]
    assert wrong == {}


def test_every_operation_has_a_case(checked: Any) -> None:
    assert checked["uncovered"] == []
    assert set(checked["errors"]) == set(FAMILIES)


def test_an_unknown_operation_is_named(checked: Any) -> None:
    assert checked["unknown"]["error"] == "UnknownOp"
    assert "'random_normal'" in checked["unknown"]["message"]


def test_float16_values_are_rounded_after_each_operation(tmp_path: Path) -> None:
    # 2048 + 1 has no float16: it rounds to 2048, and taking 2048 away again leaves 0.
    x = np.ones((1, 4), np.float32)
    nodes = [make_node("Add", ["x", "c"], ["sum"]), make_node("Sub", ["sum", "c"], ["y"])]
    model = graph(nodes, {"x": x}, {"y": (TensorProto.FLOAT, [1, 4])}, {"c": np.array([2048], np.float32)})

    half = evaluate(write(model, tmp_path, "fp16")[0], {"x": x}, tmp_path)
    full = evaluate(write(model, tmp_path, "fp32")[0], {"x": x}, tmp_path)

    assert half.outputs["y"].tolist() == [[0, 0, 0, 0]]
    assert full.outputs["y"].tolist() == [[1, 1, 1, 1]]
    assert "float16" in half.report["dtypes"].values()
    assert half.outputs["y"].dtype == np.float32


def test_a_feed_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = graph([make_node("Relu", ["x"], ["y"])], {"x": np.ones((1, 4), np.float32)}, {"y": (TensorProto.FLOAT, [1, 4])})

    wrong = evaluate(write(model, tmp_path)[0], {"x": np.ones((1, 5), np.float32)}, tmp_path)

    assert wrong.report == {"error": "EvaluationError", "message": "input 'x' needs an array of shape [1, 4]"}


def test_what_is_not_a_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.mlpackage").mkdir()

    refused = evaluate(tmp_path / "none.mlpackage", {}, tmp_path)

    assert refused.report["error"] == "EvaluationError"
    assert "none.mlpackage is not an ML Program" in refused.report["message"]


def test_it_needs_no_coremltools() -> None:
    script = (
        "import sys; sys.path.append(sys.argv[1]); import mil.evaluate;"
        "print({m.split('.')[0] for m in sys.modules} & {'coremltools', 'onnx2coreml', 'torch', 'tensorflow', 'scipy'})"
    )

    done = subprocess.run([str(toolchain("convert").python), "-c", script, str(HERE / "convert")], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
