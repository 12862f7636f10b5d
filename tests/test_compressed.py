"""A Spec comes back as it was saved, and a grid's integers and floats are each other's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.hub.compressed import Grid, Palette, Sparse, Spec, floats, integers, load_spec


def test_a_spec_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    spec = Spec(notes=["conv1: 50 % of the weights are zero"])
    spec.of("w").sparse = Sparse("2:4")
    spec.of("w").palette = Palette(16, axis=0, group=2)
    spec.of("v").grid = Grid(4, (0.1, 1 / 3), (0, 0), axis=0)
    spec.activations["a"] = Grid(8, (0.02,), (-5,))
    spec.save(tmp_path / "compress.json")
    assert load_spec(tmp_path / "compress.json") == spec
    assert load_spec(tmp_path / "none.json") == Spec()


@pytest.mark.parametrize(
    ("shape", "axis", "block", "scales"),
    [((3, 5), None, None, 1), ((3, 5, 2), 0, None, 3), ((4, 6), 1, None, 6), ((2, 70), 0, 32, 6), ((70, 2), 1, 32, 6)],
)
def test_integers_and_floats_of_a_grid_are_each_other_s(shape: tuple[int, ...], axis: int | None, block: int | None, scales: int) -> None:
    rng = np.random.default_rng(0)
    grid = Grid(4, tuple(rng.uniform(0.01, 0.1, scales).astype(np.float32).tolist()), (0,) * scales, axis, block)
    whole = rng.integers(grid.lowest, grid.highest + 1, shape)
    assert (integers(floats(whole, grid), grid) == whole).all()
