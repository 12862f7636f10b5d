"""A small ONNX graph in, what its Core ML package gives out: through the real workers, in the `convert` toolchain."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
from numpy.typing import NDArray

from edgekit.toolchains.catalog import HERE, toolchain
from edgekit.toolchains.jobs import Job, run

Array = NDArray[Any]
OPSET = 20


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the evaluator says of a package, and the outputs by feature name."""

    report: dict[str, Any]
    outputs: dict[str, Array]


def graph(
    nodes: list[onnx.NodeProto], inputs: Mapping[str, Array], outputs: Mapping[str, tuple[int, list[int]]], constants: Mapping[str, Array] | None = None
) -> onnx.ModelProto:
    """An ONNX model: inputs shaped like the arrays, outputs name → (element type, shape)."""
    made = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in inputs.items()],
        [onnx.helper.make_tensor_value_info(n, t, s) for n, (t, s) in outputs.items()],
        [onnx.numpy_helper.from_array(a, n) for n, a in (constants or {}).items()],
    )
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def reference(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs by ONNX's own reference implementation, by name."""
    answers = onnx.reference.ReferenceEvaluator(model).run(None, dict(feeds))
    return {value.name: np.asarray(answer) for value, answer in zip(model.graph.output, answers, strict=True)}


def write(model: onnx.ModelProto, folder: Path, precision: str = "fp32") -> tuple[Path, list[str]]:
    """The package that write_coreml makes of it, and its notes."""
    hub = folder / "hub.onnx"
    onnx.save(model, hub)
    outcome = run(Job("convert", "write_coreml", {"hub": hub}, {"precision": precision}), lambda text, fraction: None)
    return outcome.folder / "model.mlpackage", outcome.result["notes"]


def evaluate(package: Path, feeds: Mapping[str, Array], scratch: Path) -> Evaluation:
    """Run the package in the MIL evaluator."""
    np.savez(scratch / "feeds.npz", **feeds)  # type: ignore[arg-type]
    argv = [toolchain("convert").python, Path(__file__).with_name("mil_run.py"), HERE / "convert", package, scratch / "feeds.npz", scratch / "outputs.npz"]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=300, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    outputs = {} if "error" in report else dict(np.load(scratch / "outputs.npz"))
    return Evaluation(report, outputs)
