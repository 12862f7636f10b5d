"""A function in, its Future out: run in another thread while this one goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from edgekit.toolchains.jobs import stopping

Result = TypeVar("Result")


@contextmanager
def beside(function: Callable[[], Result]) -> Iterator[Future[Result]]:
    """Start a function; it has ended when the block is left. Where the block is left by an exception, its jobs are stopped."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(function)
        try:
            yield future
        except BaseException:
            stopping.set()
            future.exception()
            stopping.clear()
            raise
