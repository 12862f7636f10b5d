"""`edgekit sensitivity MODEL --data F`: which layers can be made small, and which cannot."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from edgekit.cli import needs, show
from edgekit.cli.heat_map import decibels, heat, heat_map
from edgekit.cli.options import MODEL, data_option, plot_option, plot_place, shape_option, shapes_from
from edgekit.cli.say import Column, as_json, err, may_install, out, print_json, print_table, samples_text, working
from edgekit.files import write_text
from edgekit.model import recognise
from edgekit.toolchains.jobs import cached
from edgekit.units import bytes_text
from edgekit.verbs.sensitivity import Found, Sensitivity, sensitivity, steps_of
from edgekit.write.format import format_named

MOST_REFUSALS = 4
"""Reasons shown below the table."""


@click.command("sensitivity")
@click.argument("model_path", metavar="MODEL", type=MODEL)
@data_option
@shape_option
@click.option("--technique", metavar="NAME,…", help="quant prune channels lowrank cluster ternary binary.  [default: quant,prune]")
@click.option("--strengths", metavar="S,…", help="Of one technique, as in a recipe: 8,4 (bits) or 50,2:4 (prune).  [default: a few of each]")
@click.option("--samples", type=click.IntRange(1, 2000), help="At the most.  [default: 16 to 256, by the size of the model]")
@plot_option("Draw the table as a heat map into this .svg.")
@click.option("--no-cache", is_flag=True, help="Try everything anew, and keep that.")
@may_install
@as_json
def command(
    model_path: Path,
    data: Path | None,
    shapes: tuple[str, ...],
    technique: str | None,
    strengths: str | None,
    samples: int | None,
    plot: Path | None,
    no_cache: bool,
    install: bool,
    json_wanted: bool,
) -> int:
    """Compress each layer of MODEL alone, and tell how far its outputs go.

    The outputs are compared with the model's own (SQNR), and with --data that has labels, the accuracy too. Nothing is tuned: what a
    layer loses here, tuning may win back.
    """
    steps, fixed = steps_of((technique or "").split(","), [word.strip() for word in (strengths or "").split(",") if word.strip()]), shapes_from(shapes)
    plot_place(plot)
    needs.toolchains(recognise(model_path), [format_named("onnx")], install)
    with cached(not no_cache), working(f"reading {model_path.name}") as progress:
        found = sensitivity(model_path, data, fixed, steps, progress, samples)
    if plot is not None:
        write_text(plot, heat_map(found))
        err.print(f"drawn in {plot}", style="dim")
    if json_wanted:
        print_json("sensitivity", body(found))
    else:
        print_sensitivity(found)
    return 0


def body(found: Sensitivity) -> dict[str, Any]:
    """The body of edgekit.sensitivity/1."""
    table = found.table
    layers = [{**layer.model_dump(), "errors": [error_json(one, table.top1) for one in table.of(place)]} for place, layer in enumerate(table.layers)]
    origin = {"samples": table.samples, "origin": found.origin, "top1": table.top1, "weights_bytes": table.weights_bytes}
    return {"model": show.model_json(found.model), **origin, "layers": layers}


def error_json(one: Found, top1: float | None) -> dict[str, Any]:
    """One layer under one list of steps; `relative_error` is the RMS of the error over that of the outputs."""
    relative = None if one.sqnr_db is None else one.noise**0.5
    told = one.model_dump(include={"steps", "sqnr_db", "agreement", "top1", "saved_bytes", "macs", "refused"})
    return {**told, "relative_error": relative, "drop": drop_of(one, top1)}


def drop_of(one: Found, top1: float | None) -> float | None:
    """Share of the labels that are lost."""
    return None if one.top1 is None or top1 is None else top1 - one.top1


def print_sensitivity(found: Sensitivity) -> None:
    """The table: a row for each layer, a column for each of the steps; and what to make of it."""
    table = found.table
    widths = [max(len(steps), 5) for steps in found.steps]
    columns = [Column("layer", path=True), Column("op", drop=len(found.steps) + 2), Column("weights", right=True, drop=len(found.steps) + 1)]
    columns += [Column(f"{steps:>{width}}", drop=drop) for steps, width, drop in zip(found.steps, widths, drops(found.steps), strict=True)]
    rows: list[list[str | Text]] = []
    for place, layer in enumerate(table.layers):
        rows.append([layer.name, layer.kind, f"{layer.parameters:,}", *(cell(*each) for each in zip(table.of(place), repeat(table.top1), widths))])
    print_table(columns, rows)
    refused = {(one.layer, one.steps.rstrip("0123456789")): one for one in reversed(table.found) if one.refused}
    for one in list(reversed(refused.values()))[:MOST_REFUSALS]:
        err.print(f"{table.layers[one.layer].name}, {one.steps}: {one.refused}", style="dim", markup=False)
    if len(refused) > MOST_REFUSALS:
        err.print(f"{len(refused) - MOST_REFUSALS} more were refused: --json has the reasons", style="dim")
    lost = "" if table.top1 is None else ", with the points of top-1 that are lost (in brackets)"
    err.print(f"SQNR of the outputs in dB when that layer alone is compressed so{lost}; less is worse", style="dim")
    told = "" if table.top1 is None else f", where the model itself has {table.top1:.1%}"
    err.print(f"{samples_text(table.samples, found.origin)}{told}; weights take {bytes_text(table.weights_bytes)}", style="dim")
    for steps in found.steps[-1:]:
        worst = max((one for one in table.found if one.steps == steps and one.refused is None), key=lambda one: one.noise, default=None)
        if worst is not None:
            out.print(f"[bold]{steps}[/bold] costs most in [bold]{table.layers[worst.layer].name}[/bold]: {decibels(worst)} dB")


def cell(one: Found, top1: float | None, width: int) -> Text:
    """`28.3`, or `7.5 (−1.6)` where 1.6 points of accuracy are lost, in the colour of its heat; the figures end below the column's name."""
    if one.refused is not None:
        return Text(f"{'refused':>{width}}", "dim")
    drop = drop_of(one, top1)
    lost = f" (−{drop * 100:.1f})" if drop is not None and drop > 0 else ""
    return Text(f"{decibels(one):>{width}}{lost}", heat(one)[0])


def drops(steps: Sequence[str]) -> list[int]:
    """Which column goes first where a terminal is narrow (the largest): of each technique the harshest, then the mildest; what is in the middle tells most.

    The last column stays: what is made of the table is said of that.
    """
    techniques: dict[str, list[int]] = {}
    for place, text in enumerate(steps):
        techniques.setdefault(text.rstrip("0123456789:"), []).append(place)
    order = [(place + 1 != len(steps), abs(2 * number + 1 - len(own)), number, place) for own in techniques.values() for number, place in enumerate(own)]
    return [sorted(order).index(entry) for entry in sorted(order, key=lambda entry: entry[-1])]
