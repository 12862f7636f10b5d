"""A network that takes some 30 ms a run, as ONNX: slow enough to be disturbed while it is measured, small enough to be sent at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 512
LAYERS = 6


def slow(path: Path) -> Path:
    """`scores = mean(image @ w @ … @ w)`, [1, 512, 512] → [1, 512]; w is orthogonal, so that nothing grows or fades."""
    weight = np.linalg.qr(np.random.default_rng(0).standard_normal((SIDE, SIDE)))[0].astype(np.float32)
    nodes = [helper.make_node("MatMul", [f"x{i}", "w"], [f"x{i + 1}"]) for i in range(LAYERS)]
    nodes.append(helper.make_node("ReduceMean", [f"x{LAYERS}"], ["scores"], axes=[1], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, SIDE])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
