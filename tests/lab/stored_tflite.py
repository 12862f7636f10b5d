"""Compressed hubs in; of the TFLite file of each what it stores, how it runs and what it gives out, as JSON.

    $CONVERT_PY -m tests.lab.stored_tflite

Every hub goes the way of `edgekit convert`, in one process. Where weights went is known here without the worker's own search: Conv OIHW → OHWI,
depthwise → the last axis, Gemm behind a flattened image → its columns in the image's other order.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from edgekit.hub.compressed import Spec, integers
from edgekit.hub.graph import array, constants
from edgekit.toolchains.convert import store_tflite, write_tflite
from edgekit.toolchains.convert.onnx_store.activations import quantize
from edgekit.toolchains.convert.runtime.runners import LiteRt, OnnxRuntime
from edgekit.toolchains.convert.tflite.file import TfliteFile, read
from edgekit.toolchains.worker import Job
from tests.lab.compressed_hubs import compressed
from tests.lab.onnx_cases import FLOAT, Array, draw, inputs_for, model

CASES = {
    **dict.fromkeys(["prune90", "cluster16", "prune80+cluster16", "w8", "w4", "w2", "ternary", "binary", "w4b32", "w8a8", "w4a8"]),
    "prune50, then w8a8": "w8a8",
}
NAMES = {"w0": 0, "w1": 0, "w2": 0, "v": 0}
WHERE = {"w0": (0, 2, 3, 1), "w1": (1, 2, 3, 0), "w2": (0, 2, 3, 1)}
node = helper.make_node


def network() -> onnx.ModelProto:
    """image [1,3,16,16] → 10 scores: a convolution, a depthwise and a 1×1 one, each with Relu, a pool, a product behind a Flatten."""
    nodes = [
        node("Conv", ["image", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], group=16),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2", "b2"], ["c2"]),
        node("Relu", ["c2"], ["r2"]),
        node("MaxPool", ["r2"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "v", "b"], ["y"], transB=1),
    ]
    tensors = [draw("w0", 16, 3, 3, 3), draw("w1", 16, 1, 3, 3, seed=1), draw("w2", 64, 16, 1, 1, seed=2), draw("v", 10, 1024, seed=3)]
    biases = [draw("b0", 16, seed=4), draw("b1", 16, seed=5), draw("b2", 64, seed=6), draw("b", 10, seed=7)]
    made = model(nodes, [("image", FLOAT, [1, 3, 16, 16])], [("y", FLOAT, [1, 10])], [*tensors, *biases])
    made.opset_import[0].version = 18
    return made


def moved(name: str, values: Array) -> Array:
    """The integers of an initializer where a channels-last graph has them."""
    return values.reshape(10, 64, 4, 4).transpose(0, 2, 3, 1).reshape(10, 1024) if name == "v" else values.transpose(WHERE[name])


def ranges(hub: Path, feeds: list[list[Array]]) -> dict[str, tuple[float, float]]:
    runner = OnnxRuntime(hub)
    seen = [{"image": one[0], **runner.tensors(one)} for one in feeds]
    return {name: (min(float(one[name].min()) for one in seen), max(float(one[name].max()) for one in seen)) for name in ("image", "r0", "r1", "r2", "y")}


def facts(how: str, recipe: str | None, folder: Path) -> dict[str, Any]:
    hub, spec_file = folder / "hub.onnx", folder / "compress.json"
    samples = inputs_for(network(), 8)
    feeds = [[row] for row in samples[0]]
    onnx.save(network(), hub)
    made = network()
    spec = compressed(made, how.split(",")[0], {"v": 0} if "b32" in how else NAMES, ranges(hub, feeds))
    onnx.save(made, hub)
    spec.save(spec_file)
    (folder / "calibration").mkdir()
    np.save(folder / "calibration/0.npy", samples[0])
    for out in ("write", "store"):
        (folder / out / "out").mkdir(parents=True)
    quiet = io.StringIO()
    write_tflite.run(Job({"hub": hub}, {}, folder / "write/out", quiet))
    float_ = folder / "write/out/model.tflite"
    inputs = {"float": float_, "hub": hub, "spec": spec_file, "calibration": folder / "calibration"}
    result = store_tflite.run(Job(inputs, {"recipe": recipe}, folder / "store/out", quiet))
    file = folder / "store/out/model.tflite"
    runner, truth = LiteRt(file), expected(made, spec, hub, folder)
    pairs = [(runner.run(one)[0], truth.run(one)[0]) for one in [*feeds, *feeds]]
    stored = read(file)
    return {
        "size": file.stat().st_size / float_.stat().st_size,
        "error": float(max(np.abs(a - b).max() for a, b in pairs) / max(np.abs(b).max() for _, b in pairs)),
        "kinds": [op.kind for op in stored.operators()],
        "delegates": sum(op["op_name"] == "DELEGATE" for op in runner.interpreter._get_ops_details()),
        "integers": {name: holds(stored, name, array(constants(made.graph)[name]), spec) for name, known in spec.tensors.items() if known.grid},
        "grids": grids(stored, spec),
        "zeros": zeros(stored),
        "notes": result["notes"],
    }


def expected(made: onnx.ModelProto, spec: Spec, hub: Path, folder: Path) -> OnnxRuntime:
    """The hub in ONNX Runtime; with the Spec's grids of activations, where it has some."""
    if not spec.activations:
        return OnnxRuntime(hub)
    turned = onnx.ModelProto()
    turned.CopyFrom(made)
    quantize(turned, spec)
    onnx.save(turned, folder / "grids.onnx")
    return OnnxRuntime(folder / "grids.onnx")


def held(stored: TfliteFile) -> list[tuple[Any, Array]]:
    """The tensors of int8 and int32 that have values and scales."""
    graph, found = stored.table.subgraphs[0], []
    for tensor in graph.tensors:
        data = stored.table.buffers[tensor.buffer].data
        if data is not None and tensor.type in (2, 9) and tensor.quantization is not None and tensor.quantization.scale is not None:
            found.append((tensor, np.frombuffer(bytes(data), np.int8 if tensor.type == 9 else np.int32)))
    return found


def holds(stored: TfliteFile, name: str, values: Array, spec: Spec) -> bool:
    """Whether the file has an initializer's integers, with the Spec's scales."""
    grid = spec.tensors[name].grid
    assert grid is not None
    if grid.block is not None:
        return False
    whole, scale = moved(name, integers(values, grid)), np.asarray(grid.scale, np.float32)
    return any(
        tensor.sparsity is None and np.array_equal(found, whole.reshape(-1)) and np.array_equal(tensor.quantization.scale, scale)
        for tensor, found in held(stored)
    )


def grids(stored: TfliteFile, spec: Spec) -> list[str]:
    """Learned scales of activations that the file has to the bit, with their zero points."""
    have = {
        (float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0]))
        for tensor in stored.table.subgraphs[0].tensors
        if tensor.type == 9 and tensor.quantization is not None and tensor.quantization.scale is not None and len(tensor.quantization.scale) == 1
    }
    return sorted(name for name, grid in spec.activations.items() if (float(np.float32(grid.scale[0])), grid.zero_point[0] - 128) in have)


def zeros(stored: TfliteFile) -> int:
    return int(sum((found == 0).sum() for _, found in held(stored)))


def main() -> None:
    found = {}
    for how, recipe in CASES.items():
        with tempfile.TemporaryDirectory() as scratch:
            found[how] = facts(how, recipe, Path(scratch))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
