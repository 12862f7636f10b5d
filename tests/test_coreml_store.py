"""What a Core ML package can hold of a weight, and what a constant of it is on the hub: arrays only, so without coremltools."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgekit.hub.compressed import Grid, Palette, Spec, Tensor, floats, scale_like
from edgekit.toolchains.convert.coreml_store.forms import Form, Integers, each, forms, plain, smallest, table, with_integer_entries
from edgekit.toolchains.convert.coreml_store.origin import Initializers, Origin

Array = np.ndarray[Any, Any]
T = TypeVar("T")
RNG = np.random.default_rng(0)


def there(one: T | None) -> T:
    assert one is not None
    return one


def found(hub: Array, said: Tensor, constant: Array, name: str = "w") -> Origin | None:
    graph = helper.make_graph([], "g", [], [], [numpy_helper.from_array(hub, "w")])
    return Initializers(helper.make_model(graph), Spec({"w": said}), {"w": "w"}).origin(name, constant)


def rounded(shape: tuple[int, ...], axis: int, block: int | None) -> tuple[Array, Grid]:
    count = shape[axis] * (1 if block is None else shape[1 - axis] // block)
    grid = Grid(4, tuple(RNG.uniform(0.5, 1.5, count).astype(np.float32).tolist()), (0,) * count, axis, block)
    return floats(RNG.integers(-7, 8, shape), grid), grid


@pytest.mark.parametrize(
    ("shape", "axis", "block", "turn"),
    [
        ((8, 6), 0, None, lambda w: w),
        ((8, 6), 1, None, lambda w: w.T),
        ((8, 6), 0, 3, lambda w: w.T),
        ((8, 6), 1, 4, lambda w: w),
        ((8, 6, 1, 1), 0, None, lambda w: w.reshape(8, 6)),
        ((8, 6, 3), 0, None, lambda w: w[:, :, None, :]),
        ((8, 6, 3, 5), 0, 2, lambda w: w.transpose(2, 3, 1, 0)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_scale_follows_its_slices_through_a_lowering(shape: tuple[int, ...], axis: int, block: int | None, turn: Any, dtype: Any) -> None:
    values, grid = rounded(shape, axis, block)
    constant = turn(values).astype(dtype)

    origin = found(values, Tensor(grid=grid), np.ascontiguousarray(constant), "another name")

    assert origin is not None
    assert origin.scale is not None
    assert origin.scale.size == len(grid.scale)
    expected = turn(np.broadcast_to(scale_like(values, grid)[0], shape))
    assert np.array_equal(np.broadcast_to(each(origin.scale, constant.shape), constant.shape), expected)


def test_rows_of_a_recurrent_layer_keep_their_scales_in_another_order() -> None:
    grid = Grid(8, tuple((np.arange(1, 13) / 64).tolist()), (0,) * 12, 1)
    values = floats(RNG.integers(-127, 128, (2, 12, 5)), grid)
    order = RNG.permutation(12)

    backward = found(values, Tensor(grid=grid), np.ascontiguousarray(values[1][order].T))

    assert backward is not None
    assert backward.scale is not None
    assert np.array_equal(backward.scale, np.float32([grid.scale])[:, order])


def test_what_the_hub_does_not_hold_has_no_origin_and_broken_blocks_no_scale() -> None:
    values, grid = rounded((8, 6), 0, None)

    assert found(values, Tensor(grid=grid), values * np.float32(1.5)) is None
    broken = Grid(4, (0.5,) * 16, (0,) * 16, 0, 4)  # six inputs are no whole blocks of four
    origin = found(values, Tensor(grid=broken), values)
    assert origin is not None
    assert origin.scale is None


def test_palettes_of_slices_are_found_on_the_constants_axis() -> None:
    values = RNG.normal(size=(8, 6)).astype(np.float32)

    assert there(found(values, Tensor(palette=Palette(4, 0, 2)), values.T)).slices == (1, 2)
    assert there(found(values, Tensor(palette=Palette(4, 0, 3)), values.T)).slices == (1, 1)  # eight are no groups of three


def test_a_table_has_a_power_of_two_of_entries_for_each_group_that_give_the_values() -> None:
    values = np.sign(RNG.normal(size=(4, 3, 50))).astype(np.float32) * np.array([1, 1, 2, 2], np.float32)[:, None, None]

    indices, lut = there(table(values, (0, 2)))
    assert lut.shape == (2, 1, 1, 2, 1)
    assert np.array_equal(lut.reshape(2, 2)[[0, 0, 1, 1]][np.arange(4)[:, None, None], indices], values)
    assert there(table(values, None))[1].shape == (1, 1, 1, 4, 1)
    five = np.arange(5, dtype=np.float32)[None].repeat(40, 0)
    assert there(table(five, None))[1].ravel().tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    assert there(table(five, None, five > 0))[1].size == 4  # zero needs no entry
    assert table(RNG.normal(size=(30, 30)).astype(np.float32), None) is None


def kinds(values: Array, integers: Integers | None = None, whole: bool = False) -> set[tuple[str, int, bool]]:
    return {(form.kind, form.bits, form.new) for form in forms(values, integers, None, whole)}


def test_ios_17_has_no_indices_of_three_bits_and_no_joint_forms() -> None:
    eight = RNG.integers(-3, 5, (32, 32)).astype(np.float32)

    assert kinds(eight + 10) == {("palette", 3, True)}
    assert kinds(eight % 4 + 10) == {("palette", 2, False)}
    assert kinds(eight % 4) == {("palette", 2, False), ("sparse", 32, False), ("sparse palette", 2, True)}


def test_integers_of_four_bits_are_new_and_those_of_eight_only_in_blocks() -> None:
    q = RNG.integers(-7, 8, (32, 32)).astype(np.int8)
    q[q == 0] = 1
    channels, blocks = (RNG.uniform(1, 2, shape).astype(np.float32) for shape in ((32, 1), (32, 4)))

    for scale, new in ((channels, False), (blocks, True)):
        made = Integers(q, scale, None, 4)
        assert {("integers", 4, True), ("integers", 8, new)} <= kinds(made.floats(), made)


def test_palettes_hold_integers_where_activations_are() -> None:
    q = RNG.integers(1, 9, (32, 32)).astype(np.int8) * 15
    made = Integers(q, np.full((1, 1), 0.01, np.float32), None, 8)

    held = [form for form in forms(made.floats(), made, None, whole=True) if form.kind == "palette"]
    assert [form.lut.dtype.name for form in held if form.lut is not None] == ["int8"]
    assert [form.lut.dtype.name for form in forms(made.floats(), made, None) if form.lut is not None] == ["float32"]


def test_entries_as_integers_are_near() -> None:
    values = RNG.normal(size=16).astype(np.float32)[RNG.integers(0, 16, (32, 32))]
    form = next(form for form in forms(values, None, None) if form.kind == "palette")

    whole = with_integer_entries(form)
    assert whole.lut is not None
    assert whole.scale is not None
    assert form.lut is not None
    assert np.abs(whole.lut * whole.scale - form.lut).max() <= np.abs(form.lut).max() / 254 + 1e-7


def test_the_smallest_form_is_taken_and_none_for_what_is_smaller_as_it_is() -> None:
    values = RNG.normal(size=(64, 64)).astype(np.float32)
    few = np.sign(values)
    few[RNG.random((64, 64)) < 0.9] = 0

    made = list(forms(few, None, None))
    best = smallest(few, made, new=True)
    assert best is not None
    assert best.kind == "sparse palette"
    assert best.nbytes == min(form.nbytes for form in made) < plain(few) / 12
    assert there(smallest(few, made, new=False)).kind == "palette"
    assert smallest(values, list(forms(values, None, None)), new=True) is None
    assert smallest(few[:4, :4], [Form("palette", np.zeros((4, 4), np.uint8), 1, lut=np.zeros((1, 1, 2, 1), np.float32))], new=True) is None
