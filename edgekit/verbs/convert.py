"""A Model, recipes and formats in, verified Artifacts out; one that fails does not stop the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgekit.errors import ConvertError, InputError
from edgekit.files import copy, download_bytes, sha256_tree, size_bytes, write_text
from edgekit.model import Shapes, open_model
from edgekit.recipe import Recipe
from edgekit.records import Artifact, Model, Samples, Variant
from edgekit.records_json import to_json
from edgekit.samples import Reference, prepare, reference
from edgekit.toolchains.beside import beside
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Job, Progress, end_warm, is_cached, run, warm
from edgekit.verify import verify
from edgekit.write.format import Format

OnVariant = Callable[[Variant], None]
Place = Callable[[str], Path]
"""The folder for a file of a digest: the user's own, or one by content."""


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


@contextmanager
def open_source(path: Path, shapes: Shapes, data: Path | None, recipes: Sequence[Recipe], formats: Sequence[Format], progress: Progress) -> Iterator[Source]:
    """Read the model; read the data and run the model in its own framework beside what follows.

    Raises:
        InputError: nothing asked for can be tried: each format refuses each recipe, or the data does not fit.
    """
    refuse_hopeless(recipes, formats, has_data=data is not None)
    calibrate = any(recipe.needs_calibration for recipe in recipes)
    try:
        first = formats[0]
        model = open_model(path, shapes, progress, before_reading=partial(warm, first.toolchain, first.write_verb))

        def prepare_checks() -> tuple[Samples, Reference]:
            samples = prepare(model, data, calibrate, progress)
            return samples, reference(model, samples, progress)

        with beside(prepare_checks) as checks:
            if data is not None:
                checks.result()  # data that does not fit is refused before anything is written
            yield Source(model, checks)
    finally:
        end_warm()


def convert(source: Source, recipes: Sequence[Recipe], formats: Sequence[Format], place: Place, progress: Progress) -> tuple[Variant, ...]:
    """Write every recipe in every format as `<model>.<recipe>.<suffix>`, each with its lineage beside it; no variant has a measurement."""
    variants = []
    for fmt in formats:
        for recipe in recipes:
            variants.append(attempt(source, recipe, fmt, place, prefixed(f"{fmt.name} {recipe.name}", progress)))
    return tuple(variants)


def prefixed(name: str, progress: Progress) -> Progress:
    """Progress that says which variant it is about."""
    return lambda text, fraction: progress(f"{name}: {text}", fraction)


def attempt(source: Source, recipe: Recipe, fmt: Format, place: Place, progress: Progress) -> Variant:
    """One (recipe, format): `ok`, `failed` with the reason, or `skipped` because the format cannot carry the recipe."""
    refusal = refusal_of(recipe, fmt, has_data=not recipe.needs_calibration or source.samples.calibration is not None)
    if refusal is not None:
        return Variant(recipe.name, fmt.name, "skipped", refusal, None, None)
    try:
        artifact, words = make(source, recipe, fmt, place, progress)
    except ConvertError as exc:
        return Variant(recipe.name, fmt.name, "failed", str(exc), None, None)
    if words is not None:
        return Variant(recipe.name, fmt.name, "failed", words, artifact, None)
    return Variant(recipe.name, fmt.name, "ok", None, artifact, None)


def make(source: Source, recipe: Recipe, fmt: Format, place: Place, progress: Progress) -> tuple[Artifact, str | None]:
    """Write, quantize, verify and deliver one file; the words say what is wrong with it, if anything is.

    A file that is wrong is not delivered: its Artifact keeps the figures and the path in the cache.

    Raises:
        ConvertError: a worker refused or failed.
    """
    model = source.model
    steps = fmt.recipes[recipe.name]
    write = Job(fmt.toolchain, fmt.write_verb, {"hub": model.hub}, steps.write_options)
    if not is_cached(write):
        warm(fmt.toolchain, "verify", fmt.name)
    written = run(write, progress)
    file = written.folder / f"model{fmt.suffix}"
    route = list(written.result["route"])
    notes = [*model.notes, *written.result["notes"]]
    tools = list(fmt.write_tools)
    if steps.quantize is not None:
        inputs = {"float": file}
        if recipe.needs_calibration and source.samples.calibration is not None:
            inputs["calibration"] = source.samples.calibration
        quantized = run(Job(fmt.toolchain, fmt.quantize_verb, inputs, {"recipe": steps.quantize}), progress)
        file = quantized.folder / f"model{fmt.suffix}"
        route += quantized.result["route"]
        notes += quantized.result["notes"]
        tools += fmt.quantize_tools
    with beside(lambda: (sha256_tree(file), download_bytes(file))) as figures:
        verdict = verify(file, fmt, recipe.name, model, source.samples, source.reference, progress)
        sha256, deflated = figures.result()
    final = place(sha256) / f"{model.path.stem}.{recipe.name}{fmt.suffix}"
    artifact = Artifact(
        model_sha256=model.sha256,
        recipe=recipe.name,
        format=fmt.name,
        path=final,
        sha256=sha256,
        size_bytes=size_bytes(file),
        download_bytes=deflated,
        route=tuple(route),
        tools=versions(fmt, [*tools, *fmt.verify_tools]),
        parity=verdict.parity,
        accuracy=verdict.accuracy,
        notes=tuple(dict.fromkeys(notes)),
    )
    if verdict.wrong is not None:
        return replace(artifact, path=file), verdict.wrong
    if not final.exists() or sha256_tree(final) != sha256:
        copy(file, final)
    write_text(lineage_path(final), json.dumps(lineage(source, artifact), indent=1) + "\n")
    return artifact, None


def lineage_path(artifact: Path) -> Path:
    """`model.w8a8.tflite` → `model.w8a8.tflite.json`."""
    return artifact.with_name(artifact.name + ".json")


def lineage(source: Source, artifact: Artifact) -> dict[str, Any]:
    """Where a file comes from: enough to make it again and to check it."""
    from importlib.metadata import version

    model = source.model
    return {
        "schema": "edgekit.lineage/1",
        "edgekit": version("edgekit-mobile"),
        "model": {"path": str(model.path), "source": model.source, "sha256": model.sha256, "hub_sha256": model.hub_sha256},
        "inputs": [to_json(spec) for spec in model.inputs],
        "outputs": [to_json(spec) for spec in model.outputs],
        "samples": {"origin": source.samples.origin, "calibration": source.samples.n_calibration, "evaluation": source.samples.n_evaluation},
        "reference": source.reference.runtime,
        "artifact": {**to_json(artifact), "path": artifact.path.name},
    }


def versions(fmt: Format, packages: Sequence[str]) -> dict[str, str]:
    """Package → locked version of the tools that took part."""
    home = toolchain(fmt.toolchain)
    return {package: home.version(package) or "not locked" for package in sorted(set(packages))}


def refusal_of(recipe: Recipe, fmt: Format, has_data: bool) -> str | None:
    """Why a format will not be tried with a recipe, or None."""
    if recipe.name in fmt.refusals:
        return fmt.refusals[recipe.name]
    if recipe.name not in fmt.recipes:
        return f"{fmt.title} does not carry {recipe.name}: use one of {', '.join(fmt.recipes)}"
    if recipe.needs_calibration and not has_data:
        return f"{recipe.name} is calibrated on samples: give some with --data"
    return None


def refuse_hopeless(recipes: Sequence[Recipe], formats: Sequence[Format], has_data: bool) -> None:
    """Refuse before any work where nothing asked for can be made.

    Raises:
        InputError: with the first reason.
    """
    refusals = [refusal_of(recipe, fmt, has_data) for fmt in formats for recipe in recipes]
    if refusals and all(refusals):
        raise InputError(f"nothing to make: {refusals[0]}")
