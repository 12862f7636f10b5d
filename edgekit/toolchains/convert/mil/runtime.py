"""One ONNX operator with its attributes in, a function on float32 arrays out: the heavy arithmetic, in ONNX Runtime."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from .arguments import Array

OPSET = 18
IR_VERSION = 9


def run(op_type: str, inputs: list[Array], **attributes: Any) -> Array:
    """The first output of that operator (ONNX opset 18) on these inputs."""
    frozen = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in sorted(attributes.items()))
    session = single_op(op_type, len(inputs), frozen)
    feeds = {f"i{n}": np.ascontiguousarray(array, np.float32) for n, array in enumerate(inputs)}
    return np.asarray(session.run(None, feeds)[0])


@functools.cache
def single_op(op_type: str, n_inputs: int, attributes: tuple[tuple[str, Any], ...]) -> ort.InferenceSession:
    """A session for one operator. Weights are inputs, so that layers with the same attributes share it."""
    names = [f"i{n}" for n in range(n_inputs)]
    node = helper.make_node(op_type, names, ["o"], **dict(attributes))
    graph = helper.make_graph(
        [node],
        op_type,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
