"""A Model, a recipe, a format and its routes in, one verified Artifact out: by the first route whose file is right."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgekit.deflate import download_bytes
from edgekit.errors import ConvertError
from edgekit.files import copy, parts, sha256_tree, size_bytes
from edgekit.model import source_of
from edgekit.recipe import Recipe
from edgekit.records import Artifact, FlexibleAxis, Layout, Model, Quantization
from edgekit.records_json import from_json
from edgekit.toolchains.beside import beside
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Job, Outcome, Progress, digests, is_cached, run
from edgekit.toolchains.workers import VERIFY, warm
from edgekit.verbs.compressed import Network
from edgekit.verbs.flexible import fixed, keep, verify_sizes
from edgekit.verbs.lineage import write_lineage
from edgekit.verbs.numbers import counted, integer_ends, numbers_of, put_in
from edgekit.verbs.source import Source
from edgekit.verify import verify
from edgekit.write.format import Format, Steps
from edgekit.write.routes import Route
from edgekit.write.wishes import Wishes

Place = Callable[[str], Path]
"""The folder for a file of a digest: the user's own, or one by content."""


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


def make(task: Task, routes: Sequence[Route], floats: Floats, place: Place, progress: Progress) -> tuple[Artifact, str | None]:
    """Write, quantize, verify and deliver one file; the words say what is wrong with it, if anything is.

    Each route is tried until one gives a file that is right. A file that is wrong is not delivered: its Artifact keeps the figures and
    the path in the cache.

    Raises:
        ConvertError: all routes were refused or failed.
    """
    left: dict[str, str] = {}
    refused: ConvertError | None = None
    wrong: Artifact | None = None
    for route in routes:
        say = progress if not left else lambda text, fraction, name=route.name: progress(f"{name}: {text}", fraction)
        try:
            file, artifact, words = made(task, route, floats, say)
        except ConvertError as exc:
            left[route.name] = str(exc)
            refused = refused or exc
            continue
        if words is None:
            told = tuple(f"{name} was left ({why}); {route.name} was taken" for name, why in left.items())
            artifact = replace(artifact, notes=(*artifact.notes, *told))
            return deliver(task, file, artifact, place, {**left, route.name: "taken"}), None
        left[route.name] = words
        wrong = wrong or artifact
    first = next(iter(left.values()))
    words = first + "".join(f"; tried next: {name}: {'the same' if why == first else why}" for name, why in [*left.items()][1:])
    if wrong is not None:
        return wrong, words
    assert refused is not None
    raise refused if len(left) == 1 else ConvertError(words, op=refused.op, node=refused.node) from refused


def made(task: Task, route: Route, floats: Floats, progress: Progress) -> tuple[File, Artifact, str | None]:
    """The file of a route, and what is wrong with it.

    A flexible one that is wrong, be it at one size only, is made again with fixed sizes; where flexible ones were asked for, a float file
    is refused instead, and a quantized one is fixed all the same.
    """
    quantized = task.steps.quantize is not None
    try:
        file = write(task, route, floats, progress)
    except ConvertError as exc:
        if not quantized or not task.model.flexible:
            raise
        return again(task, route, floats, str(exc), progress)
    if not file.flexible:
        return file, *judge(task, file, progress)
    try:
        artifact, words = judge(task, file, progress)
        if words is None:
            source = task.source
            sized = verify_sizes(file.path, task.format, task.recipe.name, source.model, file.flexible, source.samples, file.told, progress)
            artifact, words = replace(artifact, flexible=file.flexible, verified_sizes=sized.sizes), sized.wrong
        if words is None:
            return file, artifact, None
    except ConvertError as exc:
        words = str(exc)
    if any(axis.asked for axis in file.flexible) and not quantized:
        raise ConvertError(f"as a flexible file it is wrong ({words}): give fixed sizes with --shape")
    return again(task, route, floats, words, progress)


def again(task: Task, route: Route, floats: Floats, reason: str, progress: Progress) -> tuple[File, Artifact, str | None]:
    """The file of a route with fixed sizes, and what is wrong with it; the reason is noted."""
    file = write(task, route, floats, progress, not_flexible=reason)
    return file, *judge(task, file, progress)


def write(task: Task, route: Route, floats: Floats, progress: Progress, *, not_flexible: str | None = None) -> File:
    """The file of a route, quantized where the recipe says so; flexible where the format can keep it so and nothing was found wrong with that."""
    model, fmt, recipe = task.model, task.format, task.recipe
    writer = writing(task, route, model.hub)
    if not is_cached(writer):
        warm(fmt.toolchain, VERIFY, str(fmt.runner or fmt.name))
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


def judge(task: Task, file: File, progress: Progress) -> tuple[Artifact, str | None]:
    """The file as an Artifact with its figures, and what is wrong with it."""
    path = file.path
    if len(parts(path)) > 1:
        raise ConvertError(f"the {task.recipe.name} file takes more than 2 GB, for which ONNX needs a second file beside it: use fp16, w8 or w4")
    sha256, *_ = digests(path)
    with beside(lambda: download_bytes(path)) as deflated:
        source, how = task.source, file.told.get("quantization")
        layout, transposes = file.told.get("layout"), file.told.get("transposes")
        held, whose = (source.reference, None) if task.network is None else (task.network.reference, source.reference)
        verdict = verify(path, task.format, task.bounds, task.model, source.samples, held, progress, how, layout, whose)
    artifact = Artifact(
        model_sha256=task.source.model.sha256,
        recipe=task.recipe.name,
        format=task.format.name,
        path=path,
        sha256=sha256,
        size_bytes=size_bytes(path),
        download_bytes=deflated.result(),
        route=file.steps,
        tools=file.tools,
        parity=verdict.parity,
        accuracy=verdict.accuracy,
        notes=(*changed(task), *file.notes, *below(task, verdict.parity.sqnr_db, file.told.get("judged"))),
        layout=None if layout is None else from_json(Layout, layout),
        ops=file.told.get("ops"),
        transposes=None if transposes is None else tuple(transposes),
        quantization=None if how is None else from_json(Quantization, how),
        compression=None if task.network is None else task.network.compression,
        agreement=verdict.agreement,
    )
    return artifact, verdict.wrong


def changed(task: Task) -> list[str]:
    """What the recipe's steps did to the network."""
    if task.network is None:
        return []
    fixed_sizes = [f"all sizes are fixed: {task.recipe.name} changes the network at one"] if task.source.model.flexible else []
    return [*fixed_sizes, *(note for step in task.network.compression.steps for note in step.notes)]


def below(task: Task, found_db: float, judged: str | None) -> list[str]:
    """What to know of a file that kept the floor asked for where it was chosen, and not where it is checked."""
    floor, samples = task.wishes.keep_float, task.source.samples
    if floor is None or isinstance(floor, str) or found_db >= floor:
        return []
    kept = "" if judged is None else f" and are kept on {judged}"
    found = f"on the {samples.n_evaluation} evaluation samples it is {found_db:.1f} dB"
    return [f"{floor:g} dB were asked for{kept}; {found}: ask for a little more, or give more --data"]


def deliver(task: Task, file: File, artifact: Artifact, place: Place, tried: Mapping[str, str]) -> Artifact:
    """Copy a file that is right to its place, with its lineage beside it; the Artifact there."""
    final = place(artifact.sha256) / f"{task.source.model.path.stem}.{task.recipe.file_name}{task.format.suffix}"
    if not final.exists() or sha256_tree(final) != artifact.sha256:
        copy(file.path, final)
    delivered = replace(artifact, path=final)
    write_lineage(task.source.model, task.source.samples, task.source.reference, delivered, task.wishes, tried)
    return delivered


def versions(name: str, packages: Sequence[str]) -> dict[str, str]:
    """Package → locked version of a toolchain's tools that took part."""
    home = toolchain(name)
    return {package: home.version(package) or "not locked" for package in sorted(set(packages))}
