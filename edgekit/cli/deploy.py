"""`edgekit deploy MODEL --target NAME`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgekit.cli import needs, show
from edgekit.cli.advising import advice_option, advise, tell_baseline, tell_budget
from edgekit.cli.converted import held_to
from edgekit.cli.file_notes import print_file_notes
from edgekit.cli.measuring import measuring_options, protocol_from, settings_from
from edgekit.cli.options import (
    MODEL,
    data_option,
    formats_from,
    recipe_option,
    recipes_from,
    shape_option,
    shapes_from,
    target_option,
    tuning_options,
    wish_options,
    wishes_from,
)
from edgekit.cli.say import as_json, err, may_install, print_json, working
from edgekit.device import resolve
from edgekit.errors import DeviceError
from edgekit.model import recognise
from edgekit.places import data_dir
from edgekit.recipe import Recipe
from edgekit.records import Run
from edgekit.toolchains.jobs import cached
from edgekit.units import bytes_text
from edgekit.verbs.auto import kept_within, settled
from edgekit.verbs.auto_files import Limits
from edgekit.verbs.convert import planned
from edgekit.verbs.deploy import Deployment, deploy, runs_there
from edgekit.verbs.source import Source, open_source


@click.command("deploy")
@click.argument("model_path", metavar="MODEL", type=MODEL)
@target_option
@click.option("--to", "to", metavar="FMT,…", help="tflite, coreml, onnx, all (of these), or executorch.  [default: what the device runs]")
@recipe_option
@data_option
@shape_option
@wish_options
@tuning_options
@advice_option
@measuring_options
@may_install
@as_json
def command(
    model_path: Path,
    target: str,
    to: str | None,
    recipe_names: tuple[str, ...],
    data: Path | None,
    shapes: tuple[str, ...],
    threads: int | None,
    cores: str | None,
    install: bool,
    json_wanted: bool,
    no_cache: bool,
    no_advice: bool,
    **options: Any,
) -> int:
    """Convert MODEL, verify it, measure it on a device, and choose what to ship.

    Without --recipe: fp32, fp16 and w8, and w8a8 where --data is given. The run is kept: see `edgekit runs`; one that was cut off
    goes on with what is missing when the command is repeated. Ends with 0 if there is a variant to ship, whatever became of the others,
    unless the device was lost on the way.
    """
    length, settings, wishes = protocol_from(options), settings_from(options), wishes_from(options)
    device = resolve(target)
    recipes = recipes_from(recipe_names, ["fp32", "fp16", "w8", *(["w8a8"] if data else [])], model_path.stem)
    formats, fixed = formats_from(to, runs_there(device.profile)), shapes_from(shapes)
    needs.toolchains(recognise(model_path), formats, install, recipes)
    needs.native(device, settings.runner, install)
    with cached(not no_cache), working(f"connecting to {device.address}") as progress:
        steps: Sequence[Recipe] = recipes
        limits: Limits = {}
        if any(recipe.is_auto for recipe in recipes):
            with open_source(model_path, fixed, data, recipes, formats, progress, wishes) as source:
                place = data_dir() / "recipes" / source.model.sha256[:16]
                steps, limits = settled(source, recipes, formats, wishes, place, tell_budget, progress)
            wishes = replace(wishes, tuning=replace(wishes.tuning, apart=True))  # what was found on training samples is evaluated on others

        def opened(source: Source) -> None:
            tell_baseline(source, progress)
            err.print(f"evaluated on {source.samples.origin}", markup=False)
            if not no_advice:
                has_data = (data or wishes.tuning.train) is not None
                advise(source, planned(source.model, steps, formats, wishes, has_data), device, progress)

        done = deploy(
            model_path,
            device,
            steps,
            formats,
            data=data,
            shapes=fixed,
            protocol=length,
            settings=settings,
            threads=threads,
            cores=cores,
            wishes=wishes,
            opened=opened,
            progress=progress,
        )
    for words in kept_within(recipes, limits, done.run.variants):
        tell_budget(words)
    return finish("deploy", done, json_wanted)


def finish(verb: str, done: Deployment, json_wanted: bool) -> int:
    """Show a run and what it cost; gives the exit code."""
    if json_wanted:
        seconds = {"elapsed_s": done.elapsed_s, "agent_s": done.agent_s, "waited_s": done.waited_s}
        cost = {"pushed_bytes": done.pushed_bytes, **{name: round(value, 3) for name, value in seconds.items()}}
        print_json(verb, {**show.run_json(done.run), "baseline": done.baseline and done.baseline.json, "finished": done.whole, **cost})
    else:
        show.print_run(done.run)
        for words in held_to(done.run.variants, Path(done.run.model_path).name):
            err.print(words, style="dim", markup=False)
        print_file_notes(done.run.variants, f"`edgekit runs show {done.run.id} --json`")
        waited = f", {done.waited_s:.0f} s waiting for it" if done.waited_s else ""
        err.print(f"{done.elapsed_s:.0f} s, {done.agent_s:.0f} s of them on the device{waited}; {bytes_text(done.pushed_bytes)} sent to it", style="dim")
        if not done.whole:
            err.print("the device was lost on the way: repeat the command, and it goes on with what is missing", style="yellow")
        show.print_choice(done.run)
    return exit_code(done.run) if done.whole else DeviceError.exit_code


def exit_code(run: Run) -> int:
    """0 with a choice, or a file that was measured alone; else 5 if the device failed a variant, 4 if no file was right, 1 if none fits."""
    if run.chosen is not None or show.measured_alone(run):
        return 0
    failed = [variant for variant in run.variants if variant.status == "failed"]
    if any((variant.error or "").startswith(run.device_address.rstrip(":") + ":") for variant in failed):
        return 5
    return 4 if failed and not any(variant.status == "ok" for variant in run.variants) else 1
