"""A tiny classifier as ONNX, its samples and its own outputs: what tests of measuring push to a device."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekit.files import sha256_tree
from edgekit.protocol import Subject
from edgekit.records import TensorSpec

CLASSES = 10


@dataclass(frozen=True)
class Tiny:
    """`scores = image @ weights`, [1, width] → [1, 10]."""

    onnx: Path
    samples: Path
    reference: Path
    labels: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def subject(self, path: Path | None = None, recipe: str = "fp32", *, labels: bool = True) -> Subject:
        path = path or self.onnx
        form = "coreml" if path.suffix == ".mlpackage" else path.suffix.removeprefix(".")
        wanted = self.labels if labels else None
        return Subject(path, sha256_tree(path), form, recipe, self.inputs, self.outputs, self.samples, self.reference, wanted)


def tiny(folder: Path, *, width: int = 64, n: int = 20, layers: int = 1) -> Tiny:
    """Make one; more `layers` (of `width` × `width`) make it slower and larger."""
    rng = np.random.default_rng(0)
    sizes = [width] * layers + [CLASSES]
    weights = [(rng.standard_normal((a, b)) / np.sqrt(a)).astype(np.float32) for a, b in itertools.pairwise(sizes)]
    names = ["image", *(f"hidden{i}" for i in range(layers - 1)), "scores"]
    nodes = [helper.make_node("Gemm", [a, f"w{i}"], [b]) for i, (a, b) in enumerate(itertools.pairwise(names))]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, width])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "tiny.onnx")
    samples = rng.standard_normal((n, 1, width)).astype(np.float32)
    outputs = samples
    for weight in weights:
        outputs = outputs @ weight
    for name, array in (("samples", samples), ("reference", outputs)):
        (folder / name).mkdir(exist_ok=True)
        np.save(folder / name / "0.npy", array)
    np.save(folder / "labels.npy", outputs.argmax(-1)[:, 0].astype(np.int64))
    inputs = (TensorSpec("image", "float32", (1, width)),)
    return Tiny(folder / "tiny.onnx", folder / "samples", folder / "reference", folder / "labels.npy", inputs, (TensorSpec("scores", "float32", (1, CLASSES)),))
