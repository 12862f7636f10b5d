"""The evaluator of Core ML programs: each operation against ONNX Runtime or its formula, float16, and what it refuses."""

from __future__ import annotations

import json
import os
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


def test_an_open_shape_is_evaluated_at_the_shapes_that_the_package_allows(checked: Any) -> None:
    for kind, allowed, wanted in (("range", "23", "[2..4, 3]"), ("enumerated", "25", "[2, 3] or [5, 3]")):
        told = checked["flexible"][kind]
        assert told.pop("shape") == [[-1, 3], [-1, 4]]
        refused = f"input 'x' needs an array of shape {wanted}"
        assert told == {batch: 0.0 if batch in allowed else refused for batch in "1235"}


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


DAMAGED = 3000 if os.environ.get("EDGEKIT_SOAK") else 120


def test_damaged_packages_are_refused_or_evaluated_and_nothing_else(tmp_path: Path) -> None:
    x = np.ones((1, 4, 6, 6), np.float32)
    w, v = (np.random.default_rng(0).standard_normal(shape).astype(np.float32) for shape in ((8, 4, 3, 3), (72, 5)))
    nodes = [
        make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        make_node("Relu", ["a"], ["b"]),
        make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        make_node("Flatten", ["c"], ["d"]),
        make_node("MatMul", ["d", "v"], ["y"]),
    ]
    package, _ = write(graph(nodes, {"x": x}, {"y": (TensorProto.FLOAT, [1, 5])}, {"w": w, "v": v}), tmp_path, "fp16")

    argv = [str(toolchain("convert").python), str(Path(__file__).parent / "lab/mil_hostile.py"), str(HERE / "convert"), str(package), str(tmp_path)]
    done = subprocess.run([*argv, str(DAMAGED)], capture_output=True, text=True, timeout=600, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["other"] == []
    assert told["refused"] > DAMAGED / 4
    words = {
        "cycle": "which no operation before it gives",
        "unknown_op": "no rule for MIL operation 'relv'",
        "wrong_offset": "weight.bin holds no value",
        "far_offset": "weight.bin holds no value at 1152921504606846976",
        "huge_value": "cannot have the shape",
        "huge_result": "more than the evaluator takes",
        "huge_pad": "it asks for an array of shape",
        "elsewhere": "weights file 'passwd' is missing",
    }
    assert set(told["crafted"]) == set(words)
    assert {name: said for name, said in told["crafted"].items() if not said.startswith("refused: ") or words[name] not in said} == {}
