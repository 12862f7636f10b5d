"""The grammar of `--shape`, the axes that it leaves flexible, and the rules between two sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

from edgekit.cli.options import shapes_from
from edgekit.errors import InputError
from edgekit.hub.axes import Span, read_axis, span
from edgekit.hub.graph import Refusal
from edgekit.hub.shapes import choose, flexible_axes
from edgekit.records import FlexibleAxis
from edgekit.toolchains.convert.flex.steps import FixedError, Rule, Symbol, pairs, repeated, rule, symbols
from edgekit.toolchains.convert.flex_onnx import make_flexible
from edgekit.verbs.flexible import checked, probe
from tests.lab.onnx_cases import BOOL, FLOAT, draw, model


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("16..128", Span(16, 128, (), 16)),
        ("16..", Span(16, None, (), 16)),
        ("8|1|4", Span(1, 8, (8, 1, 4), 8)),
        ("?", Span(1, None, (), None)),
        ("128..16", None),
        ("0..4", None),
        ("4|4", None),
        ("0|4", None),
        ("a", None),
    ],
)
def test_a_form_says_which_sizes_an_axis_may_have(text: str, wanted: Span | None) -> None:
    assert span(text) == wanted


def test_shapes_are_read_as_written() -> None:
    assert shapes_from(["ids=1x16..128", "x=1|4x*x3"]) == {"ids": (1, "16..128"), "x": ("1|4", "?", 3)}
    assert (read_axis("0"), read_axis("")) == (None, None)
    for word in ("=1", "1x3", "x=1xax2", "x=1x²"):
        with pytest.raises(InputError, match=r"flexible as 16\.\.128"):
            shapes_from([word])


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("x=4..1x3", "4..1 ends below its beginning: write 1..4"),
        ("x=3x1|", "1| is not a list of several sizes: write 1, or another size behind the bar"),
        ("x=1||4", "1||4 is not a list of several sizes: write 1|4"),
        ("x=|", "| is not a list of several sizes: write 1|4"),
        ("x=..4x3", "..4 has no smallest size: write 1..4"),
        ("x=..", ".. has no smallest size: write ?"),
        ("x=4..4", "4..4 is a single size: write 4"),
        ("x=1x0", "0 has a size of 0: the least is 1"),
        ("x=0..4", "0..4 has a size of 0: the least is 1"),
        ("x=0..0", "0..0 has a size of 0: the least is 1"),
        ("x=0|4", "0|4 has a size of 0: the least is 1"),
        ("x=1xx2", "an axis is left out: write each, with x between two"),
    ],
)
def test_an_axis_that_is_none_is_told_what_is_wrong_with_it(word: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        shapes_from([word])
    assert str(caught.value) == f"--shape {word!r}: {said}"


def test_the_first_size_written_is_the_default() -> None:
    fixed, notes = choose({"x": [None, 3, "h", "w"]}, {"x": ["?", 3, "64|32", "16..48"]})
    assert (fixed, notes) == ({"x": [1, 3, 64, 16]}, [])
    assert choose({"x": [None, 3, None, None]}, {"x": [1, 3, "?", "?"]})[1] == [
        "axis 2 of input 'x' is 224 by default",
        "axis 3 of input 'x' is 224 by default",
    ]


def test_a_fixed_axis_cannot_become_flexible_and_an_open_one_is_told_both_ways() -> None:
    with pytest.raises(Refusal, match="flexible axis 1, which the model has fixed at 3"):
        choose({"x": ["n", 3]}, {"x": [1, "3..5"]})
    with pytest.raises(Refusal) as caught:
        choose({"ids": ["n", "t"]}, {})
    assert "--shape ids=1x128, or --shape ids=1x128..256 to keep it flexible" in str(caught.value)
    with pytest.raises(Refusal, match=r"as 2\.\.4 and as 3"):
        choose({"a": ["n"], "b": ["n"]}, {"a": ["2..4"], "b": [3]})


def found(axes: list[dict[str, Any]]) -> list[tuple[str, int, str, int, int | None, bool]]:
    return [(axis["input"], axis["axis"], axis["symbol"], axis["default"], axis["high"], axis["asked"]) for axis in axes]


def test_open_first_axes_are_flexible_by_themselves_and_share_a_symbol() -> None:
    assert found(flexible_axes({"a": [None, 4], "b": [None, 2]}, {})) == [("a", 0, "batch", 1, None, False), ("b", 0, "batch", 1, None, False)]
    assert found(flexible_axes({"a": [None, 4], "b": [None, 2]}, {"a": ["2..6", 4]})) == [("a", 0, "batch", 2, 6, True), ("b", 0, "batch", 2, 6, True)]
    assert found(flexible_axes({"a": ["n", "t"], "b": ["n", "t"]}, {"a": [1, "8..16"]})) == [("a", 1, "t", 8, 16, True), ("b", 1, "t", 8, 16, True)]


def axis(symbol: str, default: int, high: int | None, place: int = 0, asked: bool = True, listed: tuple[int, ...] = ()) -> FlexibleAxis:
    return FlexibleAxis("x", place, symbol, default, 1, high, listed, asked)


def test_the_second_size_is_the_largest_and_differs_between_symbols() -> None:
    assert probe([axis("h", 16, 64, 1), axis("w", 16, 64, 2)]) == {"h": 64, "w": 32}
    assert probe([axis("n", 1, None, asked=False)]) == {"n": 3}
    assert probe([axis("n", 4, 8, listed=(4, 2, 8))]) == {"n": 8}


def test_both_ends_and_one_between_are_checked_after_the_default() -> None:
    assert checked([axis("n", 1, 9)]) == [{"n": 1}, {"n": 9}, {"n": 5}]
    assert checked([axis("n", 1, None, asked=False)]) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert checked([axis("n", 4, 9)])[1:] == [{"n": 9}, {"n": 5}, {"n": 1}]


def test_a_size_is_a_part_or_a_multiple_of_an_axis_or_that_far_from_it() -> None:
    known = [Symbol("h", 32, 96, "x", 2, None)]
    assert rule(known, 8, 24) == Rule("h", 1, 4, 0)
    assert rule(known, 64, 192) == Rule("h", 2, 1, 0)
    assert rule(known, 30, 94) == Rule("h", 1, 1, -2)
    assert rule(known, 5, 9) is None


def test_one_row_repeated_says_the_same_and_a_longer_table_does_not() -> None:
    row = np.arange(3.0)[None]
    assert repeated(row, np.repeat(row, 4, 0))
    assert not repeated(row, np.arange(12.0).reshape(4, 3))
    assert not repeated(np.repeat(row, 2, 0), np.repeat(row, 4, 0))


def test_operators_are_paired_by_name_else_by_place() -> None:
    assert pairs([("Add", "a"), ("Mul", "b")], [("Mul", "b"), ("Add", "a")]) == [1, 0]
    assert pairs([("Add", "a"), ("Mul", "b")], [("Add", "c"), ("Mul", "d")]) == [0, 1]
    with pytest.raises(FixedError, match="Add 'a' here, Mul there"):
        pairs([("Add", "a")], [("Mul", "c")])


def test_another_axis_that_follows_is_refused() -> None:
    flexible = [{"input": "x", "axis": 0, "symbol": "n", "high": None}]
    assert symbols(flexible, {"x": [1, 4]}, {"x": [3, 4]}) == [Symbol("n", 1, 3, "x", 0, None)]
    with pytest.raises(FixedError, match="axis 1 of input 'x' follows"):
        symbols(flexible, {"x": [1, 4]}, {"x": [3, 8]})


def test_what_only_a_body_reads_stays_in_a_flexible_file() -> None:
    def at(size: int) -> ModelProto:
        bodies = {branch: helper.make_graph([helper.make_node(kind, ["v", "w"], [y])], branch, [], [helper.make_tensor_value_info(y, FLOAT, [4])])
                  for branch, kind, y in (("then_branch", "Add", "y1"), ("else_branch", "Mul", "y2"))}  # fmt: skip
        nodes = [helper.make_node("If", ["c"], ["chosen"], **bodies), helper.make_node("Add", ["x", "chosen"], ["y"])]
        taken = [("c", BOOL, []), ("v", FLOAT, [4]), ("x", FLOAT, [size, 4])]
        return model(nodes, taken, [("y", FLOAT, [size, 4])], [draw("w", 4)])

    made = at(2)
    make_flexible(made, at(3), [{"input": "x", "axis": 0, "symbol": "n", "high": 3}], {"x": [2, 4]})
    assert [tensor.name for tensor in made.graph.initializer] == ["w"]
    onnx.checker.check_model(made)
