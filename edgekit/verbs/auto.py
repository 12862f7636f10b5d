"""`auto:size=0.25` or `auto:drop=0.01` in, a recipe with steps of its own for each layer out, written as a TOML file that can be given again.

`size` is the share of each format's own float file's download that may be left; `drop` is the accuracy that may be lost (without labels, the share of samples
whose top-1 may change). The layers' errors are measured on training samples, the file is checked on the evaluation samples.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgekit.allocation import Option, Way, filled, ways
from edgekit.deflate import download_bytes
from edgekit.errors import InputError
from edgekit.files import write_text
from edgekit.recipe import LEFT_ALONE, WITHOUT, Recipe, hub_step
from edgekit.recipe_rules import budget_of
from edgekit.records import Variant
from edgekit.toolchains.jobs import Job, Progress, run
from edgekit.verbs.auto_files import Limit, Limits, downloads, float_downloads, missed
from edgekit.verbs.sensitivity import table
from edgekit.verbs.source import Source
from edgekit.write.format import Format
from edgekit.write.wishes import Wishes

CANDIDATES = tuple(zeros + numbers for zeros in ("", "prune50+", "prune70+", "prune80+", "prune90+") for numbers in ("bits8", "bits4"))
"""What each layer may be given, beside being left alone: numbers that every format stores, with and without zeros."""

FIRST, CLOSER = 12, 8
"""How many ways along the path are tried on samples at first, and then between the last that keeps the accuracy and the next."""

SAMPLES = 1000
"""Of those that a way is tried on: a point of accuracy is ten of them."""

OVERHEAD = 1.05
"""What a deflated file takes more than the entropy of its weights: 2 to 5 % in TFLite, ONNX and Core ML."""


ROUNDS = 3
"""How often files are made to see what they take; what is cut off the weights is not cut off a deflated file to the byte."""


class Tried(BaseModel):
    """One way, as convert/spread found it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sqnr_db: float | None
    agreement: float | None
    top1: float | None
    bytes: int
    refused: str | None


class Spread(BaseModel):
    """What convert/spread gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    found: tuple[Tried, ...]
    top1: float | None
    samples: int

    def drop(self, one: Tried) -> float:
        """Of the accuracy, without labels of the agreement, and one standard error of it; infinite where a way was refused.

        Samples that answer as before tell nothing of the loss, so the error is that of the others alone (McNemar 1947).
        """
        if one.agreement is None:
            return float("inf")
        changed = 1 - one.agreement
        lost = changed if self.top1 is None or one.top1 is None else self.top1 - one.top1
        return float(lost + (changed / self.samples) ** 0.5)


@dataclass(frozen=True, slots=True)
class Asked:
    """A budget."""

    recipe: Recipe
    kind: str
    """`size` or `drop`."""
    value: float


def asked(recipe: Recipe) -> Asked:
    """The budget of an auto recipe, which was found right when it was read."""
    found = budget_of(recipe.steps[0])
    assert found is not None
    return Asked(recipe, *found)


def settled(
    source: Source, recipes: Sequence[Recipe], formats: Sequence[Format], wishes: Wishes, place: Path, tell: Callable[[str], None], progress: Progress
) -> tuple[list[Recipe], Limits]:
    """The recipes, with those for a budget settled for this model; each of these is written into the folder `place`, and told. And what files may take.

    Raises:
        InputError: the budget cannot be met; the message gives the nearest that can.
    """
    limits: dict[tuple[str, str], Limit] = {}
    found = []
    for one in recipes:
        if one.is_auto:
            one, more = settle(source, asked(one), formats, wishes, place, tell, progress)
            limits |= more
        found.append(one)
    return found, limits


def settle(
    source: Source, budget: Asked, formats: Sequence[Format], wishes: Wishes, place: Path, tell: Callable[[str], None], progress: Progress
) -> tuple[Recipe, Limits]:
    """One recipe for a budget."""
    model, samples = source.model, source.samples
    assert samples.training is not None
    found = table(model.hub, samples.training, samples.training_labels, CANDIDATES, None, progress)
    options = {layer.weight: [Option(one.steps, one.saved_bytes, one.noise) for one in found.of(number)] for number, layer in enumerate(found.layers)}
    called = {layer.weight: layer.name for layer in found.layers}

    def given(way: Way) -> Recipe:
        made = recipe_of(budget.recipe, way, list(called))
        return replace(made, layers=tuple((called[weight], text) for weight, text in made.layers))

    floats = float_downloads(source, formats, wishes, progress) if budget.kind == "size" else {}
    if budget.kind == "size":
        chosen, told = within_size(options, found.weights_bytes, budget, min(floats.values(), default=0) or download_bytes(model.hub))
        for _ in range(0 if budget.recipe.tunes else ROUNDS):
            files = downloads(source, given(chosen), formats, wishes, progress)
            before = chosen
            chosen, told = corrected(options, before, budget.value, {name: (taken, floats[name]) for name, taken in files.items() if name in floats}, told)
            if chosen == before:
                break
    else:
        chosen, told = within_drop(ways(options), source, budget, progress)
    weights = round(OVERHEAD * (found.weights_bytes - chosen.saved_bytes))
    limits = {(budget.recipe.name, name): Limit(taken, budget.value, weights) for name, taken in floats.items()}
    made = given(chosen)
    target = place / f"{budget.recipe.file_name_for(model.path.stem)}.toml"
    place.mkdir(parents=True, exist_ok=True)
    write_text(target, toml(made, f"{budget.recipe.name} of {model.path.name}: {told}"))
    tell(f"{budget.recipe.name} is {'+'.join(made.steps)} with {len(dict(made.layers))} layers of their own ({told}): written to {target}")
    return made, limits


def within_size(layers: Mapping[str, Sequence[Option]], weights_bytes: int, budget: Asked, float_bytes: int) -> tuple[Way, str]:
    """The way with the least noise whose file takes no more than the share asked for.

    Raises:
        InputError: no way takes so little.
    """
    path = ways(layers)
    least_saved = round(weights_bytes - budget.value * float_bytes / OVERHEAD)
    if path[-1].saved_bytes < least_saved:
        least = OVERHEAD * (weights_bytes - path[-1].saved_bytes) / float_bytes
        raise InputError(
            f"{budget.recipe.name} cannot be met: the least that this model's layers can be brought to is size={least + 0.0005:.3f}; "
            "ask for that, or cut the network itself, as in channels50+tune+w8"
        )
    chosen = saving(layers, least_saved)
    return chosen, f"about {OVERHEAD * (weights_bytes - chosen.saved_bytes) / float_bytes:.3f} of the float file's download"


def saving(layers: Mapping[str, Sequence[Option]], least_saved: int) -> Way:
    """The way with the least noise that saves so much, or the smallest there is."""
    path = ways(layers)
    return filled(next((way for way in path if way.saved_bytes >= least_saved), path[-1]), layers, least_saved)


def corrected(layers: Mapping[str, Sequence[Option]], way: Way, share: float, taken: Mapping[str, tuple[int, int]], told: str) -> tuple[Way, str]:
    """The way, or where its files take more than the share one that saves as much more; and what is expected of its files.

    Args:
        taken: format → what its file of this way takes to download, and its float file.
        told: what was expected of the way before there were files.
    """
    if not taken:
        return way, told
    short = max(file - share * float_ for file, float_ in taken.values())
    if short > 0:
        smaller = saving(layers, way.saved_bytes + math.ceil(OVERHEAD * short))
        gain, way = smaller.saved_bytes - way.saved_bytes, smaller
    else:
        gain = 0
    largest = max((file - gain) / float_ for file, float_ in taken.values())
    most = " at most" if len(taken) > 1 else ""
    return way, f"{'about ' if gain else ''}{largest:.3f} of the float file's download{most}"


def within_drop(path: Sequence[Way], source: Source, budget: Asked, progress: Progress) -> tuple[Way, str]:
    """The smallest way whose loss on the training samples keeps within the drop asked for.

    Raises:
        InputError: none does, or the model has no scores to lose.
    """
    samples = source.samples
    assert samples.training is not None
    files = {"hub": source.model.hub, "samples": samples.training}
    files |= {"labels": samples.training_labels} if samples.training_labels is not None else {}

    def drops(places: Sequence[int]) -> dict[int, float]:
        options = {"ways": [dict(path[place].steps) for place in places], "most": SAMPLES}
        told = Spread.model_validate(run(Job("convert", "spread", files, options), progress).result)
        if all(one.refused is None and one.agreement is None for one in told.found):
            raise InputError(f"{budget.recipe.name} is about accuracy, and the model's first output is no scores of classes: give auto:size=0.25")
        return {place: told.drop(one) for place, one in zip(places, told.found, strict=True)}

    known = drops(spaced(1, len(path) - 1, FIRST))
    kept = [place for place, drop in known.items() if drop <= budget.value]
    best = max(kept, default=0)
    beyond = min((place for place in known if place > best), default=best)
    if between := spaced(best + 1, beyond - 1, CLOSER):
        known |= drops(between)
        best = max((place for place, drop in known.items() if drop <= budget.value), default=0)
    if best == 0:
        least = min(known.values())
        raise InputError(
            f"{budget.recipe.name} cannot be met: the mildest way that was tried loses {least:.3f}; ask for drop={least + 0.0005:.3f}, or add +tune"
        )
    what = "of the accuracy lost" if samples.training_labels is not None else "of the samples with another top-1"
    return path[best], f"at most about {max(known[best], 0):.3f} {what}, by the training samples"


def spaced(first: int, last: int, most: int) -> list[int]:
    """So many places at the most, evenly from the first to the last."""
    if last < first:
        return []
    n = min(most, last - first + 1)
    return sorted({first + round(index * (last - first) / max(n - 1, 1)) for index in range(n)})


def recipe_of(given: Recipe, way: Way, every: Sequence[str]) -> Recipe:
    """A recipe whose steps have the strengths that most layers have, the others being named one by one."""
    own = {layer: {step.technique.name: text for text in steps.split("+") if (step := hub_step(text))} for layer, steps in way.steps.items()}
    techniques = [name for name in ("prune", "bits") if any(name in mine for mine in own.values())]
    common = {name: Counter(mine[name] for mine in own.values() if name in mine).most_common(1)[0][0] for name in techniques}
    untouched = tuple((layer, LEFT_ALONE) for layer in every if layer not in own)
    layers = untouched + tuple((layer, mine.get(name, WITHOUT + name)) for layer, mine in own.items() for name in techniques if mine.get(name) != common[name])
    return Recipe(given.name, (*common.values(), *given.steps[1:]), layers, per_layer=True, epochs=given.epochs, tune=given.tune)


def toml(recipe: Recipe, told: str) -> str:
    """The recipe as a file."""
    entries: dict[str, list[str]] = {}
    for layer, text in recipe.layers:
        entries.setdefault(layer, []).append(text)
    lines = [f"# {told}.", f"steps = {json.dumps('+'.join(recipe.steps))}", "per_layer = true", *(["", "[layers]"] if entries else [])]
    return "\n".join([*lines, *(f"{json.dumps(layer)} = {json.dumps('+'.join(texts))}" for layer, texts in entries.items()), ""])


def kept_within(recipes: Sequence[Recipe], limits: Limits, variants: Sequence[Variant]) -> list[str]:
    """What to say of files that take more than they were made for, or lose more on the evaluation samples."""
    budgets = {one.name: asked(one) for one in recipes if one.is_auto}
    told = missed(limits, variants)
    for variant in variants:
        budget, accuracy = budgets.get(variant.recipe), variant.artifact.accuracy if variant.artifact else None
        if budget is None or budget.kind != "drop" or accuracy is None:
            continue
        lost = accuracy.baseline - accuracy.value
        if lost > budget.value:
            sure = (lost * (1 - lost) / accuracy.n) ** 0.5
            found = f"{lost:.3f} ± {sure:.3f} on the {accuracy.n} evaluation samples (one standard error)"
            told.append(f"{variant.format} {variant.recipe} loses {found}: ask for less, or give more --data")
    return told
