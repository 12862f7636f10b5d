"""Loading a hub's source: each kind of unusable file is refused in one sentence that says what it is and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.hub.graph import Refusal
from edgekit.hub.load import load

RELU = '<ir_version: 8, opset_import: ["" : 17]> g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(text), str(path))
    return path


def refusal(path: Path) -> Refusal:
    with pytest.raises(Refusal) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return caught.value


def test_loads_a_valid_model(tmp_path: Path) -> None:
    assert [node.op_type for node in load(write(tmp_path, RELU)).graph.node] == ["Relu"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(40), "TFLite"),
        (b"PK\x03\x04" + bytes(40), "zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\xff" * 50, "truncated or not a protobuf"),
    ],
)
def test_says_what_a_file_is_instead(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    found = refusal(path)
    assert str(found).startswith("m.onnx is not an ONNX model: ")
    assert words in str(found)
    assert found.kind == "input"


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, RELU)
    path.write_bytes(path.read_bytes()[:-9])
    assert "truncated" in str(refusal(path))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in str(refusal(tmp_path))


def test_an_opset_from_the_future_is_refused(tmp_path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    found = refusal(write(tmp_path, RELU.replace("17", str(newest + 1))))
    assert f"opset {newest} or lower" in str(found)


def test_a_custom_operator_is_named_with_its_node(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(RELU)
    model.graph.node[0].domain, model.graph.node[0].op_type, model.graph.node[0].name = "my.ops", "Swizzle", "layer1/swizzle"
    onnx.save(model, str(tmp_path / "m.onnx"))
    found = refusal(tmp_path / "m.onnx")
    assert (found.op, found.node) == ("Swizzle", "layer1/swizzle")
    assert "my.ops::Swizzle" in str(found)


def test_an_unknown_standard_operator_is_named(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(RELU)
    model.graph.node[0].op_type = "Swizzle"
    onnx.save(model, str(tmp_path / "m.onnx"))
    assert "Swizzle, which opset 17 does not define" in str(refusal(tmp_path / "m.onnx"))


def test_a_custom_operator_inside_a_body_is_found(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "my.ops" : 1]> g (bool c, float[1] x) => (float[1] y) {
        y = If (c) <then_branch = t () => (float[1] a) { a = my.ops.Swizzle(x) }, else_branch = e () => (float[1] b) { b = Relu(x) }> }"""
    assert refusal(write(tmp_path, text)).op == "Swizzle"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RELU.replace("float[1,3] x", "string[1,3] x").replace("float[1,3] y", "string[1,3] y").replace("Relu", "Identity"), "strings"),
        (RELU.replace("float[1,3] x", "seq(float[1,3]) x").replace("Relu(x)", "SequenceAt(x, x)"), "a sequence of tensors"),
        (RELU.replace("float[1,3] x", "bfloat16[1,3] x"), "bfloat16"),
    ],
)
def test_values_that_are_not_tensors_of_numbers_are_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in str(refusal(write(tmp_path, text)))


def test_a_malformed_graph_is_refused(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(RELU)
    model.graph.node.append(model.graph.node[0])
    onnx.save(model, str(tmp_path / "m.onnx"))
    assert "not a valid ONNX model" in str(refusal(tmp_path / "m.onnx"))


def external(tmp_path: Path, location: str, length: int) -> Path:
    """A model whose weights [1, 3] lie in another file."""
    model = onnx.parser.parse_model(RELU.replace("Relu(x)", "Add(x, w)"))
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    model.graph.initializer.append(tensor)
    path = tmp_path / "models" / "m.onnx"
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin", 12)
    (path.parent / "w.bin").write_bytes(np.array([1, 2, 3], np.float32).tobytes())
    assert numpy_helper.to_array(load(path).graph.initializer[0]).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "..\\secret.bin", "link.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    path = external(tmp_path, location, 12)
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    (path.parent / "link.bin").symlink_to(tmp_path / "secret.bin")
    assert "outside its own folder" in str(refusal(path))


def test_external_data_that_is_missing_or_short_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin", 12)
    assert "which is missing" in str(refusal(path))
    (path.parent / "w.bin").write_bytes(bytes(11))
    assert "which is shorter" in str(refusal(path))


def test_a_deprecated_operator_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Upsample", ["x", "s"], ["y"], name="up")
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", 1, [1])])
    for name in "xs":
        graph.input.append(helper.make_tensor_value_info(name, 1, [1]))
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    assert "no longer has" in str(refusal(path))


def test_more_weights_than_a_file_holds_are_refused_before_they_are_read(tmp_path: Path) -> None:
    # given 2.4 GB of weights beside the model, in a file without content (sparse)
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(2_400_000_000)
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[600_000, 1000], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", "2400000000")):
        weights.external_data.add(key=key, value=value)
    indices = helper.make_tensor_value_info("i", TensorProto.INT64, [1, 3])
    rows = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 1000])
    graph = helper.make_graph([helper.make_node("Gather", ["w", "i"], ["y"])], "g", [indices], [rows], [weights])
    path = tmp_path / "large.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())

    with pytest.raises(Refusal, match=r"has 2\.4 GB of weights, and one file of TFLite or ONNX holds 2 GB"):
        load(path)
