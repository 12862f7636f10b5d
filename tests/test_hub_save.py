"""A graph too large for one protobuf lies in two files, which are one to whoever reads them and to the cache's keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.files import parts
from edgekit.hub.graph import Refusal
from edgekit.hub.load import load
from edgekit.hub.save import PROTOBUF_BYTES, by_bytes, data_of, save, stored_bytes
from edgekit.toolchains.jobs import Job
from edgekit.write.format import format_named


def network(scale: float = 1.0) -> onnx.ModelProto:
    """y = x · weights + bias, by a function of the model's own."""
    weights = np.arange(64 * 32, dtype=np.float32).reshape(64, 32) * scale
    function = helper.make_function("own", "Dense", ["a", "b"], ["c"], [helper.make_node("MatMul", ["a", "b"], ["c"])], [helper.make_opsetid("", 17)])
    graph = helper.make_graph(
        [helper.make_node("Dense", ["x", "weights"], ["h"], domain="own"), helper.make_node("Add", ["h", "bias"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.ones(32, np.float32), "bias")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=9)


def test_weights_beyond_the_limit_go_into_a_file_beside(tmp_path: Path) -> None:
    path = tmp_path / "hub.onnx"
    save(network(), path)
    assert parts(path) == [path]
    save(network(), path, limit_bytes=4096)
    assert parts(path) == [path, data_of(path)]
    assert path.stat().st_size < 4096
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    expected = {tensor.name: numpy_helper.to_array(tensor) for tensor in network().graph.initializer}
    assert {name: array.tolist() for name, array in found.items()} == {name: array.tolist() for name, array in expected.items()}


def test_a_file_written_weight_by_weight_is_the_model(tmp_path: Path) -> None:
    model = network()
    model.metadata_props.add(key="author", value="somebody")
    model.producer_name, model.model_version, model.graph.doc_string = "edgekit", 3, "a graph"
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((300, 70), np.float32), "unused"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((0, 2), np.float32), "empty"))
    model.graph.initializer.append(helper.make_tensor("typed", TensorProto.FLOAT, [2], [1.5, -2.0]))
    save(model, tmp_path / "hub.onnx")
    assert onnx.load(tmp_path / "hub.onnx") == model
    assert (tmp_path / "hub.onnx").stat().st_size == len(model.SerializeToString())


@pytest.mark.toolchain
def test_a_key_of_the_cache_covers_the_file_beside(tmp_path: Path) -> None:
    places = []
    for scale in (1.0, 2.0):
        save(network(scale), tmp_path / "hub.onnx", limit_bytes=4096)
        places.append(Job("convert", "write_onnx", {"hub": tmp_path / "hub.onnx"}).place)
    assert places[0] != places[1]


def test_what_goes_by_bytes_leaves_large_weights_out() -> None:
    seen = []

    def inline(model: onnx.ModelProto) -> onnx.ModelProto:
        seen.append(stored_bytes(model))
        return onnx.inliner.inline_local_functions(model)

    small, large = by_bytes(network(), inline), by_bytes(network(), inline, limit_bytes=4096)
    assert seen == [8192 + 128, 128]
    assert [node.op_type for node in large.graph.node] == [node.op_type for node in small.graph.node] == ["MatMul", "Add"]
    assert [value.name for value in large.graph.input] == ["x"]
    assert {tensor.name for tensor in large.graph.initializer} == {"weights", "bias"}


def test_a_file_that_no_protobuf_can_be_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(PROTOBUF_BYTES + 1)  # takes no room on the disk
    with pytest.raises(Refusal, match="larger than 2 GB, which none is; save it with external data"):
        load(tmp_path / "huge.onnx")


def test_a_format_says_where_its_files_end() -> None:
    assert format_named("tflite").most_bytes == PROTOBUF_BYTES  # both count bytes in 31 bits
    assert format_named("coreml").most_bytes is None
