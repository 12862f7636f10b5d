"""A model, data and steps in; out, for each layer and step, how far the outputs go when that layer alone is compressed so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgekit.compress.steps import TECHNIQUES
from edgekit.errors import InputError
from edgekit.model import Shapes, open_model
from edgekit.nearest import unknown
from edgekit.records import Model
from edgekit.samples import prepare
from edgekit.toolchains.jobs import Job, Progress, run

STRENGTHS: Mapping[str, tuple[str, ...]] = {
    "bits": ("8", "4", "3", "2"),
    "prune": ("50", "70", "80", "90"),
    "channels": ("25", "50", "75"),
    "lowrank": ("75", "50", "25"),
    "cluster": ("64", "16", "4"),
    "ternary": ("",),
    "binary": ("",),
}
"""Technique → the strengths that are tried where none are asked for, the mildest first."""

SPELLED = {"quant": "bits"}
"""Other words for a technique."""

DEADLINE_S = 4 * 3600.0
"""A network of a hundred layers, ten ways each, takes minutes; this is for those that are far larger."""
BY_DEFAULT = ("quant", "prune")


class Layer(BaseModel):
    """One layer of the hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    weight: str
    kind: str
    parameters: int
    macs: int


class Found(BaseModel):
    """One layer under one list of steps, such as `bits4` or `prune50+bits8`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    layer: int
    steps: str
    sqnr_db: float | None
    agreement: float | None
    top1: float | None
    saved_bytes: int
    macs: int
    refused: str | None

    @property
    def noise(self) -> float:
        """Power of the error over that of the outputs; infinite where nothing can be told of it."""
        return float("inf") if self.sqnr_db is None else float(10 ** (-self.sqnr_db / 10))


class Table(BaseModel):
    """What convert/sensitivity gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    layers: tuple[Layer, ...]
    found: tuple[Found, ...]
    weights_bytes: int
    """Of the whole hub, coded as `saved_bytes` is."""
    samples: int
    top1: float | None
    """Of the hub itself, where there are labels."""

    def of(self, layer: int) -> tuple[Found, ...]:
        """All that was tried on a layer, in the order that was asked for."""
        return tuple(one for one in self.found if one.layer == layer)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The table of a model, and what it was made on."""

    model: Model
    table: Table
    steps: tuple[str, ...]
    origin: str
    """Of the samples."""


def sensitivity(path: Path, data: Path | None, shapes: Shapes, steps: Sequence[str], progress: Progress, most: int | None = None) -> Sensitivity:
    """Compress each layer alone by each of the steps, and compare the outputs with the model's own.

    Args:
        steps: hub steps, or several joined by `+`.
        most: samples at the most; None: 16 to 256, the more the fewer MACs the model has.

    Raises:
        InputError: the model, the data, or a model without layers.
    """
    model = open_model(path, shapes, progress)
    samples = prepare(model, data, False, progress)
    return Sensitivity(model, table(model.hub, samples.evaluation, samples.labels, steps, most, progress), tuple(steps), samples.origin)


def table(hub: Path, samples: Path, labels: Path | None, steps: Sequence[str], most: int | None, progress: Progress) -> Table:
    """The table of a hub on a tensor folder of samples."""
    files = {"hub": hub, "samples": samples} | ({"labels": labels} if labels is not None else {})
    outcome = run(Job("convert", "sensitivity", files, {"steps": list(steps), "most": most}), progress, deadline_s=DEADLINE_S)
    return Table.model_validate(outcome.result)


def steps_of(techniques: Sequence[str], strengths: Sequence[str]) -> list[str]:
    """The steps that are asked for: techniques by name, strengths as they are written in a recipe (`50`, `2:4`).

    Raises:
        InputError: an unknown technique, a strength that it does not have, or strengths for several techniques at once.
    """
    named = [name.strip() for name in techniques if name.strip()] or list(BY_DEFAULT)
    for name in named:
        if SPELLED.get(name, name) not in STRENGTHS:
            raise unknown("technique", name, [*SPELLED, *STRENGTHS])
    chosen = dict.fromkeys(SPELLED.get(name, name) for name in named)
    if not strengths:
        return [name + strength for name in chosen for strength in STRENGTHS[name]]
    if len(chosen) > 1:
        raise InputError(f"--strengths are those of one technique, and {len(chosen)} are asked for: name one with --technique, such as prune")
    (name,) = chosen
    for strength in strengths:
        if not TECHNIQUES[name].pattern.fullmatch(name + strength):
            example = TECHNIQUES[name].example
            raise InputError(f"{named[0]} has no strength {strength!r}: give one such as {example.removeprefix(name)}, as in {example}")
    return [name + strength for strength in dict.fromkeys(strengths)]
