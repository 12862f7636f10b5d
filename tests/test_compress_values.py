"""Few values for many weights: k-means, −a 0 a and −a a against their definitions, found by trying every possibility."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from onnx import ModelProto

from edgekit.compress import binary, cluster, prune, ternary
from edgekit.compress.kmeans import BINS, IN_BIN, TABLE, centres, even, nearest, places, start
from edgekit.compress.layers import Weights
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Grid, Palette, Sparse, Spec
from edgekit.hub.graph import Refusal
from tests.test_compress_layers import hub
from tests.test_compress_prune import convnet

Array = np.ndarray


def weights(model: ModelProto) -> dict[str, Array]:
    return dict(Weights(model))


def error(numbers: Array, values: Array) -> float:
    return float(np.square(numbers[:, None] - np.asarray(values)).min(1).sum())


def best_possible(numbers: Array, k: int) -> float:
    """The least error of any k means: the best of all ways to cut the sorted numbers into k runs."""
    ordered = np.sort(numbers)
    cuts = ([0, *places, len(ordered)] for places in combinations(range(1, len(ordered)), k - 1))
    return min(error(ordered, np.array([ordered[a:b].mean() for a, b in pairwise(places)])) for places in cuts)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 18])
@pytest.mark.parametrize("seed", range(5))
def test_centres_are_the_best_there_are(k: int, seed: int) -> None:
    numbers = np.random.default_rng(seed).standard_normal(20).astype(np.float32)
    found = centres(numbers, k)
    assert len(found) <= k
    assert error(numbers, found) == pytest.approx(best_possible(numbers, k), rel=1e-4)


def test_many_numbers_err_as_the_best_quantizer_of_their_distribution() -> None:
    """16 values for a bell-shaped distribution err by 0.009497 of its variance (Max 1960, table I)."""
    numbers = np.random.default_rng(0).standard_normal(20 * BINS).astype(np.float32)
    found = nearest(numbers, centres(numbers, 16))
    assert np.mean((found - numbers) ** 2) == pytest.approx(0.009497, rel=0.02)


def test_256_values_err_as_panter_and_dite_say() -> None:
    """√3 π / 2 of the variance over k², for a bell-shaped distribution (Panter & Dite 1951)."""
    numbers = np.random.default_rng(0).standard_normal(20 * BINS).astype(np.float32)
    found = nearest(numbers, centres(numbers, 256))
    assert np.mean((found - numbers) ** 2) == pytest.approx(np.sqrt(3) * np.pi / 2 / 256**2, rel=0.1)


def test_nearest_is_nearest() -> None:
    numbers, values = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32), np.float32([-1, 0.25, 0.5, 2])
    by_hand = values[np.abs(numbers[..., None] - values).argmin(-1)]
    assert (nearest(numbers, values) == by_hand).all()


@pytest.mark.parametrize("limits", [1, 2, 15, 255, 1 << 15])
@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1.0, 1e30])
def test_places_are_those_of_a_binary_search(limits: int, scale: float) -> None:
    rng = np.random.default_rng(limits)
    between = np.sort(rng.standard_normal(limits) * scale).astype(np.float32)
    beside = [np.nextafter(between, np.float32(end)) for end in (-np.inf, np.inf)]
    numbers = np.r_[rng.standard_normal(1000).astype(np.float32) * scale, between, *beside, 9 * between].astype(np.float32)
    assert (places(between)(numbers) == np.searchsorted(between, numbers)).all()


def test_limits_that_lie_together_are_told_apart() -> None:
    together = np.arange(1, IN_BIN + 1, dtype=np.float32) / (TABLE * 8)
    for limits in (np.r_[np.float32(0), together[1:], np.float32(1)], np.r_[np.float32(0), together, np.float32(1)]):
        numbers = np.r_[limits, limits - 1e-6, limits + 1e-6]
        assert (places(limits)(numbers) == np.searchsorted(limits, numbers)).all()


def test_more_values_than_cells_are_as_many_as_cells() -> None:
    """One number of them all takes half of the cells' shares, so that fewer cells than values are left."""
    points, many = np.arange(300.0), np.ones(300)
    many[150] = 350**3
    found = start(points, many, many * points, 128)
    assert 100 < len(found) < 128
    assert (np.diff(found) > 0).all()


def test_few_numbers_stay_what_they_are() -> None:
    numbers = np.float32([0.1, -2, 0.1, 5])
    assert centres(numbers, 3).tolist() == np.float32([-2, 0.1, 5]).tolist()
    assert (nearest(numbers, centres(numbers, 4)) == numbers).all()


def test_each_tensor_shares_its_values() -> None:
    model, spec = convnet(), Spec()
    before = weights(model)
    notes = cluster.apply(model, spec, "16", Wish())
    after = weights(model)
    for name in ("k1", "k2", "k3", "w"):
        assert len(np.unique(after[name])) == 16
        assert spec.of(name).palette == Palette(16)
        assert np.square(after[name] - before[name]).mean() < 0.012 * before[name].var()
    assert (after["b1"] == before["b1"]).all()
    assert notes == [notes[0]]
    assert notes[0].startswith("cluster16: 576 weights in 4 layers share 16 values for each tensor; relative error of the weights 0.0")


def test_a_palette_of_few_values_is_whole_steps_of_which_none_becomes_zero() -> None:
    found = even(np.float32([-1.27, -0.0049, 0.0001, 0.014, 0.5]))
    np.testing.assert_allclose(found, np.float32([-1.27, -0.01, 0.01, 0.5]), rtol=1e-6)
    many = np.linspace(-1, 1, 17, dtype=np.float32) ** 3
    assert (even(many) == many).all()
    assert even(np.zeros(2, np.float32)).tolist() == [0, 0]


def test_groups_of_output_channels_share_their_own_values() -> None:
    model, spec = convnet(), Spec()
    cluster.apply(model, spec, "4group2", Wish())
    for name, axis in (("k1", 0), ("w", 1)):
        slices = np.moveaxis(weights(model)[name], axis, 0)
        assert all(len(np.unique(slices[start : start + 2])) == 4 for start in range(0, len(slices), 2))
        assert len(np.unique(slices)) > 4
        assert spec.of(name).palette == Palette(4, axis, 2)


def test_what_was_pruned_stays_zero_and_zero_is_one_of_the_values() -> None:
    model, spec = convnet(), Spec()
    prune.apply(model, spec, "50", Wish(per_layer=True))
    before = weights(model)
    cluster.apply(model, spec, "8", Wish())
    after = weights(model)
    for name in ("k1", "k2", "k3", "w"):
        assert ((after[name] == 0) == (before[name] == 0)).all()
        assert len(np.unique(after[name])) == 8
        assert spec.of(name).sparse == Sparse("any")


def test_doing_it_again_changes_nothing_and_the_same_comes_out_twice() -> None:
    for technique, strength in ((cluster, "16"), (ternary, ""), (binary, "")):
        once, other = convnet(), convnet()
        technique.apply(once, Spec(), strength, Wish())
        technique.apply(other, Spec(), strength, Wish())
        assert once.SerializeToString() == other.SerializeToString()
        before = weights(once)
        technique.apply(once, Spec(), strength, Wish())
        assert all(np.allclose(weights(once)[name], before[name], rtol=1e-6, atol=0) for name in before), technique


def test_layers_with_no_more_weights_than_values_are_left_and_refused_by_name() -> None:
    model, spec = convnet(), Spec()
    before = weights(model)
    notes = cluster.apply(model, spec, "100", Wish())
    assert notes[1] == "cluster100: left as they are, because they have no more weights than values: deep."
    assert (weights(model)["k2"] == before["k2"]).all()
    assert spec.of("k2").palette is None
    with pytest.raises(Refusal, match="cluster100 leaves 'deep' as it is: 72 weights cannot share 100 values"):
        cluster.apply(convnet(), Spec(), "16", Wish(overrides={"deep": "100"}))
    with pytest.raises(Refusal, match="cluster250 has nothing to do"):
        cluster.apply(convnet(), Spec(), "250", Wish())


@pytest.mark.parametrize("size", [1, 2, 9, 12])
@pytest.mark.parametrize("seed", range(4))
def test_ternary_is_the_nearest_of_all(size: int, seed: int) -> None:
    channel = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    kept = [list(places) for many in range(1, size + 1) for places in combinations(range(size), many)]
    least = min(float(np.sum(channel**2) - np.abs(channel[places]).sum() ** 2 / len(places)) for places in kept)
    (found,) = ternary.project(channel[None])
    assert np.square(found - channel).sum() == pytest.approx(least, rel=1e-4, abs=1e-6)
    assert len(np.unique(np.abs(found[found != 0]))) == 1
    assert (np.sign(found) * np.sign(channel) >= 0).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_binary_has_the_signs_and_the_mean_magnitude(sparse: bool) -> None:
    channels = np.random.default_rng(0).standard_normal((5, 7, 3)).astype(np.float32)
    channels[:, ::2] = 0
    found = binary.project(channels, 1, sparse)
    for place in range(7):
        size = np.abs(channels[:, place])
        scale = size[size > 0].mean() if sparse and size.any() else size.mean()
        sign = np.sign(channels[:, place]) if sparse else np.where(channels[:, place] < 0, -1, 1)
        assert np.allclose(found[:, place], sign * scale)


@pytest.mark.parametrize(("technique", "values"), [(ternary, 3), (binary, 2)])
def test_ends_and_depthwise_layers_are_left_unless_named(technique: object, values: int) -> None:
    model, spec = convnet(), Spec()
    before = weights(model)
    notes = technique.apply(model, spec, "", Wish())
    after = weights(model)
    assert [name for name in before if not (after[name] == before[name]).all()] == ["k3"]
    assert all(len(np.unique(np.abs(channel[channel != 0]))) == 1 for channel in after["k3"])
    assert {name: tensor.palette for name, tensor in spec.tensors.items()} == {"k3": Palette(values, 0, scaled=True)}
    assert notes[1].endswith("because a network loses most there: first, deep, last.")
    technique.apply(model, spec, "", Wish(overrides={"last": "", "deep": ""}))
    assert (weights(model)["k2"] == technique.project(before["k2"])).all()
    assert spec.of("w").palette == Palette(values, 1, scaled=True)
    assert (weights(model)["w"] == technique.project(before["w"], 1)).all()


@pytest.mark.parametrize("technique", [ternary, binary])
def test_pruned_weights_stay_zero(technique: object) -> None:
    model, spec = convnet(), Spec()
    prune.apply(model, spec, "2:4", Wish())
    zeros = weights(model)["k3"] == 0
    technique.apply(model, spec, "", Wish())
    assert (weights(model)["k3"][zeros] == 0).all()
    assert spec.of("k3").palette == Palette(3, 0, scaled=True)
    assert spec.of("k3").sparse == Sparse("2:4")


@pytest.mark.parametrize(("technique", "strength"), [(cluster, "8"), (ternary, ""), (binary, "")])
def test_weights_on_a_grid_are_refused(technique: object, strength: str) -> None:
    spec = Spec()
    spec.of("k3").grid = Grid(4, (0.1,) * 16, (0,) * 16, 0)
    with pytest.raises(Refusal, match="The weights of 'point' are integers of 4 bits already"):
        technique.apply(convnet(), spec, strength, Wish())


def test_a_network_of_two_layers_has_nothing_between_its_ends() -> None:
    model = hub("(float[1,4] x) => (float[1,2] y) { a = Gemm(x, v) y = Gemm(a, w) }", v=(4, 3), w=(3, 2))
    with pytest.raises(Refusal, match="ternary has nothing to change: the first, the last"):
        ternary.apply(model, Spec(), "", Wish())
