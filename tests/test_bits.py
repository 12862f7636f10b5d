"""Weights rounded to a few bits: on their grids, zeros kept, no worse than the whole range would be."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgekit.compress.bits import apply, ends, grid, whole
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec, floats, integers
from edgekit.hub.graph import Refusal, array, constants
from tests.lab.onnx_cases import FLOAT, classifier, model

WEIGHTS = np.random.default_rng(0).standard_normal((6, 50)).astype(np.float32)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_weights_lie_on_the_grid_that_the_spec_tells(bits: int) -> None:
    made, spec = classifier(), Spec()
    notes = apply(made, spec, str(bits), Wish())
    assert notes[0].startswith(f"bits{bits}: 2,704 weights in 2 layers rounded; relative error of the weights 0.")
    for name in ("w", "v"):
        values, found = array(constants(made.graph)[name]), spec.tensors[name].grid
        assert found is not None
        assert (found.axis, len(found.scale), set(found.zero_point)) == (0, len(values), {0})
        held = integers(values, found)
        assert ends(bits)[0] <= held.min() <= held.max() <= ends(bits)[1]
        assert np.array_equal(floats(held, found), values)


def test_clipping_rounds_better_than_the_whole_range() -> None:
    found = grid(WEIGHTS, 3, 0)
    plain = np.abs(WEIGHTS).max(axis=1, keepdims=True) / 3
    error = np.square(floats(whole(WEIGHTS, found), found) - WEIGHTS).sum(axis=1)
    assert (error < np.square(np.rint(WEIGHTS / plain) * plain - WEIGHTS).sum(axis=1)).all()


def test_zeros_stay_and_a_channel_of_zeros_is_no_division() -> None:
    sparse = WEIGHTS * (np.abs(WEIGHTS) > 1)
    sparse[2] = 0
    found = grid(sparse, 4, 0)
    assert (floats(whole(sparse, found), found)[sparse == 0] == 0).all()


def test_each_layer_may_have_its_own_bits_or_be_left_alone() -> None:
    made, spec = classifier(), Spec()
    apply(made, spec, "8", Wish(overrides={"Gemm_3": "4"}, skip=frozenset({"w"})))
    assert list(spec.tensors) == ["v"]
    assert spec.tensors["v"].grid is not None
    assert spec.tensors["v"].grid.bits == 4


def test_nothing_to_round_is_refused() -> None:
    made = model([onnx.helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 4])])
    with pytest.raises(Refusal, match="nothing to change"):
        apply(made, Spec(), "8", Wish())
