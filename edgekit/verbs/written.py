"""A Task and a route in, the file that the route's workers made, in the recipe's numbers, out; nothing is judged yet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgekit.errors import ConvertError
from edgekit.model import source_of
from edgekit.recipe import Recipe
from edgekit.records import FlexibleAxis, Model
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Job, Outcome, Progress, is_cached, run
from edgekit.toolchains.workers import VERIFY, warm
from edgekit.verbs.compressed import Network
from edgekit.verbs.flexible import fixed, keep
from edgekit.verbs.numbers import counted, integer_ends, numbers_of, put_in
from edgekit.verbs.source import Source
from edgekit.write.format import Format, Steps
from edgekit.write.routes import Route, hub_route
from edgekit.write.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Task:
    """One file to make: all that it depends on but the route."""

    source: Source
    recipe: Recipe
    format: Format
    wishes: Wishes
    network: Network | None = None
    """What is written, where the recipe changes the hub."""

    @property
    def model(self) -> Model:
        """The model, with the hub that is written."""
        return self.source.model if self.network is None else self.network.model

    @property
    def steps(self) -> Steps:
        """How the recipe's numbers reach the format."""
        return self.format.steps_of(self.recipe.numbers, self.recipe.learned)

    @property
    def bounds(self) -> str:
        """The recipe whose bounds the file has to keep against what is written."""
        return self.recipe.numbers if self.network is None else self.network.compression.numbers


@dataclass
class Floats:
    """The float files of one format, each written, or refused, once for all recipes that share it."""

    made: dict[str, Outcome | ConvertError] = field(default_factory=dict)

    def written(self, job: Job, progress: Progress) -> Outcome:
        """A writer's outcome.

        Raises:
            ConvertError: now or the first time.
        """
        key = json.dumps([job.toolchain, str(job.script), str(job.inputs["hub"]), dict(job.options)], sort_keys=True)
        if key not in self.made:
            try:
                self.made[key] = run(job, progress)
            except ConvertError as exc:
                self.made[key] = exc
        found = self.made[key]
        if isinstance(found, ConvertError):
            raise found
        return found


@dataclass(frozen=True, slots=True)
class File:
    """A file as the workers of a route left it, in the cache."""

    path: Path
    steps: tuple[str, ...]
    tools: Mapping[str, str]
    notes: tuple[str, ...]
    told: Mapping[str, Any]
    """What the workers tell of it: `layout`, `ops`, `transposes`, `quantization` of integer inputs and outputs."""
    flexible: tuple[FlexibleAxis, ...] = ()


def write(task: Task, route: Route, floats: Floats, progress: Progress, *, not_flexible: str | None = None) -> File:
    """The file of a route, quantized where the recipe says so; flexible where the format can keep it so and nothing was found wrong with that."""
    fmt = task.format
    if task.steps.quantize is not None and fmt.through is not None:
        return write_through(task, fmt.through, route, floats, progress)
    writer = writing(task, route, task.model.hub)
    if not is_cached(writer):
        warm(fmt.toolchain, VERIFY, str(fmt.runner or fmt.name))
    return with_numbers(task, route, writer, floats, progress, not_flexible)


def write_through(task: Task, other: Format, route: Route, floats: Floats, progress: Progress) -> File:
    """The file of a format that is written from another one's, in which the integers are."""
    model, fmt, first = task.model, task.format, hub_route(other)
    via = replace(task, source=replace(task.source, model=replace(task.source.model, flexible=())), format=other)
    whole = with_numbers(via, first, writing(via, first, model.hub), floats, progress, None)
    writer = writing(task, route, whole.path)
    if not is_cached(writer):
        warm(fmt.toolchain, VERIFY, str(fmt.runner or fmt.name))
    written = floats.written(writer, progress)
    kept = keep(model, fmt, writer, written.folder / f"model{fmt.suffix}", progress)
    tools = {**whole.tools, **versions(route.toolchain, route.tools), **versions(fmt.toolchain, fmt.verify_tools)}
    notes = dict.fromkeys([*whole.notes, *written.result["notes"], *kept.notes])
    told = {**whole.told, "layout": None, "transposes": None, **counted(written.result)}
    return File(kept.file, (*whole.steps, *written.result["route"]), tools, tuple(notes), told, kept.axes)


def with_numbers(task: Task, route: Route, writer: Job, floats: Floats, progress: Progress, not_flexible: str | None) -> File:
    """The file that a writer's job gives, and what puts the recipe's numbers in."""
    model, fmt, recipe = task.model, task.format, task.recipe
    written = floats.written(writer, progress)
    path = written.folder / f"model{fmt.suffix}"
    kept = keep(model, fmt, writer, path, progress) if not_flexible is None else fixed(model, fmt, path, not_flexible)
    path = kept.file
    done = [*written.result["route"]]
    notes = [*model.notes, *written.result["notes"], *kept.notes]
    told = counted(written.result)
    tools = dict(versions(route.toolchain, route.tools))
    numbers = numbers_of(recipe, fmt, task.network)
    if numbers is not None:
        more = partial(equalised, task, route, floats, kept.axes, progress)
        put = put_in(numbers, path, recipe, fmt, task.network, task.source.samples, task.wishes, more, progress)
        path = put.path
        done += put.route
        notes += put.notes
        told = {**told, "ops": None, **counted(put.result)}
        notes += integer_ends(model, told.get("quantization"))
        tools |= versions(fmt.toolchain, fmt.quantize_tools)
    tools |= versions(fmt.toolchain, fmt.verify_tools)
    return File(path, tuple(done), tools, tuple(dict.fromkeys(notes)), told, kept.axes)


def writing(task: Task, route: Route, hub: Path) -> Job:
    """The job that writes the float file."""
    model = task.model
    options = {**task.steps.write_options, **task.wishes.for_writers}
    if not route.native:
        return Job(route.toolchain, route.verb, {"hub": hub}, options)
    shapes = {spec.name: list(spec.shape) for spec in model.inputs}
    return Job(route.toolchain, route.verb, {"model": model.path, "hub": hub, **source_of(model).other_files(model.path)}, {**options, "shapes": shapes})


def equalised(task: Task, route: Route, floats: Floats, axes: tuple[FlexibleAxis, ...], progress: Progress) -> Path | None:
    """The float file of the equalised hub, where there was something to equalise, the route starts at the hub, and the same axes stay flexible."""
    job = Job("convert", "equalise", {"hub": task.model.hub})
    if route.native or (task.network is not None and "palette" in task.network.held):  # scales between channels make many values of a few
        return None
    outcome = run(job, progress)
    if not outcome.result["equalised"]:
        return None
    writer = writing(task, route, outcome.folder / "hub.onnx")
    path = floats.written(writer, progress).folder / f"model{task.format.suffix}"
    if not axes:
        return path
    kept = keep(task.model, task.format, writer, path, progress, lambda hub: run(replace(job, inputs={"hub": hub}), progress).folder / "hub.onnx")
    return kept.file if kept.axes == axes else None


def versions(name: str, packages: Sequence[str]) -> dict[str, str]:
    """Package → locked version of a toolchain's tools that took part."""
    home = toolchain(name)
    return {package: home.version(package) or "not locked" for package in sorted(set(packages))}
