"""A recipe's name or file in, its steps out: `prune50+tune+w8a8` → `("prune50", "tune", "w8a8")`, in an order that makes sense.

A recipe is a list of steps joined by `+` and read from left to right; it means the same for every format. Steps of the hub (`edgekit.compress`)
change the network, `tune` trains what stands before it, and at most one step says in which numbers the file is written. A file `mine.toml` holds
`steps`, and may give layers strengths of their own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgekit.compress.steps import TECHNIQUES, Step, Technique, misspelt, read_step
from edgekit.errors import InputError
from edgekit.nearest import nearest, unknown
from edgekit.recipe_rules import AUTO, TUNE, senseless

SUPPORTED = ("fp32", "fp16", "w8", "w4", "w4b32", "w8d", "w8a8", "w8a16")
"""Number formats that a file is written in: float; weights only; weights and run-time activations; weights and calibrated activations."""

LEARNED = ("w4a8", "w3", "w2")
"""Number formats that lose too much unless they are tuned."""

NUMBERS = frozenset((*SUPPORTED, *LEARNED))
CALIBRATED = frozenset({"w8a8", "w8a16"})
FOUR_BITS = frozenset({"w4", "w4b32"})

DISTILL = "distill:"

LEFT_ALONE, WITHOUT = "none", "no-"
"""Of a layer: no technique touches it; one does not: `no-prune`."""


@cache
def techniques() -> tuple[Technique, ...]:
    """Techniques that others installed, by the entry-point group `edgekit.passes`."""
    return tuple(point.load() for point in sorted(entry_points(group="edgekit.passes"), key=lambda point: point.name))


def hub_step(text: str) -> Step | None:
    """A step's technique and strength, or None where no technique is spelled so."""
    return read_step(text, techniques())


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model becomes an artifact."""

    name: str
    """As it was written; of a file, the file's name without `.toml`."""
    steps: tuple[str, ...]
    layers: tuple[tuple[str, str], ...] = ()
    """(layer, step): `("fc", "prune50")`, `no-prune` or `none`; layers go by their node's or their weight's name, one step of a layer an entry."""
    per_layer: bool = False
    """Each layer is cut alike, instead of the whole network by one threshold."""
    epochs: int | None = None
    """Of each tuning; None leaves it to the tuner."""
    tune: tuple[tuple[str, Any], ...] = ()
    """(option, value) of each tuning beside: how fast it learns, and from what."""

    @property
    def numbers(self) -> str:
        """The number format of the file."""
        return next((step for step in self.steps if step in NUMBERS), "fp32")

    @property
    def learned(self) -> bool:
        """Whether tuning stands after the number format, so that the integers are learned (quantization-aware training)."""
        return self.steps[-1] == TUNE and self.numbers in self.steps

    @property
    def tunes(self) -> bool:
        """Whether it needs data to train with."""
        return TUNE in self.steps

    @property
    def needs_calibration(self) -> bool:
        """Whether some step wants samples of real input to set the ranges of activations."""
        return self.numbers in CALIBRATED and not self.learned

    @property
    def has_integer_ends(self) -> bool:
        """Whether its files may take and give integers: their activations are such, by calibration or learned."""
        return self.numbers in CALIBRATED or self.numbers == "w4a8"

    @property
    def weighs_channels(self) -> bool:
        """Whether it removes channels, which samples tell the importance of."""
        return any(step.technique.weighs_channels for step in map(hub_step, self.steps) if step is not None)

    @property
    def changes_hub(self) -> bool:
        """Whether some step works on the hub, so that the source model itself is not what is written."""
        return any(step not in NUMBERS for step in self.steps)

    @property
    def uses_calibration(self) -> bool:
        """Whether samples make it better, or are needed: with 4-bit weights they correct biases and choose how to round."""
        return self.needs_calibration or (self.numbers in FOUR_BITS and not self.learned)

    @property
    def is_auto(self) -> bool:
        """Whether its steps are still to be found, for a budget."""
        return self.steps[0].startswith(AUTO)

    @property
    def asks_for(self) -> Iterator[str]:
        """Toolchains beside those that read the model and write the files."""
        if self.tunes:
            yield "torch"

    @property
    def students(self) -> Iterator[Path]:
        """Other models that are taught."""
        yield from (Path(step.removeprefix(DISTILL)) for step in self.steps if step.startswith(DISTILL))

    @property
    def file_name(self) -> str:
        """The name as a part of a file's: without what paths, Windows and Android have no place for."""
        parts = (f"distill-{Path(step.removeprefix(DISTILL)).stem}" if step.startswith(DISTILL) else step for step in self.name.split("+"))
        return re.sub(r"[^A-Za-z0-9.+=_-]", "-", "+".join(parts))

    def file_name_for(self, model: str) -> str:
        """What a file of a model of that name is called, without its suffix: `net.prune50+w8`."""
        return f"{model}.{replace(self, name=beside(model, self.name)).file_name}"


def beside(model: str, name: str) -> str:
    """A recipe's name where the model's stands before it: `auto:` writes `net.auto-size=0.25.toml`, and files of that are not to be called `net.net.…`.

    One that would then be called as another recipe keeps its whole name.
    """
    rest = name.removeprefix(f"{model}.")
    return name if all(map(is_known, rest.split("+"))) else rest


def parse(name: str) -> Recipe:
    """Read a recipe by its name, or out of a file `*.toml`.

    Raises:
        InputError: a step is not known (the message gives the nearest one), the steps make no sense in that order (why), or the file is not right.
    """
    if name.endswith(".toml"):
        return read_file(Path(name))
    return recipe(name, tuple(name.split("+")), name)


def recipe(name: str, steps: tuple[str, ...], written: str) -> Recipe:
    """A recipe of known steps in an order that makes sense.

    Args:
        written: the steps as the user wrote them, for messages.
    """
    for step in steps:
        if is_known(step):
            continue
        if is_known(step.strip().lower()):
            raise InputError(f"'{step}' is no step: write {'+'.join(one.strip().lower() for one in steps)}, in small letters and without blanks")
        if not step:
            raise InputError(f"a step is missing in recipe '{written}': write steps with a + between two, as in prune50+tune+w8a8")
        if takes := misspelt(step, techniques()):
            raise InputError(f"'{step}' is no step{'' if step == written else f' (in recipe {written})'}: {takes}")
        raise unknown("recipe" if step == written else f"step in recipe '{written}':", step, SUPPORTED, also=examples())
    if why := senseless(steps, NUMBERS, frozenset(LEARNED), hub_step):
        raise InputError(f"recipe '{written}' makes no sense: {why}")
    return Recipe(name, steps)


def is_known(step: str) -> bool:
    distilled = step.startswith(DISTILL) and len(step) > len(DISTILL)
    return step in NUMBERS or step == TUNE or distilled or step.startswith(AUTO) or hub_step(step) is not None


def examples() -> Iterator[str]:
    """One spelling of each step beside the number formats, for suggestions."""
    yield from LEARNED
    for technique in (*TECHNIQUES.values(), *techniques()):
        yield technique.example
    yield from ("prune2:4", "prune50block4", TUNE)


class TuneTable(BaseModel):
    """A recipe file's table [tune]: what each of its tunings does otherwise than usual."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lr: Annotated[float, Field(gt=0)] | None = None
    batch: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(gt=0)] | None = None
    """By which the original's scores are softened."""
    task: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the labels in the loss, where there are any: 1 learns from them alone."""
    feature: Annotated[float, Field(ge=0)] | None = None
    """Weight of the tensors on the way that are matched; 0 matches none."""
    match: tuple[str, ...] | None = None
    """Names of those tensors; by default what the last layer reads."""


class RecipeFile(BaseModel):
    """What a recipe's TOML file may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: str
    per_layer: bool = False
    epochs: int | None = None
    tune: TuneTable = TuneTable()
    layers: Mapping[str, str] = {}


def read_file(path: Path) -> Recipe:
    """A recipe out of its file.

    Raises:
        InputError: no such file, not TOML, unknown keys or steps, or a strength that its technique does not know.
    """
    try:
        found = RecipeFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as exc:
        raise InputError(f"the recipe {path} cannot be read ({exc.strerror}): check the path") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InputError(f'the recipe {path} is no TOML ({exc}): write steps = "prune50+w8", and a table [layers]') from exc
    except ValidationError as exc:
        raise InputError(f"the recipe {path}: {misread(exc)}") from exc
    if found.epochs is not None and found.epochs < 1:
        raise InputError(f"the recipe {path}: epochs = {found.epochs}: give at least 1")
    if all(map(is_known, path.stem.split("+"))):
        raise InputError(f"the recipe {path} is called as another recipe is: rename it, so that its files cannot be taken for those of {path.stem}")
    read = recipe(path.stem, tuple(found.steps.split("+")), found.steps)
    layers = tuple((layer, own_step(path, layer, text, read.steps)) for layer, texts in found.layers.items() for text in texts.split("+"))
    tune = tuple(found.tune.model_dump(exclude_none=True).items())
    if tune and not read.tunes:
        raise InputError(f"the recipe {path} has a table [tune] and no step that tunes: add +tune to its steps, or leave the table out")
    return Recipe(path.stem, read.steps, layers, found.per_layer, found.epochs, tune)


def misread(exc: ValidationError) -> str:
    """The first thing that is wrong in a recipe's file, an unknown key before others, with its cure."""
    first = min(exc.errors(), key=lambda error: error["type"] != "extra_forbidden")
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        table, known = ("", RecipeFile.model_fields) if len(first["loc"]) == 1 else ("tune.", TuneTable.model_fields)
        near = nearest(str(first["loc"][-1]), known)
        return f"it has an unknown key '{where}': " + (f"did you mean '{table}{near}'?" if near else f"known are {', '.join(known)}")
    if first["loc"][0] == "layers" and len(first["loc"]) > 1:
        return f'layers.{first["loc"][1]} is no text: write a layer and its strength in quotes, as in "conv1.weight" = "50"'
    return f"{where}: {first['msg']}; it may hold steps, per_layer, epochs and tables [layers] and [tune]"


def own_step(path: Path, layer: str, text: str, steps: tuple[str, ...]) -> str:
    """What a layer is given instead, as a whole step: `50` where one technique is meant, `prune50`, `no-prune`, or `none`.

    Raises:
        InputError: not a strength of a technique that is among the steps.
    """
    among = [step.technique for step in map(hub_step, steps) if step is not None]
    meant = [technique for technique in among if technique.strength]
    names = ", ".join(technique.name for technique in meant)
    if text == LEFT_ALONE or text in [WITHOUT + technique.name for technique in among]:
        return text
    for spelled in (text, *(technique.name + technique.separator + text for technique in meant[:1] if len(meant) == 1)):
        step = hub_step(spelled)
        if step is not None and step.technique in meant:
            return spelled
    if (other := hub_step(text)) is not None and other.technique not in among:
        added = f"add {other.technique.name} to its steps" if other.technique.strength else f"{other.technique.name} is for all layers or none"
        raise InputError(f"the recipe {path}: layer '{layer}' = '{text}': {'+'.join(steps)} has no {other.technique.name}: {added}, or write none")
    spelled = meant[0].name + meant[0].separator + text if len(meant) == 1 and text[:1].isdigit() else text
    if takes := misspelt(spelled, meant):
        cure = f"{takes}; or write none"
    else:
        cure = f"give a strength of {names}, as in {meant[0].example}, or none" if meant else "none of its steps has a strength for each layer"
    raise InputError(f"the recipe {path}: layer '{layer}' = '{text}': {cure}")
