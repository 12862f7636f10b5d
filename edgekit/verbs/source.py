"""A model file, data, recipes and formats in, a Source out: the Model, and what all files made of it are checked against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgekit.baseline import Baseline, baseline
from edgekit.errors import InputError
from edgekit.model import Shapes, open_model, recognise
from edgekit.recipe import Recipe
from edgekit.records import Model, Samples
from edgekit.samples import Reference, prepare, reference
from edgekit.toolchains.beside import beside
from edgekit.toolchains.jobs import Progress
from edgekit.toolchains.workers import end_warm, warm
from edgekit.write.format import Format, formats
from edgekit.write.routes import Route, routes_for
from edgekit.write.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Source:
    """A Model with the samples and the reference outputs that all its artifacts are checked against."""

    model: Model
    checks: Future[tuple[Samples, Reference]]
    """Made while the first file is written."""

    @property
    def samples(self) -> Samples:
        return self.checks.result()[0]

    @property
    def reference(self) -> Reference:
        return self.checks.result()[1]

    def baseline(self, progress: Progress) -> Baseline | None:
        """The model's own accuracy; None without labels."""
        return baseline(self.samples, self.reference, progress)


@contextmanager
def open_source(
    path: Path,
    shapes: Shapes,
    data: Path | None,
    recipes: Sequence[Recipe],
    formats: Sequence[Format],
    progress: Progress,
    wishes: Wishes = Wishes(),  # noqa: B008 (frozen)
) -> Iterator[Source]:
    """Read the model; read the data and run the model in its own framework beside what follows.

    Raises:
        InputError: nothing asked for can be tried: each format refuses each recipe, a wish is one that no recipe can use, or the data does not fit.
    """
    refuse_idle(recipes, formats, wishes)
    for student in (path for recipe in recipes for path in recipe.students):
        recognise(student)
    tuned, train = any(recipe.tunes for recipe in recipes), wishes.tuning.train
    spread = any(recipe.is_auto for recipe in recipes)  # found on training samples, so evaluated on others
    data = data or train
    refuse_hopeless(recognise(path).name, recipes, formats, wishes, has_data=data is not None)
    helped = data is not None and (wishes.keep_float is not None or any(recipe.uses_calibration or recipe.weighs_channels for recipe in recipes))
    calibrate = helped or any(recipe.needs_calibration for recipe in recipes)
    try:
        first = formats[0]
        model = open_model(path, shapes, progress, before_reading=partial(warm, first.toolchain, first.write_verb, outlives=True))

        def prepare_checks() -> tuple[Samples, Reference]:
            samples = prepare(model, data, calibrate, progress, training=(tuned or spread or wishes.tuning.apart) and data is not None, train=train)
            return samples, reference(model, samples, progress)

        with beside(prepare_checks) as checks:
            if data is not None:
                checks.result()  # data that does not fit is refused before anything is written
            yield Source(model, checks)
    finally:
        end_warm()


def routes_of(source: str, recipe: Recipe, fmt: Format, wishes: Wishes) -> list[Route]:
    """The routes to try from a kind of source: those that the recipe can go, of the kind that was wished."""
    kinds = {"any": (False, True), "hub": (False,), "native": (True,)}[wishes.route]
    return [route for route in routes_for(source, fmt) if route.native in kinds and not (route.native and recipe.changes_hub)]


def refusal_of(source: str, recipe: Recipe, fmt: Format, wishes: Wishes, has_data: bool) -> str | None:
    """Why a format will not be tried with a recipe and wishes, or None."""
    if recipe.is_auto:  # its steps are found later
        return None if has_data else f"{recipe.name} is spread over the layers by what each bears on samples: give some with --data"
    if recipe.numbers in fmt.refusals:
        return fmt.refusals[recipe.numbers]
    if recipe.learned and not fmt.stores_learned:
        return f"edgekit stores no integers that were learned in {fmt.title} files: {instead(recipe, fmt)}"
    if not recipe.learned and recipe.numbers not in fmt.recipes:
        return f"{fmt.title} does not carry {recipe.numbers}: {instead(recipe, fmt)}"
    if recipe.tunes and not has_data:
        return f"{recipe.name} is tuned, and a network is tuned on samples: give some with --data, or others with --train; labels are not needed"
    if recipe.needs_calibration and not has_data:
        return f"{recipe.name} is calibrated on samples: give some with --data"
    if wishes.layout not in fmt.layouts:
        return f"{fmt.title} files are written in the model's own order of axes: leave out --layout"
    if recipe.has_integer_ends and wishes.layout != "model":
        return f"{recipe.name} is calibrated on samples in the model's own order of axes: leave out --layout"
    if recipe.has_integer_ends and wishes.io not in fmt.ios:
        return f"{fmt.title} files take and give float, whatever is inside them: leave out --io"
    if not routes_of(source, recipe, fmt, wishes):
        return f"there is no {wishes.route} route from {source} to {fmt.title}: leave out --route"
    return None


def instead(recipe: Recipe, fmt: Format) -> str:
    """What to write in the place of a recipe that a format does not take: other numbers, or other formats."""
    takers = [other.title for other in formats().values() if takes(other, recipe)]
    untuned = ", with no tune after it" if recipe.learned else ""
    return f"use one of {', '.join(fmt.recipes)}{untuned}" + (f"; {recipe.name} goes into {', '.join(takers)}" if takers else "")


def takes(fmt: Format, recipe: Recipe) -> bool:
    """Whether a format's files can hold the recipe's numbers."""
    return recipe.numbers not in fmt.refusals and (fmt.stores_learned if recipe.learned else recipe.numbers in fmt.recipes)


def refuse_idle(recipes: Sequence[Recipe], formats: Sequence[Format], wishes: Wishes) -> None:
    """Refuse a wish that would be of no effect on any file.

    Raises:
        InputError: with the wish, and the recipes that it is for.
    """
    asked = ", ".join(recipe.name for recipe in recipes)
    tuned = any(recipe.tunes for recipe in recipes)
    learns = tuned or any(recipe.uses_calibration or recipe.is_auto or recipe.weighs_channels for recipe in recipes)
    for option, given, used, what in (
        ("--train", wishes.tuning.train, wishes.tuning.apart or learns, "tune, calibrate, weigh channels or keep to a budget"),
        ("--epochs", wishes.tuning.epochs, tuned, "tune"),
        ("--tune-time", wishes.tuning.seconds, tuned, "tune"),
        ("--seed", wishes.tuning.seed, any(recipe.changes_hub for recipe in recipes), "compress the network"),
    ):
        if given and not used:
            raise InputError(f"{option} is for recipes that {what}, not for {asked}: add one such as --recipe prune50+tune, or leave out {option}")
    ranges, ends = (any(getattr(recipe, name) for recipe in recipes) for name in ("needs_calibration", "has_integer_ends"))
    if not (ranges and ends):
        for option, given in (("--calibration", wishes.calibration != "auto" and not ranges), ("--io integer", wishes.io != "float" and not ends)):
            if given:
                raise InputError(f"{option} is for recipes with calibrated activations, not for {asked}: add --recipe w8a8, or leave out {option}")
    carried = [fmt.recipes[recipe.numbers] for fmt in formats for recipe in recipes if recipe.numbers in fmt.recipes and not recipe.learned]
    if wishes.keep_float is not None and carried and not any(steps.quantize for steps in carried):
        titles = ", ".join(fmt.title for fmt in formats)
        raise InputError(f"--keep-float is for recipes that quantize, not for {asked} in {titles}: add a recipe such as w8a8, or leave out --keep-float")


def refuse_hopeless(source: str, recipes: Sequence[Recipe], formats: Sequence[Format], wishes: Wishes, has_data: bool) -> None:
    """Refuse before any work where nothing asked for can be made.

    Raises:
        InputError: with the first reason.
    """
    refusals = [refusal_of(source, recipe, fmt, wishes, has_data) for fmt in formats for recipe in recipes]
    if refusals and all(refusals):
        raise InputError(f"nothing to make: {refusals[0]}")
