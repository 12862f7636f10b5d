"""Low rank: at full rank nothing changes, at a lower one the nearest factors are found, and the budget holds; outputs by the ONNX reference."""

from __future__ import annotations

import itertools
import math

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from edgekit.compress import lowrank, prune
from edgekit.compress.budget import Point, hull, spent
from edgekit.compress.factors import CHANNELS, ROWS, bases, factored, halves, points, ways, within
from edgekit.compress.layers import Layer, Weights, layers
from edgekit.compress.least_change import error, least_change, multiplied
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec
from edgekit.hub.figures import figures, macs
from edgekit.hub.graph import Refusal, makers, static_shapes
from tests.test_compress_layers import hub

Array = np.ndarray

CASES = {
    "conv": ("(float[1,5,9,7] x) => (float[1,8,5,4] y) { [l] y = Conv<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(x, w, b) }", (8, 5, 3, 3), (8,)),
    "uneven": ("(float[1,5,9,8] x) => (float[1,8,9,6] y) { [l] y = Conv<kernel_shape=[3,2], pads=[2,0,2,1], dilations=[2,3]>(x, w, b) }", (8, 5, 3, 2), (8,)),
    "line": ("(float[2,5,9] x) => (float[2,8,9] y) { [l] y = Conv<kernel_shape=[3], auto_pad=\"SAME_UPPER\">(x, w, b) }", (8, 5, 3), (8,)),
    "same": ('(float[1,5,6,6] x) => (float[1,8,3,3] y) { y = Conv<kernel_shape=[3,3], auto_pad="SAME_UPPER", strides=[2,2]>(x, w) }', (8, 5, 3, 3), None),
    "point": ("(float[1,6,4,4] x) => (float[1,8,4,4] y) { [l] y = Conv<kernel_shape=[1,1]>(x, w, b) }", (8, 6, 1, 1), (8,)),
    "transposed": ("(float[1,5,4,4] x) => (float[1,6,9,9] y) { [l] y = ConvTranspose<kernel_shape=[3,3], strides=[2,2]>(x, w, b) }", (5, 6, 3, 3), (6,)),
    "gemm": ("(float[6,3] x) => (float[3,7] y) { [l] y = Gemm<transA=1, alpha=0.5, beta=2.0>(x, w, b) }", (6, 7), (7,)),
    "gemm across": ("(float[3,6] x) => (float[3,7] y) { [l] y = Gemm<transB=1>(x, w) }", (7, 6), None),
    "matmul": ("(float[2,3,6] x) => (float[2,3,7] y) { [l] y = MatMul(x, w) }", (6, 7), None),
}  # fmt: skip


def single(case: str) -> ModelProto:
    text, shape, bias = CASES[case]
    return hub(text, w=shape, **({"b": bias} if bias else {}))


def outputs(model: ModelProto) -> Array:
    given = model.graph.input[0]
    shape = [d.dim_value for d in given.type.tensor_type.shape.dim]
    return ReferenceEvaluator(model).run(None, {given.name: np.random.default_rng(1).standard_normal(shape).astype(np.float32)})[0]


def full_rank(layer: Layer, way: str) -> tuple[int, ...]:
    inputs, outputs = layer.shape[layer.input_axis], layer.shape[layer.output_axis]
    kernel = layer.shape[2:] if "Conv" in layer.kind else ()
    if way == "tucker":
        return inputs, outputs
    if way == "spatial":
        return (min(inputs * kernel[0], outputs * kernel[1]),)
    return (min(inputs, outputs * math.prod(kernel)) if layer.kind == "ConvTranspose" else min(inputs * math.prod(kernel), outputs),)


ALL = [(case, way) for case in CASES for way in ways(layers(single(case))[0])]


def test_every_kind_has_its_ways() -> None:
    found = {case: [way for one, way in ALL if one == case] for case in CASES}
    assert found == {
        "conv": ["channels", "tucker", "spatial"], "uneven": ["channels", "tucker", "spatial"], "line": ["channels", "tucker"],
        "same": ["channels", "tucker"], "point": ["channels"],
        "transposed": ["channels"], "gemm": ["product"], "gemm across": ["product"], "matmul": ["product"],
    }  # fmt: skip


@pytest.mark.parametrize(("case", "way"), ALL)
def test_at_full_rank_the_outputs_are_the_same(case: str, way: str) -> None:
    model, spec = single(case), Spec()
    expected = outputs(model)
    (layer,) = layers(model)
    lowrank.rewritten(model, spec, Weights(model), [(layer, Point(0, 0.0, way, full_rank(layer, way)))])
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.node) == (3 if way == "tucker" else 2)
    assert [tensor.name for tensor in model.graph.initializer if tensor.name != "b"] == (["w.u", "w.core", "w.v"] if way == "tucker" else ["w.u", "w.v"])
    assert np.allclose(outputs(model), expected, atol=2e-5)


@pytest.mark.parametrize(("case", "way"), ALL)
def test_costs_and_losses_are_those_of_the_smaller_layers(case: str, way: str) -> None:
    model = single(case)
    (layer,) = layers(model)
    before = Weights(model)["w"]
    shapes = static_shapes(model.graph)
    found = [point for point in points(before, layer, lowrank.places(layer, shapes)) if point.way == way]
    assert found or way == "spatial"
    for point in (*found[:1], *found[-1:]):
        small = single(case)
        (layer,) = layers(small)
        error = lowrank.rewritten(small, Spec(), Weights(small), [(layer, point)])
        assert sum(macs(node, static_shapes(small.graph)) for node in small.graph.node) == point.cost < layer.macs
        assert error**2 == pytest.approx(1 - math.exp(-point.loss), abs=1e-5)


def test_a_matrix_has_the_nearest_factors() -> None:
    values = np.random.default_rng(0).standard_normal((7, 6)).astype(np.float32)
    (layer,) = layers(hub("(float[1,7] x) => (float[1,6] y) { y = Gemm(x, w) }", w=(7, 6)))
    left, right = factored(values, layer, Point(0, 0.0, "product", (2,)))
    u, s, v = np.linalg.svd(values)
    assert np.allclose(left @ right, u[:, :2] * s[:2] @ v[:2], atol=1e-5)
    assert np.linalg.norm(left) == pytest.approx(np.linalg.norm(right), rel=1e-4)


def test_the_core_tells_how_much_is_kept() -> None:
    text, shape, _ = CASES["conv"]
    (layer,) = layers(hub(text, w=shape, b=(8,)))
    weights = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for point in points(weights, layer, (63, 20, 0)):
        if point.way == "tucker":
            first, core, last = factored(weights, layer, point)
            again = np.einsum("or,rshw,si->oihw", last[:, :, 0, 0], core, first[:, :, 0, 0])
            assert np.square(again - weights).sum() / np.square(weights).sum() == pytest.approx(1 - math.exp(-point.loss), abs=1e-5)


def test_what_is_done_in_parts_is_what_is_done_at_once() -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((2 * CHANNELS + 3, 5, 3, 2)).astype(np.float32)
    inputs, outputs = bases(weights)
    np.testing.assert_allclose(within(weights, inputs, outputs), np.einsum("oihw,ir,os->srhw", weights, inputs, outputs), rtol=0, atol=1e-4)
    tall = rng.standard_normal((2 * ROWS + 3, 6)).astype(np.float32)
    for values in (tall, tall.T):
        left, right = halves(values, 6)
        np.testing.assert_allclose(left @ right, values, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_a_budget_is_spent_nearly_as_well_as_can_be(seed: int) -> None:
    rng = np.random.default_rng(seed)
    options = []
    for _ in range(3):
        cost, kept = np.sort(rng.integers(1, 100, 12)), np.sort(rng.uniform(0.2, 1, 12))
        options.append([Point(100, 0.0), *(Point(int(c), float(-np.log(k))) for c, k in zip(cost, kept, strict=True))])
    found = spent(options, 150)
    assert found is not None
    assert sum(point.cost for point in found) <= 150
    best = min(sum(p.loss for p in one) for one in itertools.product(*options) if sum(p.cost for p in one) <= 150)
    steps = max(a.loss - b.loss for each in options for a, b in itertools.pairwise(hull(each)))
    assert best - 1e-9 <= sum(point.loss for point in found) <= best + steps
    assert spent(options, 2) is None


def network() -> ModelProto:
    return hub(
        """(float[1,3,12,12] x) => (float[1,10] y) {
            [first] a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, k1, b1)  [deep] d = Conv<kernel_shape=[3,3], group=16, pads=[1,1,1,1]>(a, k2)
            [point] e = Conv<kernel_shape=[1,1]>(d, k3)  f = Flatten(e)  [last] y = Gemm(f, w, b) }""",
        k1=(16, 3, 3, 3), b1=(16,), k2=(16, 1, 3, 3), k3=(16, 16, 1, 1), w=(2304, 10), b=(10,),
    )  # fmt: skip


@pytest.mark.parametrize("percent", ["50", "80", "95"])
def test_a_model_comes_to_its_share_of_the_macs(percent: str) -> None:
    model = network()
    before = figures(model)["macs"]
    names = [output.name for output in model.graph.output]
    (note,) = lowrank.apply(model, Spec(), percent, Wish())
    onnx.checker.check_model(model, full_check=True)
    after = figures(model)["macs"]
    assert (int(percent) - 12) / 100 < after / before <= int(percent) / 100
    assert f"lowrank{percent}: {before:,} multiply-accumulates are {after:,} (" in note
    assert [output.name for output in model.graph.output] == names
    assert "k2" in Weights(model)
    assert outputs(model).shape == (1, 10)


def test_a_layer_s_own_share_and_every_layer_s() -> None:
    model = network()
    cost = {layer.name: layer.macs for layer in layers(model)}
    lowrank.apply(model, Spec(), "60", Wish(per_layer=True, overrides={"k1": "30"}, skip=frozenset({"last"})))
    after = {layer.name: layer.macs for layer in layers(model)}
    assert sum(after[name] for name in after if name.startswith("first.")) <= 0.3 * cost["first"]
    assert sum(after[name] for name in after if name.startswith("point.")) <= 0.6 * cost["point"]
    assert after["deep"] == cost["deep"]
    assert after["last"] == cost["last"]


@pytest.mark.parametrize(
    ("strength", "wish", "words"),
    [
        ("10", Wish(), "lowrank10 cannot be reached: with every layer at its lowest rank [0-9]+ % .*ask for lowrank[0-9]+ or more"),
        ("50", Wish(overrides={"deep": "50"}), "there is no rank at which 'deep' costs less"),
        ("90", Wish(overrides={"point": "2"}), "lowrank2 cannot be reached in 'point': ask for 13 or more there"),
        ("50", Wish(skip=frozenset({"first", "point", "last"})), "lowrank50 cannot be reached.*no layer that a lower rank makes cheaper"),
    ],
)
def test_what_cannot_be_reached_is_refused_with_what_can(strength: str, wish: Wish, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        lowrank.apply(network(), Spec(), strength, wish)


def test_pruned_weights_are_not_made_anew() -> None:
    model, spec = network(), Spec()
    prune.apply(model, spec, "50", Wish())
    with pytest.raises(Refusal, match="The weights of 'first' are pruned already, and a lower rank would undo that: put lowrank first"):
        lowrank.apply(model, spec, "50", Wish())


def test_a_wish_for_a_layer_is_one_for_its_factors() -> None:
    model = network()
    lowrank.apply(model, Spec(), "50", Wish(overrides={"point": "60"}))
    spec = Spec()
    prune.apply(model, spec, "50", Wish(skip=frozenset({"point"}), overrides={"k1": "20"}))
    assert not {"k3.u", "k3.v"} & set(spec.tensors)


def test_weights_read_twice_are_left() -> None:
    model = hub("(float[1,9] x) => (float[1,9] y) { a = Gemm(x, w) y = Gemm(a, w) }", w=(9, 9))
    with pytest.raises(Refusal, match="no layer that a lower rank makes cheaper"):
        lowrank.apply(model, Spec(), "50", Wish())


def after(operators: str) -> ModelProto:
    """A convolution behind these operators, its weights with a mean in each, as trained ones have."""
    model = hub(f"(float[1,8,9,9] x) => (float[1,12,9,9] y) {{ {operators} [l] y = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(r, w) }}", w=(12, 8, 3, 3))
    weights = Weights(model)
    weights["w"] = (weights["w"] + np.random.default_rng(3).normal(size=(12, 8, 1, 1)) / 2).astype(np.float32)
    return model


@pytest.mark.parametrize("percent", [90, 75, 60, 50, 40, 25])
def test_behind_a_rectifier_the_way_that_changes_outputs_least_is_taken(percent: int) -> None:
    model = after("a = Relu(x) r = MaxPool<kernel_shape=[1,1]>(a)")
    layer, weights = layers(model)[0], Weights(model)["w"]
    found = points(weights, layer, lowrank.places(layer, static_shapes(model.graph)))
    point = lowrank.alone(layer, found, str(percent), Wish())
    taken = least_change(weights, layer, point, found, makers(model.graph))
    assert taken.cost <= point.cost
    given = np.maximum(np.random.default_rng(0).normal(size=(20_000, 72)), 0)
    lost = {}
    for way in ways(layer):
        best = min((one for one in found if one.way == way and one.cost <= point.cost), key=lambda one: (one.loss, one.cost))
        change = weights - multiplied(factored(weights, layer, best), way)
        lost[best] = float(np.square(given @ change.reshape(12, -1).T).mean(0).sum())
        assert error(change) == pytest.approx(lost[best], rel=0.03)
    assert lost[taken] <= 1.03 * min(lost.values())


@pytest.mark.parametrize(("operators", "changes"), [("r = Relu(x)", True), ("r = Tanh(x)", False)])
def test_energies_alone_decide_where_inputs_may_be_negative(operators: str, changes: bool) -> None:
    model = after(operators)
    layer, weights, changed = layers(model)[0], Weights(model)["w"], 0
    found = points(weights, layer, lowrank.places(layer, static_shapes(model.graph)))
    for percent in range(20, 95, 5):
        point = lowrank.alone(layer, found, str(percent), Wish())
        changed += least_change(weights, layer, point, found, makers(model.graph)) != point
    assert bool(changed) == changes


def test_a_step_takes_the_way_that_changes_outputs_least() -> None:
    """Of some strength of this network that is another way than the one that keeps most energy."""
    for percent in map(str, range(20, 95, 5)):
        told = [lowrank.apply(after(operators), Spec(), percent, Wish(per_layer=True))[0].split(": ")[-1] for operators in ("r = Relu(x)", "r = Tanh(x)")]
        if told[0] != told[1]:
            return
    pytest.fail("the inputs make no difference")
