"""Functions in, their results out: run in other threads, whose jobs are stopped where their results are no longer wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

from edgekit.toolchains.supervise import stops

Result = TypeVar("Result")


@contextmanager
def beside(function: Callable[[], Result]) -> Iterator[Future[Result]]:
    """Start a function; it has ended when the block is left. Where the block is left by an exception, its jobs are stopped."""
    with started([function], 1) as (future,):
        yield future


def side_by_side(functions: Sequence[Callable[[], Result]], at_once: int) -> list[Result]:
    """The results of all, in the order given. The first that raises, in time, stops the others and is raised here."""
    with started(functions, at_once) as futures:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return [future.result() for future in futures]


@contextmanager
def started(functions: Sequence[Callable[[], Result]], at_once: int) -> Iterator[list[Future[Result]]]:
    """Futures of functions that are run in the order given, so many at once."""
    stop = threading.Event()

    def scoped(function: Callable[[], Result]) -> Result:
        stops.set((*stops.get(), stop))
        return function()

    with ThreadPoolExecutor(at_once) as threads:
        futures = [threads.submit(copy_context().run, scoped, function) for function in functions]
        try:
            yield futures
        except BaseException:
            stop.set()
            threads.shutdown(cancel_futures=True)
            raise
