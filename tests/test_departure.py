"""departure: tensors find their counterparts without names, in either layout; what departs is told from what was fused away."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.toolchains.convert.runtime.departure import compare, figures, first_departure
from edgekit.toolchains.convert.runtime.runners import Array
from edgekit.toolchains.convert.runtime.trace import Traced

RANDOM = np.random.default_rng(0)


def made(name: str, op: str, values: Array, *reads: str) -> Traced:
    return Traced(name, name, op, name, reads, values)


def network() -> list[Traced]:
    """x → Conv a → Relu b → Conv c → Relu d."""
    a, c = (RANDOM.normal(size=(1, 3, 4, 4)).astype(np.float32) for _ in range(2))
    return [made("a", "Conv", a, "x"), made("b", "Relu", np.maximum(a, 0), "a"), made("c", "Conv", c, "b"), made("d", "Relu", np.maximum(c, 0), "c")]


def test_a_counterpart_is_found_without_its_name_and_with_channels_last() -> None:
    first = network()
    second = [made("", tensor.op.upper(), tensor.values.transpose(0, 2, 3, 1)) for tensor in first]
    rows = compare(first, second, 60)
    assert [row.verdict for row in rows] == ["agrees"] * 4
    assert [row.counterpart for row in rows] == ["CONV", "RELU", "CONV", "RELU"]
    assert first_departure(rows, False, "none") is None


def test_a_fused_tensor_is_no_departure_where_what_follows_agrees() -> None:
    first = network()
    rows = compare(first, [made("", "CONV_2D", tensor.values) for tensor in (first[1], first[3])], 60)
    assert [row.verdict for row in rows] == ["unseen", "agrees", "unseen", "agrees"]
    assert rows[0].sqnr_db is None


def test_the_first_of_all_that_depart_is_named() -> None:
    first = network()
    wrong = first[2].values[:, ::-1]
    rows = compare(first, [*first[:2], made("c", "Conv", wrong), made("d", "Relu", np.maximum(wrong, 0))], 60)
    assert [row.verdict for row in rows] == ["agrees", "agrees", "departs", "departs"]
    departed = first_departure(rows, True, "XNNPACK")
    assert departed is not None
    assert (departed.op, departed.node) == ("Conv", "c")


def test_right_tensor_by_tensor_and_wrong_as_it_runs_is_the_delegate() -> None:
    first = network()
    departed = first_departure(compare(first, first, 60), True, "XNNPACK")
    assert departed is not None
    assert departed.op == "Relu under XNNPACK"
    for nothing in ("none", "evaluated"):
        alone = first_departure(compare(first, first, 60), True, nothing)
        assert alone is not None
        assert alone.op == "Relu"


@pytest.mark.parametrize(
    ("found", "least", "most"),
    [(lambda x: x, 999, 999), (lambda x: x * 1.01, 39.9, 40.1), (lambda x: x * np.nan, -999, -999), (lambda x: -x, -6.1, -6)],
)
def test_figures(found: object, least: float, most: float) -> None:
    truth = RANDOM.normal(size=(1, 2, 3, 3))
    assert least <= figures(truth, found(truth))[0] <= most  # type: ignore[operator]


def test_other_orders_than_layouts_are_no_counterpart() -> None:
    truth = RANDOM.normal(size=(1, 2, 2, 2))
    assert figures(truth, truth.transpose(0, 2, 3, 1))[0] == 999
    assert figures(truth, truth.transpose(0, 3, 2, 1))[0] < 20


def test_the_same_values_in_another_order_are_no_departure() -> None:
    first = network()
    flat = made("e", "Flatten", first[3].values.reshape(1, -1), "d")
    score = made("f", "Gemm", RANDOM.normal(size=(1, 5)), "e")
    turned = made("", "RESHAPE", first[3].values.transpose(0, 2, 3, 1).reshape(1, -1))
    rows = compare([*first, flat, score], [*first, turned, made("", "FULLY_CONNECTED", score.values[:, ::-1])], 60)
    assert [row.verdict for row in rows[4:]] == ["agrees", "unseen"]


def test_a_convolution_is_not_taken_for_its_activation_however_low_the_floor() -> None:
    first = network()
    second = [made("", "CONV_2D", tensor.values + RANDOM.normal(size=tensor.values.shape) * 0.1) for tensor in (first[1], first[3])]
    assert [row.verdict for row in compare(first, second, 1)] == ["unseen", "agrees", "unseen", "agrees"]
