"""A Model, recipes and formats in, verified Artifacts out; one that fails does not stop the others."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from itertools import chain

from edgekit.errors import ConvertError
from edgekit.files import parts, size_bytes
from edgekit.recipe import Recipe
from edgekit.records import Model, Variant
from edgekit.toolchains.beside import side_by_side
from edgekit.toolchains.jobs import Progress
from edgekit.toolchains.room import at_once
from edgekit.units import bytes_text
from edgekit.verbs.compressed import compress
from edgekit.verbs.make import Place, make
from edgekit.verbs.source import Source, refusal_of, routes_of
from edgekit.verbs.written import Floats, Task
from edgekit.write.format import Format
from edgekit.write.wishes import Wishes


def convert(
    source: Source,
    recipes: Sequence[Recipe],
    formats: Sequence[Format],
    place: Place,
    progress: Progress,
    wishes: Wishes = Wishes(),  # noqa: B008 (frozen)
) -> tuple[Variant, ...]:
    """Write every recipe in every format as `<model>.<recipe>.<suffix>`, each with its lineage beside it; no variant has a measurement.

    Formats are made side by side where processors and memory allow (see `room`), the recipes of one in turn, as they share its float
    file; the variants come in the order of formats and recipes, whichever was done first.
    """
    said = Said(progress)

    def variants_of(fmt: Format) -> list[Variant]:
        floats = Floats()
        made = [attempt(source, recipe, fmt, wishes, floats, place, said.by(f"{fmt.name} {recipe.name}")) for recipe in recipes]
        said.no_more()
        return made

    beside_each_other = at_once(hub_bytes(source.model), len(formats))
    return tuple(chain.from_iterable(side_by_side([partial(variants_of, fmt) for fmt in formats], beside_each_other)))


def planned(model: Model, recipes: Sequence[Recipe], formats: Sequence[Format], wishes: Wishes, has_data: bool) -> list[tuple[Recipe, Format]]:
    """What will be tried: all that no format refuses beforehand."""
    tried = [(recipe, fmt) for recipe in recipes for fmt in formats if refusal_of(model.source, recipe, fmt, wishes, has_data) is None]
    return [(recipe, fmt) for recipe, fmt in tried if recipe.changes_hub or not too_large(model, fmt)]


def hub_bytes(model: Model) -> int:
    """What the graph takes with its weights."""
    return sum(map(size_bytes, parts(model.hub)))


def too_large(model: Model, fmt: Format) -> str | None:
    """Why a format's files cannot hold a network's weights, or None."""
    if fmt.most_bytes is None or hub_bytes(model) <= fmt.most_bytes:
        return None
    return f"{fmt.title} files end at {bytes_text(fmt.most_bytes)}, and this model's weights take {bytes_text(hub_bytes(model))}: write another format"


class Said:
    """What several threads do at once, as one line: `tflite w8: quantizing · coreml fp16: writing Core ML`."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.lock = threading.Lock()
        self.now: dict[int, str] = {}

    def by(self, name: str) -> Progress:
        """Progress of this thread, which says what it is about."""

        def say(text: str, fraction: float | None) -> None:
            with self.lock:
                alone = self.now.keys() <= {threading.get_ident()}
                share = "" if fraction is None or alone else f" {fraction:.0%}"
                self.now[threading.get_ident()] = f"{name}: {text}{share}"
                self.progress(" · ".join(self.now.values()), fraction if alone else None)

        return say

    def no_more(self) -> None:
        """This thread is done."""
        with self.lock:
            self.now.pop(threading.get_ident(), None)


def prefixed(name: str, progress: Progress) -> Progress:
    """Progress that says which variant it is about."""
    return lambda text, fraction: progress(f"{name}: {text}", fraction)


def attempt(source: Source, recipe: Recipe, fmt: Format, wishes: Wishes, floats: Floats, place: Place, progress: Progress) -> Variant:
    """One (recipe, format): `ok`, `failed` with the reason, or `skipped` because the format cannot carry the recipe or the wish."""
    has_data = not (recipe.needs_calibration or recipe.tunes) or (source.samples.calibration or source.samples.training) is not None
    refusal = refusal_of(source.model.source, recipe, fmt, wishes, has_data)
    if refusal is None and not recipe.changes_hub:
        refusal = too_large(source.model, fmt)
    if refusal is not None:
        return Variant(recipe.name, fmt.name, "skipped", refusal, None, None)
    try:
        network = compress(source, recipe, wishes.tuning, progress) if recipe.changes_hub else None
        if network is not None and (refusal := too_large(network.model, fmt)):
            return Variant(recipe.name, fmt.name, "skipped", refusal, None, None)
        task = Task(source, recipe, fmt, wishes, network)
        artifact, words = make(task, routes_of(source.model.source, recipe, fmt, wishes), floats, place, progress)
    except ConvertError as exc:
        return Variant(recipe.name, fmt.name, "failed", str(exc), None, None)
    if words is not None:
        return Variant(recipe.name, fmt.name, "failed", words, artifact, None)
    return Variant(recipe.name, fmt.name, "ok", None, artifact, None)
