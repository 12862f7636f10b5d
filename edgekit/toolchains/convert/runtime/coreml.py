"""An .mlpackage in, a Runner out: its MIL program evaluated in numpy, which checks the program, not Apple's runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edgekit.toolchains.convert.mil.evaluate import EvaluationError, Program
from edgekit.toolchains.convert.mil.runtime import give_back
from edgekit.toolchains.convert.runtime.runners import Array, CannotRunError, default_shape, spec

Result = TypeVar("Result")


class CoreMl:
    """One loaded package. A program with states starts each run with them at zero."""

    delegate = "evaluated"

    def __init__(self, path: Path) -> None:
        self.program = mapped(lambda: Program(path))
        own = self.program.model_names
        self.features = [feature.name for feature in self.program.inputs]
        told = self.program.metadata
        self.inputs = [spec(own.get(f.name, f.name), f.dtype, default_shape(f.name, f.shape, told)) for f in self.program.inputs]
        self.outputs = [spec(own.get(f.name, f.name), f.dtype, default_shape(f.name, f.shape, told)) for f in self.program.outputs]

    def run(self, feeds: list[Array]) -> list[Array]:
        found = mapped(lambda: self.program.run(self.named(feeds)))
        return [found[feature.name] for feature in self.program.outputs]

    def tensors(self, feeds: list[Array]) -> dict[str, Array]:
        return mapped(lambda: self.program.run(self.named(feeds), keep=True))

    def watched(self, feeds: list[Array], on_value: Callable[[str, Array], Array | None]) -> list[Array]:
        """The outputs; `on_value` is called with the MIL name and the array of every value, and may give another to go on with."""
        found = mapped(lambda: self.program.run(self.named(feeds), on_value=on_value))
        return [found[feature.name] for feature in self.program.outputs]

    def release(self) -> None:
        """Let go of the weights, and of what was made of them: the program can be looked at from then on, and not be run."""
        self.program.release()
        give_back()

    def named(self, feeds: list[Array]) -> dict[str, Array]:
        return dict(zip(self.features, feeds, strict=True))


def mapped(call: Callable[[], Result]) -> Result:
    try:
        return call()
    except EvaluationError as exc:
        raise CannotRunError(str(exc)) from exc
