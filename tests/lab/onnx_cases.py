"""Small ONNX models, each with one difficulty, and their outputs by ONNX's own reference evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Array = np.ndarray[Any, Any]
Value = tuple[str, int, list[int]]


def draw(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    """Weights of standard deviation 1/3."""
    return numpy_helper.from_array((np.random.default_rng(seed).normal(size=shape) / 3).astype(np.float32), name)


def model(nodes: Sequence[onnx.NodeProto], inputs: Sequence[Value], outputs: Sequence[Value], constants: Sequence[onnx.TensorProto] = ()) -> onnx.ModelProto:
    """A hub-like model: named nodes, static shapes, constants as initializers, shapes inferred."""
    for index, node in enumerate(nodes):
        node.name = node.name or f"{node.op_type}_{index}"
    taken, given = ([helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs))
    graph = helper.make_graph(list(nodes), "g", taken, given, list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return onnx.shape_inference.infer_shapes(made)


def conv(outputs: int = 4) -> onnx.ModelProto:
    """Ends in a convolution: channels first, all axes equal to 4 where `outputs` is 4."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    return model([node], [("x", FLOAT, [1, 4, 4, 4])], [("y", FLOAT, [1, outputs, 4, 4])], [draw("w", outputs, 4, 3, 3)])


def classifier() -> onnx.ModelProto:
    """image [1,1,8,8] → probabilities of 10 classes; a Conv, a Gemm and a final Softmax."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "v", "bias"], ["d"], transB=1),
        helper.make_node("Softmax", ["d"], ["probabilities"], axis=1),
    ]
    constants = [draw("w", 16, 1, 3, 3), draw("v", 10, 256, seed=1), draw("bias", 10, seed=2)]
    return model(nodes, [("image", FLOAT, [1, 1, 8, 8])], [("probabilities", FLOAT, [1, 10])], constants)


def save(made: onnx.ModelProto, path: Path) -> Path:
    onnx.save(made, path)
    return path


def specs(values: Any) -> list[dict[str, Any]]:
    """TensorSpecs of a graph's inputs or outputs."""
    made = []
    for value in values:
        kind = value.type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        made.append({"name": value.name, "dtype": dtype, "shape": [axis.dim_value for axis in kind.shape.dim]})
    return made


def inputs_for(made: onnx.ModelProto, n: int, seed: int = 0) -> list[Array]:
    """n samples for each input, [n, *shape]: normal values, or integers below 10."""
    rng = np.random.default_rng(seed)
    arrays = []
    for spec in specs(made.graph.input):
        shape = (n, *spec["shape"])
        drawn = rng.integers(0, 10, shape) if spec["dtype"].startswith("int") else rng.normal(size=shape)
        arrays.append(drawn.astype(spec["dtype"]))
    return arrays


def outputs_for(made: onnx.ModelProto, inputs: Sequence[Array]) -> list[Array]:
    """The outputs on those samples, [n, *shape] each."""
    evaluator = ReferenceEvaluator(made)
    names = [value.name for value in made.graph.input]
    rows = [evaluator.run(None, dict(zip(names, sample, strict=True))) for sample in zip(*inputs, strict=True)]
    return [np.stack([np.asarray(value) for value in column]) for column in zip(*rows, strict=True)]


def tensor_folder(path: Path, arrays: Sequence[Array]) -> Path:
    path.mkdir(parents=True)
    for index, array in enumerate(arrays):
        np.save(path / f"{index}.npy", array)
    return path
