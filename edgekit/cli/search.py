"""`edgekit search MODEL --target T --data F --budget 30m`."""

from __future__ import annotations

import re
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from edgekit.cli import needs, show
from edgekit.cli.advising import tell_baseline
from edgekit.cli.measuring import UNITS_S, measuring_options, protocol_from, settings_from
from edgekit.cli.options import MODEL, data_option, formats_from, seconds_from, shape_option, shapes_from, target_option, tuning_options
from edgekit.cli.say import Column, as_json, err, may_install, out, print_json, print_table, working
from edgekit.device import resolve
from edgekit.errors import InputError
from edgekit.files import require_place, sha256_tree, write_text
from edgekit.model import open_model, recognise
from edgekit.recipe import Recipe
from edgekit.records import Model
from edgekit.samples import prepare
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Progress
from edgekit.units import bytes_text, duration_text
from edgekit.verbs.deploy import Deployment, deploy, runs_there
from edgekit.verbs.search import Budget, Search, search
from edgekit.verbs.search_front import Tried
from edgekit.verbs.search_space import Space
from edgekit.verbs.source import Source
from edgekit.write.format import Format
from edgekit.write.wishes import Tuning, Wishes

TUNE_SHARE = 0.125
"""Of the budget, at the most, for each tuning, where --tune-time says nothing."""

LARGEST_DOT, SMALLEST_DOT = 14.0, 3.0
"""Radius in pixels of the largest download's dot, and of none."""


@click.command("search")
@click.argument("model_path", metavar="MODEL", type=MODEL)
@target_option
@click.option("--to", "to", metavar="FMT,…", help="tflite, coreml, onnx or all.  [default: what the device runs]")
@data_option
@click.option("--parity", is_flag=True, help="Judge by parity with the model instead of accuracy; --data may then be left out.")
@shape_option
@click.option("--budget", metavar="30m", help="No trial is begun that would end later.  [default: 30m, or none with --trials]")
@click.option("--trials", type=click.IntRange(min=1), help="So many trials at the most.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the front into this .svg.")
@tuning_options
@measuring_options
@may_install
@as_json
def command(
    model_path: Path,
    target: str,
    to: str | None,
    data: Path | None,
    parity: bool,
    shapes: tuple[str, ...],
    budget: str | None,
    trials: int | None,
    plot: Path | None,
    threads: int | None,
    cores: str | None,
    install: bool,
    json_wanted: bool,
    **options: Any,
) -> int:
    """Try recipes and strengths for MODEL on a device, and show which are worth having.

    Each trial is converted, verified and measured as by `edgekit deploy`, and kept; the same command goes on where it was. Ends with
    the Pareto front of accuracy, latency, download size and memory: files of which no other is better in one and worse in none.
    """
    started = time.monotonic()
    length, settings, fixed = protocol_from(options), settings_from(options), shapes_from(shapes)
    limit = Budget(budget_from(budget, None if trials else "30m"), trials)
    labelled = not parity
    if labelled and (data is None or not has_labels(data)):
        lacking = "none are given" if data is None else f"{data} has none"
        raise InputError(f"a search weighs accuracy, and that needs samples with labels, of which {lacking}: give --data with them, or judge by --parity")
    if plot is not None:
        if plot.suffix != ".svg":
            raise InputError(f"--plot {plot} is drawn as SVG: give a name that ends in .svg")
        require_place(plot.parent)
    device = resolve(target)
    formats = formats_from(to, runs_there(device.profile))
    needs.toolchains(recognise(model_path), formats, install)
    needs.native(device, settings.runner, install)

    tune_s = seconds_from(options["tune_time"]) or (limit.seconds and limit.seconds * TUNE_SHARE)

    told: list[str] = []

    def opened(source: Source) -> None:
        if not told:
            told.append(source.model.sha256)
            tell_baseline(source, progress)

    def attempt(recipe: Recipe, fmt: Format, say: Progress) -> Deployment:
        tuned = Tuning(options["train"], options["epochs"], tune_s, apart=apart) if recipe.tunes else Tuning(apart=apart)
        wishes = Wishes(tuning=replace(tuned, seed=options["seed"] if recipe.changes_hub else 0))
        measuring = {"protocol": length, "settings": settings, "threads": threads, "cores": cores}
        return deploy(model_path, device, [recipe], [fmt], data=data, shapes=fixed, wishes=wishes, opened=opened, progress=say, **measuring)  # type: ignore[arg-type]

    with working(f"reading {model_path.name}") as progress:
        model = open_model(model_path, fixed, progress)
        space = Space(formats, calibrated=data is not None, tuned=data is not None and can_tune(model, data, options["train"], progress))
        apart = space.tuned and options["train"] is None  # all trials are evaluated on the same samples, whether they tune or not
        asked = {
            "model": model.sha256,
            "device": device.address,
            "data": None if data is None else sha256_tree(data),
            "parity": parity,
            "shapes": {name: list(map(str, axes)) for name, axes in fixed.items()},
            "measuring": [length.name, repr(settings), threads, cores],
            "tuning": [str(options[name]) for name in ("train", "epochs", "tune_time", "seed")],
        }
        found = search(asked, space, attempt, limit, labelled, started, progress)
    if plot is not None:
        draw(plot, found, f"{model_path.name} on {device.name}", labelled)
        err.print(f"drawn in {plot}", style="dim", soft_wrap=True)
    if json_wanted:
        print_json("search", {"model": show.model_json(model), "device": {"name": device.name, "address": device.address}, **body(found, labelled)})
    else:
        print_search(found, labelled)
    return 0 if found.front else 4


def has_labels(data: Path) -> bool:
    """Whether a file of samples has the array `labels`; what is no such file is refused when it is read."""
    return not zipfile.is_zipfile(data) or "labels.npy" in zipfile.ZipFile(data).namelist()


def can_tune(model: Model, data: Path, train: Path | None, progress: Progress) -> bool:
    """Whether trials may tune: says what is missing, if something is."""
    if not toolchain("torch").installed:
        err.print("nothing is tuned: for that, `edgekit toolchains install torch`", style="dim")
        return False
    try:
        prepare(model, data, True, progress, training=True, train=train)
    except InputError as exc:
        err.print(f"nothing is tuned: {exc}", style="dim", soft_wrap=True, markup=False)
        return False
    return True


def budget_from(word: str | None, default: str | None) -> float | None:
    """`30m`, `90s` or `2h`.

    Raises:
        InputError: not of that form.
    """
    text = word or default
    if text is None:
        return None
    read = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not read or not float(read[1]):
        raise InputError(f"--budget {text!r} is not a length of time: give one such as 30m, 90s or 2h")
    return float(read[1]) * UNITS_S[read[2]]


def body(found: Search, labelled: bool) -> dict[str, Any]:
    """The body of edgekit.search/1, after the model and the device."""
    numbers = {one.number for one in found.front}
    return {
        "quality": "accuracy" if labelled else "sqnr_db",
        "trials": [trial_json(one, one.number in numbers) for one in found.trials],
        "front": [{"recipe": one.recipe, "format": one.format, "run": one.run} for one in found.front],
        "new": found.new,
        "stopped": found.stopped,
        "elapsed_s": round(found.elapsed_s, 3),
    }


def trial_json(one: Tried, on_front: bool) -> dict[str, Any]:
    values = one.values
    weighed = {name: getattr(values, name, None) for name in ("quality", "p50_ns", "download_bytes")} | {
        "peak_rss_bytes": (values and values.peak_rss_bytes) or None
    }
    told = {"number": one.number, "recipe": one.recipe, "format": one.format, "status": "ok" if values else "failed", "error": one.error}
    return {**told, **weighed, "on_front": on_front, "elapsed_s": round(one.elapsed_s, 3), "run": one.run}


def print_search(found: Search, labelled: bool) -> None:
    """The front, and what became of the other trials."""
    columns = [Column("variant"), Column("accuracy" if labelled else "SQNR", right=True), Column("p50", right=True), Column("download", right=True)]
    columns += [Column("peak memory", right=True, drop=1), Column("run", drop=2)]
    rows: list[list[str | Text]] = []
    for one in found.front:
        if one.values is not None:
            memory = bytes_text(one.values.peak_rss_bytes or None)
            quality = quality_text(one.values.quality, labelled)
            rows.append([f"{one.format} {one.recipe}", quality, duration_text(one.values.p50_ns), bytes_text(one.values.download_bytes), memory, one.run or ""])
    if rows:
        print_table(columns, rows)
    failed = [one for one in found.trials if one.values is None]
    for one in failed:
        err.print(f"{one.format} {one.recipe} failed: {one.error}", style="dim", soft_wrap=True, markup=False)
    out.print(f"[bold]{len(rows)}[/bold] of {len(found.trials)} trials are on the front, {len(failed)} failed; {found.new} are new", soft_wrap=True)
    err.print(f"{found.elapsed_s:.0f} s; ended: {found.stopped}; the same command goes on with more", style="dim", soft_wrap=True)


def quality_text(quality: float, labelled: bool) -> str:
    if labelled:
        return f"{quality:.1%}"
    return "exact" if quality >= show.EXACT_DB else f"{quality:.0f} dB"


def draw(path: Path, found: Search, title: str, labelled: bool) -> None:
    """Quality over latency, the larger the dot the larger the download; those on the front are joined."""
    import pygal
    from pygal.style import CleanStyle

    axis = "accuracy" if labelled else "SQNR, dB"
    chart = pygal.XY(style=CleanStyle, title=f"{title}: dots as large as the download", x_title="p50, ms", y_title=axis, js=[], dots_size=SMALLEST_DOT)
    largest = max((one.values.download_bytes for one in found.trials if one.values), default=1)
    numbers = {one.number for one in found.front}

    def dot(one: Tried) -> dict[str, Any]:
        assert one.values is not None
        radius = SMALLEST_DOT + (LARGEST_DOT - SMALLEST_DOT) * (one.values.download_bytes / largest) ** 0.5
        label = f"{one.format} {one.recipe}: {bytes_text(one.values.download_bytes)}"
        return {"value": (one.values.p50_ns / 1e6, min(one.values.quality, show.EXACT_DB)), "label": label, "node": {"r": radius}}

    chart.add("front", [dot(one) for one in found.front], stroke=False)
    chart.add("others", [dot(one) for one in found.trials if one.values and one.number not in numbers], stroke=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, chart.render(is_unicode=True))
