"""A Run in; the lines around its table out: how it was measured, and what a reader of the figures has to know."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.cli.file_notes import Name, names
from edgekit.decide import not_judged
from edgekit.profile import find
from edgekit.records import Latency, Measurement, Run
from edgekit.units import duration_text

Facet = Callable[[Measurement], str]

FACETS: tuple[Facet, ...] = (
    lambda taken: taken.protocol,
    lambda taken: f"{taken.conditions.runner} runner" if taken.conditions.runner != "benchmark_model" else "benchmark_model",
    lambda taken: "1 thread" if taken.conditions.threads == 1 else f"{taken.conditions.threads} threads",
    lambda taken: cores_text(taken.conditions.cores_asked, taken.conditions.cores),
)
"""What is the same for all variants of a run, unless parts of it were measured at other times."""


def how_measured(run: Run) -> str:
    """`quick · native runner · 1 thread · all cores · LiteRT 2.3.0, ONNX Runtime 1.31.1`; "" where nothing was measured.

    Where variants differ, those of each value are named.
    """
    taken = {f"{one.format} {one.recipe}": one.measurement for one in run.variants if one.measurement and one.measurement.conditions.runtime}
    if not taken:
        return ""
    runtimes = dict.fromkeys(runtime_text(one) for one in taken.values())
    builds = {(runtime_text(one), one.conditions.runtime_build) for one in taken.values()}
    parts = [facet_text(facet, taken) for facet in FACETS] + [", ".join(runtimes)]
    if len(builds) > len(runtimes):  # the same version, built in two ways: not to be compared
        parts.append(facet_text(lambda one: one.conditions.runtime_build, taken))
    return " · ".join(part for part in parts if part)


def facet_text(facet: Facet, taken: dict[str, Measurement]) -> str:
    """What all have in common, else each value with those that have it."""
    values: dict[str, list[str]] = {}
    for name, one in taken.items():
        values.setdefault(facet(one), []).append(name)
    return next(iter(values)) if len(values) == 1 else ", ".join(f"{value} ({', '.join(names)})" for value, names in values.items())


def runtime_text(taken: Measurement) -> str:
    return f"{taken.conditions.runtime} {taken.conditions.runtime_version}".strip()


def cores_text(asked: str, cores: tuple[int, ...]) -> str:
    """`all cores`, `core 0`, `big cores (4, 5)`; as they were asked for, and which those are."""
    if asked == "all":
        return "all cores"
    which = ", ".join(str(core) for core in cores)
    named = "core" if len(cores) == 1 else "cores"
    return f"{asked} {named} ({which})" if asked in ("big", "mid", "little") and which else f"{named} {which}" if which else ""


def interval_text(latency: Latency | None) -> str:
    """The 95 % interval of p50, `12.9–13.1 µs`; `—` where the runner gives none."""
    if latency is None or latency.p50_low_ns is None or latency.p50_high_ns is None:
        return "—"
    low, high = duration_text(latency.p50_low_ns), duration_text(latency.p50_high_ns)
    figure, _, unit = low.partition(" ")
    return f"{figure if high.endswith(f' {unit}') else low}–{high}"


def remarks(run: Run) -> list[str]:
    """Lines below the table: errors, each with all variants that have it, limits that are broken, and limits that could not be held."""
    who: dict[str, list[Name]] = {}
    files = [(variant.format, variant.recipe) for variant in run.variants]
    for variant, file in zip(run.variants, files, strict=True):
        if variant.error:
            who.setdefault(f" {variant.status}: {variant.error}", []).append(file)
        notes = variant.measurement.notes if variant.measurement else ()
        if variant.artifact is not None and not variant.artifact.route:  # a file that was given: what it was compared with
            notes = (*variant.artifact.notes, *notes)
        for note in notes:
            if not (variant.error or "").endswith(note):
                who.setdefault(f": {note}", []).append(file)
        for violation in variant.violations:
            who.setdefault(f" too much for {run.device_name}: {violation.text}", []).append(file)
    profile = find(run.profile) if run.profile else None
    unjudged = dict.fromkeys(line for variant in run.variants if variant.status == "ok" for line in not_judged(variant, profile))
    return [*(f"{names(one, files)}{what}" for what, one in who.items()), *unjudged]
