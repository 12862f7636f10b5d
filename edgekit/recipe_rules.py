"""The steps of a recipe in, why they make no sense together out: each rule with its reason; no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Set
from itertools import pairwise

from edgekit.compress.steps import SHAPES, SPARSITY, VALUES, Step

TUNE = "tune"
AUTO = "auto:"
"""Steps that are found for a budget, by what each layer bears: `auto:size=0.25`."""
NEW_NETWORKS = ("student:", "distill:")
FLOATS = ("fp32", "fp16")
UNLEARNT = {
    "w8d": "sets its ranges at run time, where tuning cannot learn them",
    "w8a16": "has activations of 16 bits, which lose nothing that tuning could win back",
}

STAGES = {
    SHAPES: "changes the shapes of the weights",
    SPARSITY: "makes zeros",
    VALUES: "makes values few",
}
UNDONE = {
    (SPARSITY, SHAPES): "the zeros would be cut apart",
    (VALUES, SHAPES): "the few values would become many",
    (VALUES, SPARSITY): "new zeros would not be among the few values",
}
"""(stage of the earlier step, of the later one) → why not."""


def senseless(steps: Sequence[str], numbers: Set[str], tuned_only: Set[str], read: Callable[[str], Step | None]) -> str | None:
    """Why steps make no sense in this order, with what to write instead; None where they do.

    Args:
        numbers: the steps that are number formats.
        tuned_only: those of them that lose too much without tuning.
        read: gives a hub step's technique.
    """
    return about_budget(steps) or about_tuning(steps) or about_numbers(steps, numbers, tuned_only) or about_techniques(steps, read)


def budget_of(step: str) -> tuple[str, float] | None:
    """`auto:size=0.25` as ("size", 0.25); None where it is no budget: not of size or drop, or no share of them."""
    found = re.fullmatch(f"{AUTO}(size|drop)=(0?\\.[0-9]+|0)", step)
    if found is None or (found[1] == "size" and not float(found[2])):
        return None
    return found[1], float(found[2])


def about_budget(steps: Sequence[str]) -> str | None:
    budgets = [step for step in steps if step.startswith(AUTO)]
    for step in budgets:
        if budget_of(step) is None:
            return f"{step} is no budget: {share_for(step)}"
    others = [step for step in steps if step != TUNE and step not in budgets[:1]]
    if budgets and others:
        return f"{budgets[0]} finds zeros and numbers for each layer by itself: leave out {others[0]}; only +tune may follow"
    return None


def share_for(step: str) -> str:
    """What to write in the place of a budget that is none."""
    kind, _, text = step.removeprefix(AUTO).partition("=")
    percent = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else 0.0
    if kind not in ("size", "drop") or not text:
        return "give auto:size=0.25 (of the float file's download), or auto:drop=0.01 (of the accuracy)"
    of = "of the float file's download" if kind == "size" else "of the accuracy"
    meant = f"auto:{kind}={percent / 100:g}, for {percent:g} percent" if 1 < percent < 100 else f"auto:{kind}={'0.25' if kind == 'size' else '0.01'}"
    return f"give a share below 1 {of}, as in {meant}"


def about_tuning(steps: Sequence[str]) -> str | None:
    if steps[0] == TUNE:
        return "there is nothing before tune that it could win back: put it after what loses accuracy, as in prune50+tune"
    if any(a == b == TUNE for a, b in pairwise(steps)):
        return "tune stands twice in a row: write it once, and give it more --epochs"
    for step in steps:
        if step.startswith(NEW_NETWORKS) and TUNE not in steps[steps.index(step) :]:
            return f"a student knows little before it is taught: write {step}+{TUNE}"
    return None


def about_numbers(steps: Sequence[str], numbers: Set[str], tuned_only: Set[str]) -> str | None:
    found = [step for step in steps if step in numbers]
    if len(found) > 1:
        return f"{found[0]} and {found[1]} are two number formats, and a file has one: leave one of them out"
    if not found:
        return None
    (number,) = found
    place = steps.index(number)
    after = steps[place + 1 :]
    if others := [step for step in after if step != TUNE]:
        moved = "+".join([*(step for step in steps if step != number), number])
        return f"{others[0]} stands after {number}, and would take its values off the grid: numbers come last, as in {moved}"
    if after and (number in FLOATS or number in UNLEARNT):
        moved = "+".join([*(step for step in steps[:place] if step != TUNE), TUNE, number]) if place else "w8+tune or w8a8+tune"
        why = "loses nothing that tuning could win back" if number in FLOATS else UNLEARNT[number]
        return f"{number} {why}: write {moved}"
    if number in tuned_only and not after:
        return f"{number} loses too much without tuning: add +tune, as in {'+'.join([*steps, TUNE])}"
    return None


def about_techniques(steps: Sequence[str], read: Callable[[str], Step | None]) -> str | None:
    before: list[tuple[str, Step]] = []
    for index, text in enumerate(steps):
        if index and text.startswith(NEW_NETWORKS):
            return f"{text} puts another network in the place of what {steps[0]} made: put it first"
        step = read(text)
        if step is None:
            continue
        for earlier, other in before:
            if why := clash(earlier, other, text, step):
                return why
        before.append((text, step))
    return None


def clash(earlier: str, first: Step, later: str, second: Step) -> str | None:
    """Why a technique cannot follow another."""
    if first.technique.name == second.technique.name:
        return f"{earlier} and {later} are one technique: give it once, with the strength that is meant in the end"
    if first.technique.stage == second.technique.stage == VALUES:
        return f"{earlier} and {later} both decide which values there are: leave one of them out"
    if second.technique.stage < first.technique.stage:
        reason = UNDONE[first.technique.stage, second.technique.stage]
        return f"{later} {STAGES[second.technique.stage]} after {earlier}, and {reason}: write {later} first"
    return None
