"""Core ML packages: right values, the model's boundary, the same bytes twice, and refusals that name the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_node

from edgekit.errors import ConvertError
from edgekit.files import sha256_tree, size_bytes
from edgekit.toolchains.jobs import Job, run
from tests.lab.coreml import evaluate, graph, reference, write

Array = NDArray[Any]
FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(0)

pytestmark = pytest.mark.toolchain


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def relative_error(got: Array, expected: Array) -> float:
    """Largest error relative to the expected range."""
    return float(np.max(np.abs(got - expected)) / max(np.ptp(expected), 1e-6))


def spectrogram_classifier() -> tuple[onnx.ModelProto, Array]:
    """A filter bank, the logarithm of its power, and a layer that reads it: as in audio models."""
    x = normal(1, 1, 512)
    bank = (np.sin(np.outer(np.arange(1, 33), np.arange(64)) / 7) * 1e-3).astype(np.float32).reshape(32, 1, 64)
    nodes = [
        make_node("Conv", ["x", "bank"], ["filtered"], strides=[32]),
        make_node("Mul", ["filtered", "filtered"], ["power"]),
        make_node("Add", ["power", "epsilon"], ["positive"]),
        make_node("Log", ["positive"], ["loud"]),
        make_node("ReduceMin", ["loud"], ["quietest"]),
        make_node("Sub", ["loud", "quietest"], ["features"]),
        make_node("Conv", ["features", "weight"], ["y"]),
    ]
    constants = {"bank": bank, "epsilon": np.array([1e-10], np.float32), "weight": normal(64, 32, 3)}
    return graph(nodes, {"x": x}, {"y": (FLOAT, [1, 64, 13])}, constants), x


def test_operators_that_onnx2coreml_lacks_or_gets_wrong_come_out_right(tmp_path: Path) -> None:
    x, y = normal(3, 4), normal(4, 5)
    small = (normal(3, 4) * 1e-3).astype(np.float32)
    whole = np.array([[-7, 7, -5, 5]], np.int32)
    ties = np.array([[1, 5, 5, 0]], np.float32)
    nodes = [
        make_node("Reciprocal", ["small"], ["reciprocal"]),
        make_node("LogSoftmax", ["far"], ["log_softmax"], axis=1),
        make_node("Mod", ["whole", "three"], ["fmod"], fmod=1),
        make_node("Mod", ["whole", "three"], ["mod"]),
        make_node("ArgMax", ["ties"], ["last"], axis=1, select_last_index=1),
        make_node("ArgMax", ["ties"], ["first"], axis=1),
        make_node("Sum", ["x", "x", "small"], ["sum"]),
        make_node("Selu", ["x"], ["selu"]),
        make_node("ThresholdedRelu", ["x"], ["thresholded"], alpha=0.5),
        make_node("Softsign", ["x"], ["softsign"]),
        make_node("Mish", ["x"], ["mish"]),
        make_node("CumSum", ["x", "one"], ["cumsum"], reverse=1),
        make_node("Einsum", ["x", "y"], ["einsum"], equation="ij,jk->ki"),
        make_node("Trilu", ["x"], ["lower"], upper=0),
    ]
    feeds = {"x": x, "y": y, "small": small, "far": 200 * x, "whole": whole, "ties": ties}
    constants: dict[str, Array] = {"three": np.array([3], np.int32), "one": np.array(1, np.int64)}
    integers: dict[str, tuple[int, list[int]]] = {"fmod": (TensorProto.INT32, [1, 4]), "mod": (TensorProto.INT32, [1, 4])}
    integers |= {"last": (TensorProto.INT64, [1, 1]), "first": (TensorProto.INT64, [1, 1])}
    shapes = {"einsum": [5, 3]}
    outputs = {n: integers.get(n, (FLOAT, shapes.get(n, [3, 4]))) for node in nodes for n in node.output}
    model = graph(nodes, feeds, outputs, constants)
    with np.errstate(divide="ignore"):  # the reference takes the logarithm of zeros in its LogSoftmax, which is given below instead
        expected = reference(model, feeds)
    expected["log_softmax"] = 200 * x - np.logaddexp.reduce(200 * x.astype(np.float64), axis=1, keepdims=True)

    package, _ = write(model, tmp_path)
    got = evaluate(package, feeds, tmp_path).outputs

    assert {n: e for n in outputs if not (e := relative_error(got[n], expected[n])) < 1e-5} == {}


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("fp16", 5e-3)])
def test_a_network_comes_out_right(tmp_path: Path, precision: str, bound: float) -> None:
    x = normal(1, 3, 16, 16)
    nodes = [
        make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        make_node("Clip", ["a", "low", "high"], ["b"]),
        make_node("Conv", ["b", "w2"], ["c"], group=8, pads=[1, 1, 1, 1]),
        make_node("Add", ["b", "c"], ["d"]),
        make_node("GlobalAveragePool", ["d"], ["e"]),
        make_node("Flatten", ["e"], ["f"]),
        make_node("Gemm", ["f", "w3", "b3"], ["logits"], transB=1),
    ]
    limits = {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    constants = {"w1": normal(8, 3, 3, 3), "w2": normal(8, 1, 3, 3), "w3": normal(10, 8), "b3": normal(10), **limits}
    model = graph(nodes, {"x": x}, {"logits": (FLOAT, [1, 10])}, constants)
    (expected,) = reference(model, {"x": x}).values()

    package, notes = write(model, tmp_path, precision)
    evaluation = evaluate(package, {"x": x}, tmp_path)

    assert relative_error(evaluation.outputs["logits"], expected) < bound
    assert notes == []
    assert evaluation.report["inputs"] == [["x", "float32", [1, 3, 16, 16]]]
    assert evaluation.report["outputs"] == [["logits", "float32", [1, 10]]]


def test_float16_spares_what_leads_to_a_logarithm(tmp_path: Path) -> None:
    model, x = spectrogram_classifier()
    (expected,) = reference(model, {"x": x}).values()

    package, notes = write(model, tmp_path, "fp16")
    evaluation = evaluate(package, {"x": x}, tmp_path)

    assert relative_error(evaluation.outputs["y"], expected) < 5e-3
    assert any("stay float32" in note for note in notes)
    assert "float16" in evaluation.report["dtypes"].values()  # the layer after it is float16 all the same


def test_float16_counts_in_float32_what_becomes_an_integer(tmp_path: Path) -> None:
    x = np.array([[2049.4, 4099.6, 8191.5, 3.5]], np.float32)
    model = graph(
        [make_node("Floor", ["x"], ["whole"]), make_node("Cast", ["whole"], ["y"], to=TensorProto.INT32)], {"x": x}, {"y": (TensorProto.INT32, [1, 4])}
    )

    package, _ = write(model, tmp_path, "fp16")

    assert evaluate(package, {"x": x}, tmp_path).outputs["y"].tolist() == [[2049, 4099, 8191, 3]]


def test_int8_weights_are_a_quarter_and_close_and_spare_the_front_end(tmp_path: Path) -> None:
    model, x = spectrogram_classifier()
    (expected,) = reference(model, {"x": x}).values()
    package, _ = write(model, tmp_path, "fp16")

    outcome = run(Job("convert", "quantize_coreml", {"float": package}, {"recipe": "w8"}), lambda text, fraction: None)
    quantized = outcome.folder / "model.mlpackage"
    got = evaluate(quantized, {"x": x}, tmp_path).outputs["y"]

    noise = float(np.sum((got - expected) ** 2))
    assert 10 * np.log10(float(np.sum(expected**2)) / noise) > 35
    assert noise > 0
    assert outcome.result["notes"][0] == "1 weights that need float32 stay so"
    assert size_bytes(quantized) < size_bytes(package) - 64 * 32 * 3 // 2  # one byte less for each of 6,144 weights, less the scales


def test_the_boundary_is_the_models(tmp_path: Path) -> None:
    # Names that are no identifiers, that would collide, or are MIL's own words; order, integers, a logical output, an input that is passed on.
    x, k = normal(1, 4), np.array([2, 0], np.int64)
    nodes = [
        make_node("Relu", ["x:0"], ["a/b"]),
        make_node("Neg", ["x:0"], ["a_b"]),
        make_node("Gather", ["table", "k"], ["state"]),
        make_node("Greater", ["x:0", "zero"], ["above"]),
        make_node("Identity", ["x:0"], ["same"]),
    ]
    outputs = {"a/b": (FLOAT, [1, 4]), "state": (FLOAT, [2, 3]), "a_b": (FLOAT, [1, 4]), "above": (TensorProto.BOOL, [1, 4]), "same": (FLOAT, [1, 4])}
    table = normal(3, 3)
    model = graph(nodes, {"x:0": x, "k": k}, outputs, {"table": table, "zero": np.zeros(1, np.float32)})

    package, notes = write(model, tmp_path)
    evaluation = evaluate(package, {"x_0": x, "k": k}, tmp_path)

    names = evaluation.report["names"]
    assert [[names.get(n, n), dtype, shape] for n, dtype, shape in evaluation.report["inputs"]] == [["x:0", "float32", [1, 4]], ["k", "int32", [2]]]
    assert [names.get(n, n) for n, _, _ in evaluation.report["outputs"]] == list(outputs)
    by_own_name = {names.get(n, n): array for n, array in evaluation.outputs.items()}
    np.testing.assert_array_equal(by_own_name["a/b"], np.maximum(x, 0))
    np.testing.assert_array_equal(by_own_name["a_b"], -x)
    np.testing.assert_array_equal(by_own_name["state"], table[k])
    np.testing.assert_array_equal(by_own_name["above"], x > 0)
    np.testing.assert_array_equal(by_own_name["same"], x)
    assert "input 'k' is int32 for int64, which Core ML does not have" in notes
    assert "input 'x:0' is called 'x_0': names in Core ML are identifiers" in notes


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = graph([make_node("Conv", ["x", "w"], ["y"])], {"x": normal(1, 3, 8, 8)}, {"y": (FLOAT, [1, 4, 6, 6])}, {"w": normal(4, 3, 3, 3)})
    onnx.save(model, tmp_path / "hub.onnx")
    job = Job("convert", "write_coreml", {"hub": tmp_path / "hub.onnx"}, {"precision": "fp16"})

    folders = [run(job, lambda text, fraction: None, cache=False).folder for _ in range(2)]
    digests = {sha256_tree(folder) for folder in folders}

    assert len(digests) == 1
    assert b"conversion_date" not in (folders[0] / "model.mlpackage/Data/com.apple.CoreML/model.mlmodel").read_bytes()


X = normal(1, 2, 8, 8)
REFUSED: dict[str, tuple[onnx.NodeProto, list[int], str]] = {
    "unknown operator": (
        make_node("DeformConv", ["x", "w", "o"], ["y"], name="bent"),
        [1, 2, 7, 7],
        "DeformConv node 'bent' cannot be written for Core ML: it has no counterpart in Core ML; replace it",
    ),
    "lowering that refuses": (
        make_node("LRN", ["x"], ["y"], name="even", size=2),
        [1, 2, 8, 8],
        "LRN node 'even' cannot be written for Core ML: its window of 2 channels has no middle, and Core ML's has; use an odd size",
    ),
    "six axes": (
        make_node("Reshape", ["x", "six"], ["y"], name="deep"),
        [1, 2, 2, 4, 2, 4],
        "Reshape node 'deep' cannot be written for Core ML: it gives 6 axes, and Core ML has at most 5",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_core_ml_cannot_have_is_refused_by_name(tmp_path: Path, case: str) -> None:
    node, shape, words = REFUSED[case]
    constants: dict[str, Array] = {"w": normal(2, 2, 2, 2), "o": normal(1, 8, 7, 7), "six": np.array([1, 2, 2, 4, 2, 4], np.int64)}
    model = graph([node], {"x": X}, {"y": (FLOAT, shape)}, {n: a for n, a in constants.items() if n in node.input})

    with pytest.raises(ConvertError) as refusal:
        write(model, tmp_path)

    assert words in str(refusal.value)
    assert (refusal.value.op, refusal.value.node) == (node.op_type, node.name)


def test_whole_nearest_factors_are_written_and_right(tmp_path: Path) -> None:
    # The default of ONNX (half_pixel, round_prefer_floor) reads the same elements as Core ML's where factors are whole.
    node = make_node("Resize", ["x", "", "scales"], ["y"])
    model = graph([node], {"x": X}, {"y": (FLOAT, [1, 2, 16, 24])}, {"scales": np.array([1, 1, 2, 3], np.float32)})
    (expected,) = reference(model, {"x": X}).values()

    package, _ = write(model, tmp_path)

    np.testing.assert_array_equal(evaluate(package, {"x": X}, tmp_path).outputs["y"], expected)


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.zeros((1, 4), "complex64"), "input 'x' is complex64, which Core ML does not have"), (np.zeros((), np.float32), "input 'x' is a scalar")],
)
def test_a_boundary_that_core_ml_cannot_have_is_refused(tmp_path: Path, value: Array, words: str) -> None:
    model = graph([make_node("Cast", ["x"], ["y"], to=FLOAT)], {"x": value}, {"y": (FLOAT, list(value.shape))})

    with pytest.raises(ConvertError, match=words):
        write(model, tmp_path)
