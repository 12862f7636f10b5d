"""hub.onnx in, model.npzgraph out; and such a file in, what runs it for verification out: ONNX's reference evaluator."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from edgekit.toolchains.convert.runtime.runners import CannotRunError


def run(job: Any) -> dict[str, Any]:
    """`hub` → out/model.npzgraph, {"route", "notes"}."""
    job.progress("writing an NPZ graph")
    model = onnx.load(job.inputs["hub"])
    if any(node.op_type == "Elu" for node in model.graph.node):
        job.refuse("NPZ graphs cannot carry the operator Elu: write another format", op="Elu")
    held = io.BytesIO()
    np.savez(held, graph=np.frombuffer(model.SerializeToString(), np.uint8))
    (job.out / "model.npzgraph").write_bytes(held.getvalue())
    return {"route": ["npz"], "notes": ["a stranger's own format"], "ops": len(model.graph.node)}


class Runner:
    """The graph by ONNX's definition of each operator."""

    delegate = "reference"

    def __init__(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as held:
                model = onnx.load_from_string(held["graph"].tobytes())
        except (ValueError, KeyError, OSError) as exc:
            raise CannotRunError(f"it is no NPZ graph ({exc})") from exc
        self.session = ReferenceEvaluator(model)
        self.inputs, self.outputs = ([described(value) for value in values] for values in (model.graph.input, model.graph.output))

    def run(self, feeds: list[Any]) -> list[Any]:
        found: list[Any] = self.session.run(None, {spec["name"]: feed for spec, feed in zip(self.inputs, feeds, strict=True)})
        return found


open_runner = Runner


def described(value: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = value.type.tensor_type
    return {"name": value.name, "dtype": onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name, "shape": [dim.dim_value for dim in kind.shape.dim]}
