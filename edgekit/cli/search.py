"""`edgekit search MODEL --target T --data F --budget 30m`."""

from __future__ import annotations

import re
import shlex
import time
import zipfile
from pathlib import Path
from typing import Any

import click

from edgekit.cli import needs, show
from edgekit.cli.advising import tell_baseline
from edgekit.cli.measuring import UNITS_S, measuring_options, protocol_from, settings_from
from edgekit.cli.options import (
    MODEL,
    data_option,
    formats_from,
    plot_option,
    plot_place,
    seconds_from,
    shape_option,
    shapes_from,
    target_option,
    tuning_options,
)
from edgekit.cli.say import as_json, err, may_install, print_json, working
from edgekit.cli.search_shown import body, draw, print_search
from edgekit.device import resolve
from edgekit.errors import InputError
from edgekit.files import sha256_tree
from edgekit.model import open_model, recognise
from edgekit.recipe import Recipe, parse
from edgekit.records import Model
from edgekit.samples import prepare
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Progress
from edgekit.verbs.deploy import Deployment, deploy, runs_there
from edgekit.verbs.search import Weighing, name_of, search
from edgekit.verbs.search_budget import Budget
from edgekit.verbs.search_front import MOST_LOST_POINTS, Tried
from edgekit.verbs.search_space import Space
from edgekit.verbs.source import Source
from edgekit.write.format import Format
from edgekit.write.wishes import Tuning, Wishes

SPACE = 2
"""Goes up with what a search may choose from: trials of another choice cannot teach its sampler."""


@click.command("search")
@click.argument("model_path", metavar="MODEL", type=MODEL)
@target_option
@click.option("--to", "to", metavar="FMT,…", help="tflite, coreml, onnx, all (of these), or executorch.  [default: what the device runs]")
@data_option
@click.option("--parity", is_flag=True, help="Judge by parity with the model instead of accuracy; --data may then be left out.")
@shape_option
@click.option("--budget", metavar="30m", help="No trial is begun that is expected to end later.  [default: 30m, or none with --trials]")
@click.option("--trials", type=click.IntRange(min=1), help="So many trials at the most.")
@click.option("--drop", type=click.FloatRange(0, 100), default=MOST_LOST_POINTS, show_default=True, help="Points of accuracy that a shown file may lose.")
@plot_option("Draw the front into this .svg.")
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
    drop: float,
    plot: Path | None,
    threads: int | None,
    cores: str | None,
    install: bool,
    json_wanted: bool,
    **options: Any,
) -> int:
    """Try recipes and strengths for MODEL on a device, and show which are worth having.

    Each trial is converted, verified and measured as by `edgekit deploy`, and kept; the same command goes on where it was. Ends with
    the Pareto front of accuracy, latency, download size and memory, beyond what is noise, and with the one to ship, by the rule of
    `deploy`. Recipes that tune are tried early: each tuning takes a fifth of what is left of the budget at most, or --tune-time.
    """
    started = time.monotonic()
    length, settings, fixed = protocol_from(options), settings_from(options), shapes_from(shapes)
    limit = Budget(budget_from(budget, None if trials else "30m"), trials, seconds_from(options["tune_time"]))
    labelled = not parity
    if labelled and (data is None or not has_labels(data)):
        lacking = "none are given" if data is None else f"{data} has none"
        raise InputError(f"a search weighs accuracy, and that needs samples with labels, of which {lacking}: give --data with them, or judge by --parity")
    plot_place(plot)
    device = resolve(target)
    formats = formats_from(to, runs_there(device.profile))
    needs.toolchains(recognise(model_path), formats, install)
    needs.native(device, settings.runner, install)

    def tuning_of(recipe: Recipe, tune_s: float | None) -> Tuning:
        seed = options["seed"] if recipe.changes_hub else 0
        return Tuning(options["train"], options["epochs"] if recipe.tunes else None, tune_s, seed, apart)

    told: list[str] = []

    def opened(source: Source) -> None:
        if not told:
            told.append(source.model.sha256)
            tell_baseline(source, progress)

    def attempt(recipe: Recipe, fmt: Format, tune_s: float | None, say: Progress) -> Deployment:
        measuring = {"protocol": length, "settings": settings, "threads": threads, "cores": cores, "search": name}
        wishes = Wishes(tuning=tuning_of(recipe, tune_s))
        return deploy(model_path, device, [recipe], [fmt], data=data, shapes=fixed, wishes=wishes, opened=opened, progress=say, **measuring)  # type: ignore[arg-type]

    def again(one: Tried) -> str:
        return convert_command(model_path, one, data, shapes, tuning_of(parse(one.recipe), one.tune_s))

    with working(f"reading {model_path.name}") as progress:
        model = open_model(model_path, fixed, progress)
        space = Space(formats, calibrated=data is not None, tuned=data is not None and can_tune(model, data, options["train"], progress))
        apart = space.tuned or options["train"] is not None  # all trials are evaluated on the same samples, whether they tune or not
        asked = {
            "model": model.sha256,
            "device": device.address,
            "data": None if data is None else sha256_tree(data),
            "parity": parity,
            "shapes": {name: list(map(str, axes)) for name, axes in fixed.items()},
            "measuring": [length.name, repr(settings), threads, cores],
            "tuning": [str(options[name]) for name in ("train", "epochs", "tune_time", "seed")],
            "space": SPACE,
        }
        classes = int(model.outputs[0].shape[-1]) if model.outputs[0].shape else 0
        name = name_of(asked, space)
        found = search(name, space, attempt, limit, Weighing(labelled, classes, drop), started, progress)
    title = f"{model_path.name} on {device.name}"
    if plot is not None:
        draw(plot, found, title, labelled)
        err.print(f"drawn in {plot}", style="dim")
    if json_wanted:
        what = {"search": name, "model": show.model_json(model), "device": {"name": device.name, "address": device.address}}
        print_json("search", {**what, **body(found, labelled, again)})
    else:
        print_search(found, title, labelled, again)
    return 0 if found.front.shown else 4


def convert_command(model_path: Path, one: Tried, data: Path | None, shapes: tuple[str, ...], tuning: Tuning) -> str:
    """What makes a trial's file again."""
    recipe = parse(one.recipe)
    trained = tuning.train if recipe.tunes or recipe.uses_calibration else None
    words = ["edgekit", "convert", str(model_path), "--to", one.format, "--recipe", one.recipe]
    words += [word for shape in shapes for word in ("--shape", shape)]
    limit = None if tuning.seconds is None else f"{tuning.seconds:g}s"
    given = {"--data": data, "--train": trained, "--epochs": tuning.epochs, "--tune-time": limit, "--seed": tuning.seed or None}
    words += [word for option, value in given.items() if value is not None for word in (option, str(value))]
    return shlex.join([*words, "-o", "DIR"])


def has_labels(data: Path) -> bool:
    """Whether a file of samples has the array `labels`; what is no such file is refused when it is read."""
    return not zipfile.is_zipfile(data) or "labels.npy" in zipfile.ZipFile(data).namelist()


def can_tune(model: Model, data: Path, train: Path | None, progress: Progress) -> bool:
    """Whether trials may tune: says what is missing, if something is.

    Raises:
        InputError: --train is given, and cannot be used.
    """
    if not toolchain("torch").installed:
        err.print("nothing is tuned: for that, `edgekit toolchains install torch`", style="dim")
        return False
    try:
        prepare(model, data, True, progress, training=True, train=train)
    except InputError as exc:
        if train is not None:
            raise
        err.print(f"nothing is tuned: {exc}", style="dim", markup=False)
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
