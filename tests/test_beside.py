"""Functions run in threads: their results come in order, and only those are stopped whose results are no longer wanted."""

from __future__ import annotations

import threading
import time

import pytest

from edgekit.toolchains.beside import beside, side_by_side
from edgekit.toolchains.supervise import stops


def stopped(patience_s: float = 5) -> bool:
    """Whether this thread is told to stop before long."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if any(stop.is_set() for stop in stops.get()):
            return True
        time.sleep(0.005)
    return False


def test_results_come_in_the_order_asked_for() -> None:
    def one(index: int) -> int:
        time.sleep(0.02 * (3 - index))
        return index

    assert side_by_side([lambda index=index: one(index) for index in range(4)], 3) == [0, 1, 2, 3]  # type: ignore[misc]


def test_no_more_run_at_once_than_allowed() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def one() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    side_by_side([one] * 6, 2)
    assert most == 2


def test_an_error_stops_the_others_and_is_raised() -> None:
    found: list[bool] = []

    def fail() -> None:
        time.sleep(0.02)
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        side_by_side([lambda: found.append(stopped()), fail, lambda: found.append(stopped(0.1))], 2)
    assert found[0] is True


def test_what_goes_wrong_beside_one_stops_nothing_of_another() -> None:
    def fails_inside() -> str:
        try:
            with beside(stopped) as inner:
                raise KeyError
        except KeyError:
            assert inner.result() is True  # its own was stopped
        return "failed inside"

    assert side_by_side([fails_inside, lambda: stopped(0.2)], 2) == ["failed inside", False]


def test_an_outer_stop_reaches_what_is_beside_within() -> None:
    found: list[bool] = []

    def within() -> None:
        with beside(stopped) as inner:
            found.append(inner.result())

    def outer() -> None:
        with beside(within):
            time.sleep(0.02)
            raise KeyError

    with pytest.raises(KeyError):
        outer()
    assert found == [True]
