"""How many labels a model gives, and what chance would, in; out, in words, that it may be chance: the one judge of that, here and in workers."""

from __future__ import annotations

from math import exp, lgamma, log

LEVEL = 0.05
"""As many right answers that chance alone would reach so often are told to be chance."""


def doubt(right: int, n: int, chance: float) -> str | None:
    """What to think of an accuracy that is not significantly above chance (one-sided binomial test); None where it is.

    None also where so few samples could not show more, were all of them right.

    Args:
        right: of n samples, those whose label the model gives.
        chance: the share that labels dealt out at random would give (`parity.chance`).
    """
    if at_least(n, n, chance) > LEVEL or at_least(right, n, chance) <= LEVEL:
        return None
    cause = "the labels may not belong to these samples, or the inputs not be scaled as in training"
    return f"that is no better than labels dealt out at random ({chance:.1%}): {cause}"


def at_least(k: int, n: int, p: float) -> float:
    """The probability that of n trials, each right with probability p, at least k are right: exactly, by the binomial distribution."""
    if k <= 0 or p >= 1:
        return 1.0
    if p <= 0:
        return 0.0
    terms = (lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * log(p) + (n - i) * log(1 - p) for i in range(k, n + 1))
    return min(1.0, sum(map(exp, terms)))
