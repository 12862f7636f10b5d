"""store_onnx: what compression knows of weights reaches the file in few bits, with exactly its integers, and comes back to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgekit.hub.compressed import Grid, Palette, Spec, integers
from edgekit.hub.graph import array, constants
from edgekit.toolchains.convert.onnx_store.activations import quantize
from edgekit.toolchains.convert.onnx_store.grids import store
from edgekit.toolchains.convert.onnx_store.opset import may_rise, rise
from edgekit.toolchains.convert.onnx_store.pack import FOUR_BITS, in_a_byte, pack, packed
from tests.lab.compressed_hubs import compressed
from tests.lab.convert import do
from tests.lab.onnx_cases import FLOAT, Array, classifier, draw, inputs_for, model, outputs_for, save, tensor_folder

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=4001).astype(np.float32)
node = helper.make_node


def given_back(found: list[onnx.NodeProto], tensors: list[onnx.TensorProto], *names: str) -> list[Array]:
    """What nodes make of constants alone."""
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    graph = helper.make_graph(found, "g", [], outputs, tensors)
    return list(ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])).run(None, {}))


def sparse(values: Array, share: float) -> Array:
    return np.where(np.random.default_rng(1).random(values.size) < share, 0, values).astype(values.dtype)


PACKED = {
    "one value": (np.full(4001, 3, np.float32), 1),
    "binary": (np.sign(NORMAL), 1),
    "ternary": (RNG.integers(-1, 2, 4001).astype(np.float32), 1.6),
    "2 bits": (RNG.integers(-2, 2, 4001).astype(np.int8), 2),
    "4 bits": (RNG.integers(-8, 8, 4001).astype(np.int8), 4),
    "6 values": (RNG.choice(NORMAL[:6], 4001), 8 / 3),
    "palette": (RNG.choice(NORMAL[:16], 4001), 4),
    "pruned": (sparse(NORMAL, 0.9), 1 + 0.1 * 32),
    "pruned integers": (sparse(RNG.integers(1, 127, 4001).astype(np.int8), 0.8), 1 + 0.2 * 8),
    "pruned palette": (sparse(RNG.choice(NORMAL[:15], 4001), 0.8), 1 + 0.2 * 4),
}


@pytest.mark.parametrize("four_bits", [False, True])
@pytest.mark.parametrize("kind", PACKED)
def test_few_values_and_zeros_take_few_bits_and_come_back_to_the_bit(kind: str, four_bits: bool) -> None:
    values, bits = PACKED[kind]
    chain = packed("w", values.reshape(1, 4001), four_bits)
    assert chain is not None
    (found,) = given_back(chain.nodes, chain.tensors, chain.nodes[-1].output[0])
    np.testing.assert_array_equal(found, values.reshape(1, 4001))
    assert found.dtype == values.dtype
    assert sum(len(tensor.raw_data) for tensor in chain.tensors) < values.size * bits / 8 * 1.05 + 500
    assert any(tensor.data_type in FOUR_BITS for tensor in chain.tensors) == (four_bits and kind in ("palette", "4 bits", "pruned palette"))


@pytest.mark.parametrize("bits", [1.6, 0.8 + 6.4])
def test_many_values_are_read_off_a_table(bits: float) -> None:
    many = np.random.default_rng(2).integers(1, 4 if bits < 2 else 127, (1 << 20) + 1).astype(np.int8)
    values = many if bits < 2 else sparse(many, 0.6)
    chain = packed("w", values)
    assert chain is not None
    assert "Div" not in {one.op_type for one in chain.nodes}
    (found,) = given_back(chain.nodes, chain.tensors, chain.nodes[-1].output[0])
    np.testing.assert_array_equal(found, values)
    assert sum(len(tensor.raw_data) for tensor in chain.tensors) < values.size * bits / 8 * 1.01


def test_zeros_in_long_rows_take_next_to_nothing() -> None:
    values = np.zeros(100_000, np.float32)
    values[[0, 254, 255, 256, 511, 766, 40_000, 99_999]] = NORMAL[:8]
    chain = packed("w", values)
    assert chain is not None
    (found,) = given_back(chain.nodes, chain.tensors, chain.nodes[-1].output[0])
    np.testing.assert_array_equal(found, values)
    assert sum(len(tensor.raw_data) for tensor in chain.tensors) < 1000


def test_what_takes_no_fewer_bits_stays_as_it_is() -> None:
    assert packed("w", NORMAL) is None
    assert packed("w", sparse(RNG.integers(1, 127, 4001).astype(np.int8), 0.1)) is None
    assert packed("w", np.zeros(60, np.float32)) is None


def test_a_byte_holds_as_many_digits_as_fit() -> None:
    assert {base: in_a_byte(base) for base in (2, 3, 4, 6, 7, 16, 17)} == {2: 8, 3: 5, 4: 4, 6: 3, 7: 2, 16: 2, 17: 1}


def product(axis: int, shape: tuple[int, int]) -> onnx.ModelProto:
    """x · w, whose outputs are counted by an axis of w."""
    one = node("Gemm", ["x", "w"], ["y"], transB=1) if axis == 0 else node("MatMul", ["x", "w"], ["y"])
    return model([one], [("x", FLOAT, [1, shape[1 - axis]])], [("y", FLOAT, [1, shape[axis]])], [draw("w", *shape)])


@pytest.mark.parametrize("four_bits", [False, True])
@pytest.mark.parametrize("how", ["w8", "w4", "w3", "w2", "w4b24", "w8b16"])
@pytest.mark.parametrize("axis", [0, 1])
def test_integers_in_the_file_are_the_specs(how: str, axis: int, four_bits: bool) -> None:
    made = product(axis, (40, 50))
    spec = compressed(made, how, {"w": axis})
    values, grid = array(made.graph.initializer[0]).copy(), spec.tensors["w"].grid
    assert grid is not None
    assert store(made, spec, four_bits=four_bits) == []
    scale = next(one for one in made.graph.node if one.op_type == "Mul" and one.output[0] == "w")
    before = list(made.graph.node)[:-1]
    whole, back = given_back(before, list(made.graph.initializer), scale.input[0], "w")
    np.testing.assert_array_equal(whole, integers(values, grid))
    np.testing.assert_array_equal(back, values)
    largest = max(made.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    assert len(largest.raw_data) == values.size * (4 if grid.bits == 3 else grid.bits) // 8
    narrow = four_bits and grid.bits in (3, 4)
    assert (largest.data_type == onnx.TensorProto.INT4) == narrow
    assert not narrow or [one.op_type for one in made.graph.node if one.op_type != "Gather"] == ["Cast", "Mul", made.graph.node[-1].op_type]


@pytest.mark.parametrize("axis", [0, 1])
def test_blocks_of_a_matrix_multiply_as_integers(axis: int) -> None:
    made = product(axis, (64, 96) if axis == 0 else (96, 64))
    spec = compressed(made, "w4b32", {"w": axis})
    values, grid = array(made.graph.initializer[0]).copy(), spec.tensors["w"].grid
    assert grid is not None
    store(made, spec)
    assert [one.op_type for one in made.graph.node] == ["MatMulNBits"]
    stored, scale = (array(constants(made.graph)[name]) for name in made.graph.node[0].input[1:3])
    pairs = np.stack([stored & 15, stored >> 4], axis=-1).astype(np.int64) - 8  # as ONNX Runtime's contrib operators say
    back = (pairs.reshape(64, 3, 32) * scale.reshape(64, 3, 1)).reshape(64, 96)
    np.testing.assert_allclose(back if axis == 0 else back.T, values, rtol=1e-6)


@pytest.mark.parametrize("how", ["ternary", "binary"])
@pytest.mark.parametrize("axis", [0, 1])
def test_scaled_patterns_are_a_digit_each_and_a_scale_for_each_slice(how: str, axis: int) -> None:
    made = product(axis, (48, 50))
    spec = compressed(made, how, {"w": axis})
    values = array(made.graph.initializer[0]).copy()
    store(made, spec)
    (back,) = given_back(list(made.graph.node)[:-1], list(made.graph.initializer), "w")
    np.testing.assert_array_equal(back, values)
    assert made.ByteSize() < values.size * (1.6 if how == "ternary" else 1) / 8 + 1000


@pytest.mark.parametrize("four_bits", [False, True])
@pytest.mark.parametrize(("axis", "group"), [(0, 1), (0, 4), (1, 2)])
def test_each_group_of_slices_has_its_own_palette(axis: int, group: int, four_bits: bool) -> None:
    made = product(axis, (64, 60))
    moved = np.stack([np.random.default_rng(i // group).choice(NORMAL[8 * (i // group) :][:8], (60, 64)[axis]) for i in range((64, 60)[axis])])
    values = np.ascontiguousarray(np.moveaxis(moved, 0, axis))
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w"))
    spec = Spec()
    spec.of("w").palette = Palette(8, axis, group)
    store(made, spec, four_bits=four_bits)
    assert rise(made) == four_bits
    (back,) = given_back(list(made.graph.node)[:-1], list(made.graph.initializer), "w")
    np.testing.assert_array_equal(back, values)
    assert made.ByteSize() < values.size // 2 + 64 // group * 8 * 4 + 800


def test_weights_that_are_not_on_their_grid_stay_float_and_it_is_said() -> None:
    made = product(0, (40, 50))
    spec = Spec()
    spec.of("w").grid = Grid(4, (0.05,) * 40, (0,) * 40, 0)
    (note,) = store(made, spec)
    assert note.endswith(": w")
    assert [one.op_type for one in made.graph.node] == ["Gemm"]


RANGES = {"image": (-2.5, 2.5), "b": (0, 3), "d": (-6, 6)}
"""What three samples reach."""


def tuned() -> tuple[onnx.ModelProto, Spec]:
    """The classifier with learned scales of its weights and of all that is computed before the softmax."""
    made = classifier()
    made.opset_import[0].version = 21  # of earlier ones the reference evaluator has no DequantizeLinear
    return made, compressed(made, "w8a8", ranges=RANGES)


def test_learned_scales_of_activations_are_the_files() -> None:
    made, spec = tuned()
    before = onnx.ModelProto()
    before.CopyFrom(made)
    done, notes = quantize(made, spec)
    assert done == {"w", "v"}
    assert notes == []
    onnx.checker.check_model(made)
    tensors = constants(made.graph)
    pairs = {
        one.input[0].removesuffix(":float"): [array(tensors[name]) for name in one.input[1:]] for one in made.graph.node if one.op_type == "QuantizeLinear"
    }
    assert pairs.keys() == {"image", "b", "c", "d"}  # the flattened tensor has the grid of what it is made of
    for name, grid in spec.activations.items():
        scale, zero = pairs[name]
        assert scale == np.float32(grid.scale[0])
        assert zero == grid.zero_point[0] - 128
        assert zero.dtype == np.int8
    weights, known = array(constants(before.graph)["v"]), spec.tensors["v"].grid
    assert known is not None
    stored = next(array(tensors[one.input[0]]) for one in made.graph.node if one.output[0] == "v")
    np.testing.assert_array_equal(stored, integers(weights, known))
    bias = next(array(tensors[one.input[0]]) for one in made.graph.node if one.output[0] == "d:float:bias" or one.output[0] == "d:bias")
    step = pairs["c"][0] * np.asarray(known.scale, np.float32)
    np.testing.assert_array_equal(bias, np.rint(array(constants(before.graph)["bias"]) / step))


def test_a_file_with_learned_scales_computes_what_they_make_of_the_hub() -> None:
    made, spec = tuned()
    inputs = inputs_for(made, 3)
    truth = outputs_for(made, inputs)
    quantize(made, spec)
    np.testing.assert_allclose(outputs_for(made, inputs)[0], truth[0], atol=0.03)


def test_a_layer_whose_result_has_no_scale_keeps_folded_weights() -> None:
    made, spec = tuned()
    del spec.activations["b"]
    assert quantize(made, spec)[0] == set()  # the convolution would be dequantized in every run; the product has no input of its own
    made, spec = tuned()
    del spec.activations["d"]
    assert quantize(made, spec)[0] == {"w", "v"}  # a product gives float32 as well


def test_constants_that_are_outputs_stay() -> None:
    made = product(0, (40, 50))
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((40, 50), np.float32), "w"))
    made.graph.output.append(helper.make_tensor_value_info("w", FLOAT, [40, 50]))
    assert pack(made) == 0


def bare(kind: str, version: int = 18, **attributes: int) -> onnx.ModelProto:
    """One node, in the body of another."""
    inner = helper.make_graph([node(kind, ["x"], ["y"], **attributes)], "g", [], [onnx.ValueInfoProto(name="y")])
    outer = helper.make_graph([node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], "g", [], [onnx.ValueInfoProto(name="y")])
    return helper.make_model(outer, opset_imports=[helper.make_opsetid("", version)])


def test_a_model_rises_only_where_its_operators_mean_the_same() -> None:
    assert may_rise(bare("Conv"))
    assert may_rise(bare("AveragePool"))
    assert may_rise(bare("GroupNormalization", version=22))
    assert not may_rise(bare("Conv", version=17))
    assert not may_rise(bare("AveragePool", ceil_mode=1))
    assert not any(may_rise(bare(kind)) for kind in ("GridSample", "DFT", "GroupNormalization", "Gelu"))


def test_only_what_has_four_bits_rises() -> None:
    made = product(0, (40, 50))
    pack(made, four_bits=True)
    assert not rise(made)
    assert made.opset_import[0].version == 17


def stored(tmp_path: Path, made: onnx.ModelProto, spec: Spec, recipe: str | None = None, samples: list[Array] | None = None) -> tuple[Path, dict[str, Any]]:
    hub = save(made, tmp_path / "hub.onnx")
    spec.save(tmp_path / "compress.json")
    files = {"float": hub, "hub": hub, "spec": tmp_path / "compress.json"}
    if samples:
        files["calibration"] = tensor_folder(tmp_path / "samples", samples)
    outcome = do("store_onnx", files, {"recipe": recipe})
    return outcome.folder / "model.onnx", outcome.result


@pytest.mark.toolchain
@pytest.mark.parametrize(("how", "share", "version"), [("prune80+cluster16", 0.3, 21), ("w2", 0.3, 18), ("w4", 0.35, 21), ("w8a8", 0.6, 19), ("w4a8", 0.5, 21)])
def test_the_worker_writes_a_checked_file(how: str, share: float, version: int, tmp_path: Path) -> None:
    made = classifier()
    made.opset_import[0].version = 19 if "a8" in how else 18  # of earlier ones the reference evaluator has no DequantizeLinear
    spec = compressed(made, how, ranges=RANGES)
    inputs = inputs_for(made, 3)
    truth = outputs_for(made, inputs)
    path, result = stored(tmp_path, made, spec)
    assert path.stat().st_size < share * (tmp_path / "hub.onnx").stat().st_size
    onnx.checker.check_model(path, full_check=True)
    assert [value.name for value in onnx.load(path).graph.output] == ["probabilities"]
    assert onnx.load(path).opset_import[0].version == version
    assert any("opset 21" in note for note in result["notes"]) == (version == 21)
    np.testing.assert_allclose(outputs_for(onnx.load(path), inputs)[0], truth[0], atol=0.03 if "a8" in how else 1e-5)
    assert any("times smaller than the same network in float32;" in note for note in result["notes"])


@pytest.mark.toolchain
def test_zeros_stay_zeros_under_an_ordinary_recipe_and_take_a_bit(tmp_path: Path) -> None:
    made = classifier()
    spec = compressed(made, "prune80")
    zeros = int((array(constants(made.graph)["v"]) == 0).sum())
    path, result = stored(tmp_path, made, spec, "w8a8", inputs_for(made, 8))
    assert any("times smaller than the same network in plain w8a8;" in note for note in result["notes"])
    assert path.stat().st_size < 0.4 * (tmp_path / "hub.onnx").stat().st_size
    found = onnx.load(path).graph
    shaped = {one.output[0] for one in found.node if one.op_type == "Reshape"}
    (weights,) = (one.input[0] for one in found.node if one.op_type == "DequantizeLinear" and one.input[0] in shaped)
    (whole,) = given_back(upstream(list(found.node), weights), list(found.initializer), weights)
    assert whole.dtype == np.int8
    assert int((whole == 0).sum()) >= zeros


def upstream(nodes: list[onnx.NodeProto], wanted: str) -> list[onnx.NodeProto]:
    """The nodes that a tensor is made by, in order."""
    needed, kept = {wanted}, []
    for one in reversed(nodes):
        if needed.intersection(one.output):
            kept.append(one)
            needed.update(one.input)
    return kept[::-1]
