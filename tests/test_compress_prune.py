"""Pruning against its definitions, written out one weight at a time."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from edgekit.compress import prune
from edgekit.compress.blocks import n_of_m
from edgekit.compress.lamp import KNOTS, counts, smallest_gone
from edgekit.compress.layers import Weights, layers
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Palette, Sparse, Spec
from edgekit.hub.graph import Refusal
from tests.test_compress_layers import hub

Array = np.ndarray


def convnet() -> ModelProto:
    """Three input channels, a depthwise and a plain convolution, and a classifier of ten."""
    return hub(
        """(float[1,3,8,8] x) => (float[1,10] y) {
            [first] a = Conv<pads=[1,1,1,1]>(x, k1, b1)  [deep] d = Conv<group=8, pads=[1,1,1,1]>(a, k2)  [point] e = Conv(d, k3)
            p = GlobalAveragePool(e)  f = Flatten(p)  [last] y = Gemm(f, w, b) }""",
        k1=(8, 3, 3, 3), b1=(8,), k2=(8, 1, 3, 3), k3=(16, 8, 1, 1), w=(16, 10), b=(10,),
    )  # fmt: skip


def values(model: ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def lamp_by_hand(arrays: dict[str, Array], fraction: float) -> dict[str, Array]:
    """Lee et al. 2021, equation 1, weight by weight: which stay."""
    scores = []
    for name, weights in arrays.items():
        squares = weights.astype(np.float64) ** 2
        for place in np.ndindex(weights.shape):
            scores.append((squares[place] / squares[squares >= squares[place]].sum(), name, place))
    kept = {name: np.ones(weights.shape, bool) for name, weights in arrays.items()}
    for _, name, place in sorted(scores)[: round(fraction * len(scores))]:
        kept[name][place] = False
    return kept


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_masks_are_those_of_the_paper(fraction: float) -> None:
    model = convnet()
    found, by_hand = (
        prune.masks(values(model), layers(model), fraction),
        lamp_by_hand({name: values(model)[name] for name in ("k1", "k2", "k3", "w")}, fraction),
    )
    assert found.keys() == by_hand.keys()
    assert all((found[name] == by_hand[name]).all() for name in found)


def test_layers_larger_than_the_knots_are_cut_nearly_as_exact_ones() -> None:
    rng = np.random.default_rng(0)
    sizes = [np.abs(rng.standard_normal(many)).astype(np.float32) * spread for many, spread in ((10 * KNOTS + 7, 1), (3 * KNOTS, 5), (50, 2))]
    gone = counts(sizes, 0.7)
    assert sum(gone) == round(0.7 * sum(size.size for size in sizes))
    squares = [np.sort(size.astype(np.float64) ** 2) for size in sizes]
    scores = [one / one[::-1].cumsum()[::-1] for one in squares]
    limit = np.sort(np.concatenate(scores))[sum(gone) - 1]
    assert all(abs(many - np.count_nonzero(one <= limit)) <= one.size / KNOTS + 1 for many, one in zip(gone, scores, strict=True))


def test_of_equals_the_first_go() -> None:
    assert smallest_gone(np.float32([[2, 1, 1], [1, 3, 0]]), 2).tolist() == [[True, False, True], [True, True, False]]


def test_what_is_gone_stays_gone_as_the_fraction_grows() -> None:
    model = convnet()
    arrays = {name: array.copy() for name, array in values(model).items()}
    before = prune.masks(arrays, layers(model), 0.3)
    for name, mask in before.items():
        arrays[name] *= mask
    after = prune.masks(arrays, layers(model), 0.6)
    assert not any((after[name] & ~before[name]).any() for name in after)
    assert sum(mask.sum() for mask in after.values()) == round(0.4 * sum(mask.size for mask in after.values()))


def test_a_pass_prunes_layers_and_nothing_else_and_says_so() -> None:
    model, spec = convnet(), Spec()
    before = values(model)
    notes = prune.apply(model, spec, "50", Wish())
    after = values(model)
    masks = prune.masks(before, layers(model), 0.5)
    assert all((after[name] == before[name] * masks[name]).all() for name in masks)
    assert all((after[name] == before[name]).all() for name in ("b1", "b"))
    assert {name: tensor.sparse for name, tensor in spec.tensors.items()} == dict.fromkeys(masks, Sparse("any"))
    assert len(notes) == 1
    assert notes[0].startswith("prune50: 50.0% of 576 weights in 4 layers are zero, from ")


def test_per_layer_cuts_every_layer_alike() -> None:
    model = convnet()
    prune.apply(model, Spec(), "50", Wish(per_layer=True))
    assert all(np.count_nonzero(array) == array.size // 2 for name, array in values(model).items() if not name.startswith("b"))


def test_a_layer_has_its_own_strength_or_is_left_alone() -> None:
    model, spec = convnet(), Spec()
    before = values(model)
    prune.apply(model, spec, "50", Wish(overrides={"point": "2:4", "k1": "10"}, skip=frozenset({"last"})))
    after = values(model)
    assert np.count_nonzero(after["k1"]) == round(0.9 * 216)
    assert (after["w"] == before["w"]).all()
    assert np.count_nonzero(after["k3"]) == 64
    assert spec.of("k3").sparse == Sparse("2:4")
    assert spec.of("k1").sparse == Sparse("any")
    assert spec.of("w").sparse is None


@pytest.mark.parametrize(("strength", "n", "m"), [("2:4", 2, 4), ("1:4", 1, 4), ("3:8", 3, 8)])
def test_n_of_m_keeps_the_largest_of_each_run_of_input_channels(strength: str, n: int, m: int) -> None:
    model, spec = convnet(), Spec()
    before = values(model)
    notes = prune.apply(model, spec, strength, Wish())
    after = values(model)
    for name, moved in (("k3", lambda a: a.reshape(16, -1)), ("w", lambda a: a.T)):
        for old, new in zip(moved(before[name]).reshape(-1, m), moved(after[name]).reshape(-1, m), strict=True):
            largest = set(np.argsort(-np.abs(old), kind="stable")[:n])
            assert new.tolist() == [value if place in largest else 0 for place, value in enumerate(old)]
        assert spec.of(name).sparse == Sparse(strength)
    assert (after["k1"] == before["k1"]).all()
    assert notes[1] == f"prune{strength}: left as they are, because the pattern needs input channels in runs of {m}: first, deep."


def test_of_equal_weights_the_first_n_stay() -> None:
    (layer,) = layers(hub("(float[1,4] x) => (float[1,1] y) { y = Gemm<transB=1>(x, w) }", w=(1, 4)))
    assert n_of_m(np.float32([[1, -1, 1, 1]]), layer, 2, 4).tolist() == [[True, True, False, False]]


def test_blocks_go_by_their_l1_norm() -> None:
    model, spec = convnet(), Spec()
    before = values(model)
    notes = prune.apply(model, spec, "50block4", Wish(per_layer=True))
    after = values(model)
    norms = np.abs(before["k3"]).reshape(4, 4, 8).sum(1)
    kept = norms > np.sort(norms, axis=None)[15]
    assert (after["k3"].reshape(4, 4, 8) == before["k3"].reshape(4, 4, 8) * kept[:, None]).all()
    assert (after["k2"] == before["k2"]).all(), "depthwise channels share no input"
    assert (after["w"] == before["w"]).all(), "ten outputs are no blocks of four"
    assert spec.of("k3").sparse == Sparse("block4")
    assert notes[1] == "prune50block4: left as they are, because the pattern needs output channels in blocks of 4, and more than one input to each: deep, last."


def test_zeros_and_palettes_from_before_are_kept() -> None:
    model, spec = convnet(), Spec()
    prune.apply(model, spec, "2:4", Wish())
    zeros = {name: array == 0 for name, array in values(model).items()}
    spec.of("k2").palette = Palette(2, axis=0, scaled=True)
    weights = Weights(model)
    weights["k2"] = np.sign(weights["k2"])
    prune.apply(model, spec, "60", Wish(per_layer=True))
    assert all((array[zeros[name]] == 0).all() for name, array in values(model).items())
    assert spec.of("k3").sparse == Sparse("2:4"), "more zeros still leave two of four"
    assert spec.of("k2").palette == Palette(3, axis=0, scaled=True)


@pytest.mark.parametrize(
    ("strength", "wish", "words"),
    [
        ("50", Wish(overrides={"frist": "80"}), "There is no layer 'frist': .* such as first"),
        ("50", Wish(skip=frozenset({"lats"})), "There is no layer 'lats'"),
        ("50", Wish(overrides={"first": "many"}), "prune has no strength 'many'.*'first'"),
        ("50", Wish(overrides={"first": "2:4"}), "prune2:4 needs input channels in runs of 4: the weights of 'first' are 8×3×3×3"),
        ("7:9", Wish(), r"prune7:9 needs input channels in runs of 9; no layer has that: first \(8×3×3×3\), .* and 1 more. Take prune22, or another pattern."),
        ("50block3", Wish(), "prune50block3 needs output channels in blocks of 3, .*; no layer has that: .* Take prune50, or another pattern."),
        ("50block4", Wish(overrides={"deep": "50block4"}), "prune50block4 needs output channels in blocks of 4, .*'deep' are 8×1×3×3"),
        ("4:4", Wish(), "prune has no strength '4:4'"),
        ("50", Wish(skip=frozenset({"first", "deep", "point", "last"})), "prune has nothing to change"),
    ],
)
def test_what_makes_no_sense_is_refused(strength: str, wish: Wish, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        prune.apply(convnet(), Spec(), strength, wish)


def test_a_layer_cut_to_nothing_is_refused() -> None:
    model = hub("(float[1,2] x) => (float[1,1] y) { [tiny] y = Gemm(x, w) }", w=(2, 1))
    with pytest.raises(Refusal, match="'tiny' would be cut to nothing by prune90"):
        prune.apply(model, Spec(), "90", Wish())


def test_tables_are_pruned_only_by_name_and_float16_stays_float16() -> None:
    model = hub("(int64[4] x) => (float[4,5] y) { [table] e = Gather(t, x) [fc] y = Gemm(e, w) }", t=(9, 3), w=(3, 5))
    (tensor,) = [one for one in model.graph.initializer if one.name == "w"]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), "w"))
    prune.apply(model, Spec(), "40", Wish())
    assert np.count_nonzero(values(model)["t"]) == 27
    assert tensor.data_type == onnx.TensorProto.FLOAT16
    prune.apply(model, Spec(), "40", Wish(overrides={"table": "80"}))
    assert np.count_nonzero(values(model)["t"]) == round(0.2 * 27)
