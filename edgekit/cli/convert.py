"""`edgekit convert MODEL --to … --recipe … -o DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekit.cli import needs, show
from edgekit.cli.advising import advice_option, advise, tell_baseline, tell_budget
from edgekit.cli.converted import held_to, print_conversions
from edgekit.cli.file_notes import print_file_notes
from edgekit.cli.options import (
    MODEL,
    data_option,
    formats_from,
    layout_option,
    recipe_option,
    recipes_from,
    shape_option,
    shapes_from,
    tuning_options,
    wish_options,
    wishes_from,
)
from edgekit.cli.say import as_json, err, may_install, print_json, working
from edgekit.files import require_place
from edgekit.model import recognise
from edgekit.toolchains.jobs import cached
from edgekit.verbs.auto import kept_within, settled
from edgekit.verbs.convert import convert, planned
from edgekit.verbs.source import open_source


@click.command("convert")
@click.argument("model_path", metavar="MODEL", type=MODEL)
@click.option("--to", "to", metavar="FMT,…", help="tflite, coreml, onnx, all (of these), or executorch.  [default: all]")
@recipe_option
@data_option
@shape_option
@layout_option
@wish_options
@tuning_options
@advice_option
@click.option("-o", "--out", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where the files go.")
@may_install
@as_json
def command(
    model_path: Path,
    to: str | None,
    recipe_names: tuple[str, ...],
    data: Path | None,
    shapes: tuple[str, ...],
    folder: Path,
    install: bool,
    json_wanted: bool,
    no_cache: bool,
    no_advice: bool,
    **options: Any,
) -> int:
    """Write MODEL in every format and recipe asked for, verified against the model's own framework.

    Each file is DIR/<model>.<recipe>.<ext> with its lineage beside it as .json. A file that computes something else is not
    delivered. Without --recipe: fp32. Ends with 4 if a variant failed; one that its format cannot carry is skipped and says why.
    """
    require_place(folder)
    recipes, formats, fixed = recipes_from(recipe_names, ["fp32"], model_path.stem), formats_from(to, ["all"]), shapes_from(shapes)
    wishes = wishes_from(options)
    needs.toolchains(recognise(model_path), formats, install, recipes)
    with (
        cached(not no_cache),
        working(f"reading {model_path.name}") as progress,
        open_source(model_path, fixed, data, recipes, formats, progress, wishes) as source,
    ):
        tell_baseline(source, progress)
        steps, limits = settled(source, recipes, formats, wishes, folder, tell_budget, progress)
        if not no_advice:
            has_data = (data or wishes.tuning.train) is not None
            advise(source, planned(source.model, steps, formats, wishes, has_data), None, progress)
        variants = convert(source, steps, formats, lambda sha256: folder, progress, wishes)
        own = source.baseline(progress)
    for words in kept_within(recipes, limits, variants):
        tell_budget(words)
    if json_wanted:
        print_json(
            "convert",
            {"model": show.model_json(source.model), "baseline": own and own.json, "artifacts": [show.artifact_json(variant) for variant in variants]},
        )
    else:
        print_conversions(variants)
        for variant in variants:
            if variant.error:
                err.print(f"{variant.format} {variant.recipe} {variant.status}: {variant.error}")
        for words in held_to(variants, model_path.name):
            err.print(words, style="dim", markup=False)
        print_file_notes(variants, "the .json beside each file")
        err.print(f"compared with {source.reference.runtime} on {source.samples.origin}")
    return 4 if any(variant.status == "failed" for variant in variants) else 0
