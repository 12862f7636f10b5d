"""One ONNX operator with its attributes in, a function on float32 arrays out: the heavy arithmetic, in ONNX Runtime."""

from __future__ import annotations

import ctypes
import functools
import sys
import weakref
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from .arguments import Array

OPSET = 18
IR_VERSION = 9


LEFT_BEHIND = 1 << 25
"""Bytes of weights that sessions are made of until what making them left behind is given back: three copies, of which malloc keeps most."""

Attributes = tuple[tuple[str, Any], ...]


def run(op_type: str, inputs: list[Array], **attributes: Any) -> Array:
    """The first output of that operator (ONNX opset 18) on these inputs."""
    return feed(single_op(op_type, len(inputs), frozen(attributes)), inputs)


_weighted: dict[tuple[str, int, Attributes], ort.InferenceSession] = {}


def run_weighted(op_type: str, x: Array, weights: list[Array], **attributes: Any) -> Array:
    """The same with weights that do not change, which ONNX Runtime then lays out as it does in a whole model.

    That decides the order of long sums, and with it the last digits: a layer here is to round as the same layer does in the
    source model, or a logarithm of a small sum makes a difference of it.
    """
    key = (op_type, id(weights[0]), frozen(attributes))
    if key not in _weighted:
        _weighted[key] = make(op_type, 1, frozen(attributes), weights)
        weakref.finalize(weights[0], _weighted.pop, key, None)  # an id is an array's own as long as the array lives
        made_of(weights)
    return feed(_weighted[key], [x])


_made = 0


def made_of(weights: list[Array]) -> None:
    """Count what sessions were made of, and now and then give back what that left."""
    global _made
    _made += sum(weight.nbytes for weight in weights)
    if _made > LEFT_BEHIND:
        _made = 0
        give_back()


def give_back() -> None:
    """Have the C library give freed memory back to the system, where it can."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)


def frozen(attributes: dict[str, Any]) -> Attributes:
    return tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in sorted(attributes.items()))


def feed(session: ort.InferenceSession, inputs: list[Array]) -> Array:
    feeds = {f"i{n}": np.ascontiguousarray(array, np.float32) for n, array in enumerate(inputs)}
    return np.asarray(session.run(None, feeds)[0])


@functools.cache
def single_op(op_type: str, n_inputs: int, attributes: Attributes) -> ort.InferenceSession:
    """A session for one operator. Weights are inputs, so that layers with the same attributes share it."""
    return make(op_type, n_inputs, attributes, [])


def make(op_type: str, n_inputs: int, attributes: Attributes, weights: list[Array]) -> ort.InferenceSession:
    names = [f"i{n}" for n in range(n_inputs)]
    constants = [numpy_helper.from_array(np.ascontiguousarray(weight, np.float32), f"w{n}") for n, weight in enumerate(weights)]
    node = helper.make_node(op_type, [*names, *(constant.name for constant in constants)], ["o"], **dict(attributes))
    graph = helper.make_graph(
        [node],
        op_type,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # a session for each layer: an arena for each would keep all their results
    if not weights:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
