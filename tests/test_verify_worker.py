"""verify: a right file is in bounds; a wrong one is found out, with the first tensor that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgekit.errors import ConvertError
from edgekit.hub.bounds import judge
from edgekit.toolchains.convert.verify import difference, misfit
from tests.lab.convert import verified, written
from tests.lab.onnx_cases import FLOAT, classifier, conv, draw, inputs_for, model, outputs_for, save


def spoilt(made: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The same with one constant turned round."""
    changed = onnx.ModelProto()
    changed.CopyFrom(made)
    (constant,) = (tensor for tensor in changed.graph.initializer if tensor.name == name)
    constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant)[::-1].copy(), name))
    return changed


@pytest.mark.toolchain
@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_a_right_file_is_in_bounds_and_its_outputs_are_written(format_: str, tmp_path: Path) -> None:
    made = classifier()
    labels = outputs_for(made, inputs_for(made, 3))[0].argmax(axis=-1)[:, 0]
    labels[0] += 1
    np.save(tmp_path / "labels.npy", labels)
    found = verified(tmp_path, made, written(tmp_path, made, format_), format_, labels=tmp_path / "labels.npy")
    assert judge(found["parity"], "fp32") is None
    assert found["parity"]["n"] == 3
    assert found["accuracy"] == {"metric": "top1", "value": pytest.approx(2 / 3), "baseline": pytest.approx(2 / 3), "n": 3, "network": None}
    assert found["delegate"] == {"tflite": "XNNPACK", "onnx": "CPUExecutionProvider"}[format_]
    assert (found["boundary"], found["first_wrong"]) == (None, None)


@pytest.mark.toolchain
@pytest.mark.parametrize("format_", ["tflite", "onnx"])
@pytest.mark.parametrize(("constant", "tensors"), [("w", {"a", "b"}), ("v", {"d"})])
def test_the_first_wrong_tensor_is_found(format_: str, constant: str, tensors: set[str], tmp_path: Path) -> None:
    made = classifier()
    found = verified(tmp_path, made, written(tmp_path, spoilt(made, constant), format_), format_)
    assert judge(found["parity"], "fp32") is not None
    assert found["first_wrong"]["tensor"] in tensors


@pytest.mark.toolchain
def test_other_names_are_a_sentence_and_are_still_compared(tmp_path: Path) -> None:
    made = conv()
    other = onnx.ModelProto()
    other.CopyFrom(made)
    other.graph.output[0].name = other.graph.node[0].output[0] = "out"
    found = verified(tmp_path, made, written(tmp_path, other, "tflite"), "tflite")
    assert found["boundary"] == "output 0 is 'out' float32 [1, 4, 4, 4] in the file and 'y' float32 [1, 4, 4, 4] in the model"
    assert found["parity"]["max_rel"] < 1e-5


@pytest.mark.toolchain
def test_a_file_that_does_not_load_is_refused_in_the_words_of_its_runtime(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"no flatbuffer at all, but long enough")
    with pytest.raises(ConvertError, match=r"model\.tflite does not run: LiteRT does not load it"):
        verified(tmp_path, conv(), tmp_path / "model.tflite", "tflite")


@pytest.mark.toolchain
def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"output 'y' has the shape \[1, 6, 4, 4\]"):
        verified(tmp_path, conv(), written(tmp_path, conv(6), "onnx"), "onnx")


@pytest.mark.toolchain
def test_a_model_that_gives_nan_itself_cannot_be_compared(tmp_path: Path) -> None:
    made = model([helper.make_node("Sqrt", ["x"], ["y"])], [("x", FLOAT, [1, 3])], [("y", FLOAT, [1, 3])], [draw("unused", 1)])
    with pytest.raises(ConvertError, match="source model's own output 0 is NaN"):
        verified(tmp_path, made, save(made, tmp_path / "m.onnx"), "onnx", samples=[-np.ones((2, 1, 3), np.float32)])


class Fake:
    delegate = "none"

    def __init__(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        self.inputs, self.outputs = inputs, outputs


def tensor(name: str = "x", dtype: str = "float32", shape: tuple[int, ...] = (1, 2, 3)) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape)}


@pytest.mark.parametrize("other", [tensor(name="z"), tensor(dtype="int32"), tensor(shape=(1, 3, 2))])
def test_each_difference_of_the_boundary_is_told(other: dict[str, Any]) -> None:
    runner: Any = Fake([tensor()], [other])
    assert "output 0" in (difference(runner, [tensor()], [tensor()]) or "")
    assert misfit(runner, [tensor()], [tensor()]) is None


def test_another_number_of_tensors_does_not_fit() -> None:
    runner: Any = Fake([tensor()], [])
    assert misfit(runner, [tensor()], [tensor()]) == "it has 0 outputs, the model has 1"
