"""A file whose inputs and outputs have their axes in another order in, a runner that takes and gives them in the model's out."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.toolchains.convert.runtime.runners import Array, Runner, Spec

Orders = dict[str, list[list[int]]]
"""`inputs` and `outputs`: of each tensor the model's axes in the file's order."""


class ModelOrder:
    """A runner whose ends have the model's order of axes to whoever calls it."""

    def __init__(self, runner: Runner, orders: Orders) -> None:
        self.runner, self.orders, self.delegate = runner, orders, runner.delegate
        self.inputs = [stated(spec, order) for spec, order in zip(runner.inputs, orders["inputs"], strict=True)]
        self.outputs = [stated(spec, order) for spec, order in zip(runner.outputs, orders["outputs"], strict=True)]

    def run(self, feeds: list[Array]) -> list[Array]:
        given = self.runner.run(self.taken(feeds))
        return [values.transpose(np.argsort(order)) for values, order in zip(given, self.orders["outputs"], strict=True)]

    def tensors(self, feeds: list[Array]) -> dict[str, Array]:
        return self.runner.tensors(self.taken(feeds))

    def taken(self, feeds: list[Array]) -> list[Array]:
        return [np.ascontiguousarray(feed.transpose(order)) for feed, order in zip(feeds, self.orders["inputs"], strict=True)]


def stated(spec: Spec, order: list[int]) -> dict[str, Any]:
    """The tensor in the model's order."""
    return {**spec, "shape": [spec["shape"][place] for place in np.argsort(order)]}
