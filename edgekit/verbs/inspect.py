"""A Model in, its figures out."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from edgekit.model import Spec
from edgekit.records import Model
from edgekit.toolchains.jobs import Job, Progress, run


class Figures(BaseModel):
    """What a hub holds: the worker `figures`'s result."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    ops: dict[str, int]
    parameters: int
    """Elements of all weights."""
    macs: int
    """Multiply-accumulates of one run, over convolutions, matrix products and recurrent cells."""
    depthwise_macs: int
    """Those of convolutions that see one channel at a time."""
    weights_bytes: int
    opset: int


def inspect(model: Model, progress: Progress) -> Figures:
    """Count a model's operators, parameters and multiply-accumulates, on the hub."""
    return Figures.model_validate(run(Job("convert", "figures", {"hub": model.hub}), progress).result)
