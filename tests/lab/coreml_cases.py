"""Runs in the `convert` toolchain: one small case for each family of Core ML lowerings, held against ONNX Runtime; JSON out.

    $CONVERT_PY -m tests.lab.coreml_cases

Printed: {case: [verdict, words]}, as tests/lab/backend_suite.py judges them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.lab.backend_cases import Case
from tests.lab.backend_suite import be_a_worker, judge

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def case(name: str, op: str, inputs: list[Array], stored: dict[int, Any], outputs: int = 1, opset: int = 18, **attributes: Any) -> Case:
    """One node. `stored` are constants by position among its inputs (None is left out); the inputs fill the other positions."""
    given, names, fed, constants = iter(inputs), [], [], []
    for position in range(len(inputs) + len(stored)):
        if position in stored:
            if stored[position] is not None:
                constants.append(numpy_helper.from_array(np.asarray(stored[position]), f"c{position}"))
            names.append("" if stored[position] is None else f"c{position}")
        else:
            array = next(given)
            fed.append((f"x{position}", array))
            names.append(f"x{position}")
    made = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(op, names, made, name=name, **attributes)
    return held(name, [node], fed, made, constants, opset)


def held(name: str, nodes: list[onnx.NodeProto], fed: list[tuple[str, Array]], made: list[str], constants: list[TensorProto], opset: int = 18) -> Case:
    """A graph with what ONNX Runtime makes of it."""
    import onnxruntime

    taken = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in fed]
    graph = helper.make_graph(nodes, name, taken, [helper.make_empty_tensor_value_info(n) for n in made], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, dict(fed))
    return Case(name, nodes[0].op_type, model, [a for _, a in fed], [np.asarray(e) for e in expected], 1e-4, 1e-5)


def recurrent() -> Iterator[Case]:
    """Sequences of 4 steps, 2 in a batch, 3 features; 5 hidden units."""
    x, lengths = normal(4, 2, 3), np.array([4, 2], np.int32)
    for op, gates, outputs in (("GRU", 3, 2), ("LSTM", 4, 3), ("RNN", 1, 2)):
        for way, n in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            parameters = {1: normal(n, gates * 5, 3), 2: normal(n, gates * 5, 5), 3: normal(n, 2 * gates * 5)}
            states = [normal(n, 2, 5)] * (2 if op == "LSTM" else 1)
            yield case(f"{op} {way}", op, [x], parameters, outputs, hidden_size=5, direction=way)
            more = {"linear_before_reset": 1} if op == "GRU" else {}
            yield case(f"{op} {way} with states and lengths", op, [x, *states], {**parameters, 4: lengths}, outputs, hidden_size=5, direction=way, **more)
    parameters = {1: normal(1, 20, 3), 2: normal(1, 20, 5), 3: normal(1, 40), 4: None, 5: None, 6: None, 7: normal(1, 15)}
    yield case("LSTM with peepholes", "LSTM", [x], parameters, 3, hidden_size=5)
    activations = ["HardSigmoid", "Relu"]
    yield case(
        "GRU otherwise activated", "GRU", [x], {1: normal(1, 15, 3), 2: normal(1, 15, 5)}, 2, hidden_size=5, activations=activations, activation_alpha=[0.3]
    )


def images() -> Iterator[Case]:
    x = normal(1, 2, 5, 6)
    for mode, coordinates in (
        ("cubic", "half_pixel"),
        ("cubic", "align_corners"),
        ("linear", "half_pixel"),
        ("linear", "asymmetric"),
        ("linear", "align_corners"),
    ):
        scales = {1: None, 2: np.array([1, 1, 1.6, 0.5] if coordinates == "align_corners" else [1, 1, 1.7, 0.6], np.float32)}
        yield case(f"Resize {mode} {coordinates}", "Resize", [x], scales, mode=mode, coordinate_transformation_mode=coordinates)
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        sizes = {1: None, 2: None, 3: np.array([1, 2, 8, 3])}
        yield case(f"Resize nearest {rounding}", "Resize", [x], sizes, mode="nearest", nearest_mode=rounding)
    yield case("Resize antialias", "Resize", [x], {1: None, 2: None, 3: np.array([1, 2, 3, 3])}, mode="linear", antialias=1)
    yield case("MaxPool dilated", "MaxPool", [x], {}, kernel_shape=[2, 2], dilations=[2, 3], pads=[1, 1, 0, 1])
    yield case("MaxPool rounding up", "MaxPool", [x], {}, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    yield case("MaxPool with places", "MaxPool", [x], {}, 2, kernel_shape=[2, 2], strides=[2, 2])
    yield case("AveragePool", "AveragePool", [x], {}, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], count_include_pad=1)
    yield case("LpPool", "LpPool", [x], {}, kernel_shape=[2, 2], p=3)
    yield case("ConvTranspose", "ConvTranspose", [x], {1: normal(2, 3, 3, 3), 2: normal(3)}, strides=[2, 2], pads=[1, 1, 0, 0], output_padding=[1, 1])
    yield case("Col2Im", "Col2Im", [normal(1, 8, 12)], {1: np.array([4, 5]), 2: np.array([2, 2])}, opset=18)


def indices() -> Iterator[Case]:
    x, rows = normal(3, 4), np.array([[0, -1, 1, 2], [2, 0, 0, 1]])
    yield case("GatherElements", "GatherElements", [x, rows], {}, axis=0)
    yield case("ScatterElements", "ScatterElements", [x, normal(2, 2)], {1: np.array([[0, 1], [-1, 3]])}, axis=1, reduction="add")
    yield case("ScatterND", "ScatterND", [x, np.array([[0, 1], [2, 3]]), normal(2)], {}, reduction="max")
    yield case("OneHot", "OneHot", [np.array([0, -1, 7])], {1: np.array(4), 2: np.array([2, 5], np.float32)}, axis=0)
    yield case("TopK smallest", "TopK", [x], {1: np.array([2])}, 2, largest=0, axis=0)
    yield case("ReverseSequence", "ReverseSequence", [x], {1: np.array([2, 1, 3, 0])}, batch_axis=1, time_axis=0)
    yield case("Trilu", "Trilu", [x], {1: np.array(-1)}, upper=0)
    yield case("Pad wrapping around", "Pad", [x], {1: np.array([1, 2, 0, 1])}, mode="reflect")
    yield case("Slice backwards", "Slice", [x], {1: np.array([-1, 3]), 2: np.array([-9, 0]), 3: np.array([0, 1]), 4: np.array([-1, -2])})
    yield case("Einsum", "Einsum", [normal(2, 3, 3), normal(2, 3, 4)], {}, equation="bii,bij->jb")
    yield case("Where", "Where", [np.array([[True], [False]]), normal(1, 3)], {2: np.float32(0)})


def windows() -> Iterator[Case]:
    """An image in windows: through six axes, which Core ML does not have."""
    shapes = [np.array([1, 2, 4, 3, 2, 5]), np.array([6, 8, 5])]
    nodes = [
        helper.make_node("Reshape", ["x", "six"], ["apart"], name="apart"),
        helper.make_node("Transpose", ["apart"], ["turned"], name="turned", perm=[0, 1, 3, 2, 4, 5]),
        helper.make_node("Reshape", ["turned", "three"], ["y"], name="together"),
    ]
    stored = [numpy_helper.from_array(shape, name) for shape, name in zip(shapes, ("six", "three"), strict=True)]
    yield held("six axes", nodes, [("x", normal(1, 8, 6, 5))], ["y"], stored)


def integers() -> Iterator[Case]:
    a, b = np.array([[-7, 7, -5, 5]], np.int32), np.array([[3, -3, 2, -2]], np.int32)
    byte = np.array([[1, 200, 255, 16]], np.uint8)
    yield case("Div", "Div", [a, b], {})
    yield case("Mod", "Mod", [a, b], {}, fmod=1)
    yield case("BitwiseXor", "BitwiseXor", [a, b], {})
    yield case("BitShift", "BitShift", [byte, np.array([[7, 1, 3, 8]], np.uint8)], {}, direction="LEFT")
    yield case("Cast to a narrower dtype", "Cast", [np.array([300, -1, 70], np.int32)], {}, to=TensorProto.UINT8)
    yield case("QuantizeLinear", "QuantizeLinear", [normal(2, 3)], {1: np.array([0.1, 0.2, 0.3], np.float32), 2: np.array([1, 0, 2], np.int8)}, axis=1)
    yield case("DynamicQuantizeLinear", "DynamicQuantizeLinear", [normal(2, 3)], {}, 3)
    yield case("MatMulInteger", "MatMulInteger", [byte.reshape(2, 2)], {1: np.array([[-3, 4], [5, 100]], np.int8), 2: np.uint8(3)})
    scales = {1: np.float32(0.02), 2: np.uint8(128), 3: np.array([[[[3]], [[-9]]]], np.int8).reshape(2, 1, 1, 1), 4: np.float32(0.1)}
    scales |= {5: np.int8(0), 6: np.float32(0.05), 7: np.uint8(100), 8: np.array([7, -7], np.int32)}
    yield case("QLinearConv", "QLinearConv", [byte.reshape(1, 1, 2, 2)], scales)


def main() -> None:
    be_a_worker()
    verdicts = {}
    for family in (recurrent, images, indices, windows, integers):
        for one in family():
            verdict = judge(one, "coreml")
            verdicts[one.name] = [verdict.verdict, verdict.words]
    print(json.dumps(verdicts))


if __name__ == "__main__":
    main()
