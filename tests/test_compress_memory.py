"""Passes that change values hold few copies of one layer at a time, beside the hub."""

from __future__ import annotations

import tracemalloc

import pytest

from edgekit.compress import binary, bits, cluster, prune
from edgekit.compress.wish import Wish
from edgekit.hub.compressed import Spec
from tests.test_compress_layers import hub

WIDE = 1600
TEXT = f"(float[1,{WIDE}] x) => (float[1,{WIDE}] y) {{ a = MatMul(x, u) b = MatMul(a, v) y = MatMul(b, w) }}"


@pytest.mark.parametrize(("technique", "strength"), [(bits, "8"), (binary, ""), (cluster, "16"), (prune, "2:4")])
def test_a_pass_takes_little_more_than_three_times_its_largest_layer(technique: object, strength: str) -> None:
    model = hub(TEXT, u=(WIDE, WIDE), v=(WIDE, WIDE), w=(WIDE, WIDE))
    tracemalloc.start()
    technique.apply(model, Spec(), strength, Wish())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.4 * 4 * WIDE * WIDE
