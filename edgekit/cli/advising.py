"""What is known beforehand about the files asked for, said on stderr before time is spent on them; and all that could be said."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence

import click
from rich.markup import escape

from edgekit.advice import Advice, Figures, Rule, advice, rules
from edgekit.cli.file_notes import Name, names
from edgekit.cli.say import err
from edgekit.device import Device
from edgekit.recipe import Recipe
from edgekit.records import Model
from edgekit.toolchains.jobs import Progress
from edgekit.verbs.inspect import inspect
from edgekit.verbs.source import Source
from edgekit.write.format import Format

advice_option = click.option("--no-advice", is_flag=True, help="Keep what is known beforehand about such files to yourself.")


def advise(source: Source, planned: Sequence[tuple[Recipe, Format]], device: Device | None, progress: Progress) -> None:
    """Print the rules that hold for files that will be made, a line each: the steps, what is known of them, and who says so."""
    if not planned:
        return
    files = [(fmt.name, recipe.name) for recipe, fmt in planned]
    for one in advice([(recipe, fmt.name) for recipe, fmt in planned], machine_of(device), figures_of(source.model, progress)):
        err.print(line(one, files))


def tell_baseline(source: Source, progress: Progress) -> None:
    """The model's own accuracy, where there are labels, and that they may not be those of these samples."""
    found = source.baseline(progress)
    if found is not None:
        err.print(found.told(source.model.path.name), markup=False)
        if found.doubt:
            err.print(f"warning: {found.doubt}", style="yellow", markup=False)


def tell_budget(words: str) -> None:
    """What was found for a budget, or became of it."""
    err.print(words, style="yellow", markup=False)


def figures_of(model: Model, progress: Progress) -> Figures:
    """What the rules want to know of a model."""
    found = inspect(model, progress)
    return Figures(found.parameters, found.depthwise_macs / max(found.macs, 1))


def machine_of(device: Device | None) -> str | None:
    """What `uname -m` says on a device, as far as that is known before it is asked."""
    if device is None:
        return None
    if device.address == "local:":
        return platform.machine()
    return device.profile.facts.arch.value if device.profile and device.profile.facts.arch else None


def line(one: Advice, files: Sequence[Name]) -> str:
    """`advice A11 prune50 without tuning: … (measured: …)`, with the files that it is about where the steps do not tell.

    Args:
        files: all that will be made.
    """
    steps = ", ".join(one.steps)
    about = f" {names(one.variants, files)}".removesuffix(f" {steps}").strip()  # the formats alone, where recipes are those steps
    source = f"{about}; {one.rule.cite}" if about else one.rule.cite
    untuned = " without tuning" if one.rule.untuned else ""
    return f"[cyan]advice {one.rule.id}[/cyan] [bold]{escape(steps)}[/bold]{untuned}: {escape(one.rule.says)} [dim]({escape(source)})[/dim]"


def told(rule: Rule) -> Iterator[str]:
    """A rule's conditions and its source, for `edgekit explain advice`."""
    conditions = [
        f"in {', '.join(rule.formats)}" if rule.formats else "",
        f"on {rule.machines[0]}" if rule.machines else "",
        "without tuning" if rule.untuned else "",
        f"where depthwise convolutions take {rule.depthwise:.0%} of the MACs or more" if rule.depthwise else "",
        f"up to {rule.most_parameters:,} parameters" if rule.most_parameters else "",
    ]
    if held := ", ".join(filter(None, conditions)):
        yield f"said {held}"
    yield rule.source


def explained() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Each rule as a section: its name, what it says, and facts."""
    for rule in rules():
        yield f"{rule.id}  {heading(rule)}", rule.says, tuple(told(rule))


SPELLED = (
    (r"prune[1-9][0-9]?|prune\d:\d", "prune50, prune2:4 and the like"), (r"lowrank\d+", "lowrank50 and the like"), (r"bits[23]|w[23]", "bits2, bits3, w2, w3"),
    (r"prune[5-9]\d.*", "prune50 and more"), (r"cluster\d+", "cluster16 and the like"), (r"channels\d+", "channels50 and the like"),
    (r"w\d.*|bits\d|cluster\d+|ternary|binary", "any step that stores fewer bits"),
)  # fmt: skip
"""How a person would say what steps a regular expression is about."""


def heading(rule: Rule) -> str:
    """What kind of recipe a rule is about, and where: `prune50, prune2:4 and the like, in onnx or executorch`."""
    steps = dict(SPELLED).get(rule.steps, rule.steps.replace("|", ", "))
    where = [f"in {' or '.join(rule.formats)}"] if rule.formats else []
    where += [f"on {rule.machines[0]}"] if rule.machines else []
    return ", ".join([f"{steps} without tuning" if rule.untuned else steps, *where])
