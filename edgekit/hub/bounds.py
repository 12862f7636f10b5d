"""How far apart outputs are and a recipe in, what is wrong out: the one table of how far each recipe may be.

No numpy here: edgekit's own process judges what workers have compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Bound:
    """What a variant has to keep to be called right; None is no limit."""

    max_rel: float | None = None
    """Largest absolute error over the largest absolute value of the reference, in the worst output."""
    min_sqnr_db: float | None = None
    min_cosine: float | None = None


BOUNDS: Mapping[str, Bound] = {
    # Float32 kernels differ by the order of their sums: 2e-7 to 2e-6 was seen on five networks; a wrong operator is beyond 1e-2.
    "fp32": Bound(max_rel=1e-4),
    # Half a unit in the last place of float16 is 5e-4 and grows with the square root of the depth: 2e-4 to 2e-3 was seen.
    "fp16": Bound(max_rel=5e-3),
    # Of int8 the largest error says little, its power much. Seen on five networks, TFLite and ONNX, at their lowest: w8 23.6 dB and a
    # cosine of 0.998, w8d 18.4 dB and 0.993, w8a8 23.0 dB and 0.998. The floors are 8 to 13 dB below, for networks that are harder;
    # a wrong scale, a wrong axis or a dead layer is near 0 dB.
    "w8": Bound(min_sqnr_db=15.0, min_cosine=0.98),
    # Four bits have 15 steps where eight have 255: 25 dB less in each layer. Seen on four networks, at their lowest: 9.8 dB per channel,
    # 6.1 dB in blocks (a network for faces, on noise); 12 to 26 dB on the others.
    "w4": Bound(min_sqnr_db=3.0, min_cosine=0.8),
    "w4b32": Bound(min_sqnr_db=3.0, min_cosine=0.8),
    "w8d": Bound(min_sqnr_db=10.0, min_cosine=0.95),
    "w8a8": Bound(min_sqnr_db=10.0, min_cosine=0.95),
    # Activations of 16 bits lose nothing beside weights of 8: as w8.
    "w8a16": Bound(min_sqnr_db=15.0, min_cosine=0.98),
}


PEAK_OVER_POWER_DB = 20.0
"""How much further a tensor's error may be in dB than its largest error over its largest value says: most values are far below the largest."""


def told(recipe: str) -> str:
    """A recipe's bound on how far its files may be from the network that they are of: `w8a8 needs 10 dB`."""
    bound = BOUNDS[recipe]
    return f"{recipe} needs {bound.min_sqnr_db:g} dB" if bound.min_sqnr_db is not None else f"{recipe} allows errors of {bound.max_rel:g} of the range"


def floor_db(bound: Bound) -> float:
    """The SQNR in dB below which a tensor is called another one; where the bound is on the largest error, what that means in dB."""
    if bound.min_sqnr_db is not None:
        return bound.min_sqnr_db
    return -20 * math.log10(bound.max_rel or 1.0) - PEAK_OVER_POWER_DB


def judge(parity: Mapping[str, Any], recipe: str, bound: Bound | None = None) -> str | None:
    """None if the figures keep the recipe's bound (or the one given), else one clause that says what does not.

    Raises:
        KeyError: the recipe has no bound.
    """
    bound = BOUNDS[recipe] if bound is None else bound
    if parity["has_nan"]:
        return "its outputs hold NaN or infinity where the source model's are finite"
    if parity["all_zero"]:
        return "an output is all zero where the source model's is not"
    if bound.max_rel is not None and not parity["max_rel"] <= bound.max_rel:
        return f"its outputs differ from the source model's by {parity['max_rel']:.2g} of their range, {recipe} allows {bound.max_rel:g}"
    if bound.min_sqnr_db is not None and not parity["sqnr_db"] >= bound.min_sqnr_db:
        return f"its outputs agree with the source model's to {parity['sqnr_db']:.1f} dB only, {recipe} needs {bound.min_sqnr_db:g} dB"
    if bound.min_cosine is not None and not parity["cosine"] >= bound.min_cosine:
        return f"its outputs point elsewhere than the source model's (cosine {parity['cosine']:.3f}), {recipe} needs {bound.min_cosine:g}"
    return None
