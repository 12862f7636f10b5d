"""For each layer the points it may stand at (cost, loss) in; one point for each out, with the least loss in all that a budget of cost allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Point:
    """A layer done in one way."""

    cost: int
    loss: float
    way: str = ""
    """How; nothing where the layer stays as it is."""
    ranks: tuple[int, ...] = ()


def spent(points: Sequence[Sequence[Point]], budget: float) -> list[Point] | None:
    """One of the points of each layer, together no dearer than the budget; None where there are none so cheap.

    From everybody's best, the step that loses least for the cost it saves is taken, again and again, along each layer's lower convex hull
    (Lagrangian allocation, Shoham & Gersho 1988); the last step then goes no further than it must.
    """
    hulls = [hull(each) for each in points]
    if sum(each[0].cost for each in hulls) > budget:
        return None
    at = [len(each) - 1 for each in hulls]
    steps = sorted((slope(each[place - 1], each[place]), layer, place) for layer, each in enumerate(hulls) for place in range(len(each) - 1, 0, -1))
    total, last = sum(each[-1].cost for each in hulls), None
    for _, layer, place in steps:
        if total <= budget:
            break
        total -= hulls[layer][place].cost - hulls[layer][place - 1].cost
        at[layer], last = place - 1, layer
    chosen = [each[place] for each, place in zip(hulls, at, strict=True)]
    if last is not None:
        allowed = budget - total + chosen[last].cost
        chosen[last] = min((point for point in points[last] if point.cost <= allowed), key=lambda point: (point.loss, point.cost))
    return chosen


def slope(cheaper: Point, dearer: Point) -> float:
    """Loss for each unit of cost saved."""
    return (cheaper.loss - dearer.loss) / (dearer.cost - cheaper.cost)


def hull(points: Sequence[Point]) -> list[Point]:
    """The points from which a cheaper one loses least, cheapest first: slopes fall towards the dearest."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, point.loss)):
        if found and point.loss >= found[-1].loss:
            continue
        while len(found) > 1 and slope(found[-2], found[-1]) <= slope(found[-1], point):
            found.pop()
        found.append(point)
    return found


def cheapest(points: Sequence[Sequence[Point]]) -> int:
    """What the least of every layer comes to."""
    return int(np.sum([min(point.cost for point in each) for each in points]))
