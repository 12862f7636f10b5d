"""`edgekit diff A B`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.text import Text

from edgekit.cli import needs
from edgekit.cli.options import MODEL, data_option, plot_option, plot_place, shape_option, shapes_from
from edgekit.cli.say import Column, as_json, err, may_install, out, print_json, print_table, samples_text, working
from edgekit.files import write_text
from edgekit.model import recognise
from edgekit.verbs.diff import Compared, Difference, diff
from edgekit.write.format import format_named, formats

BAR = 20
"""Characters of a bar that is as long as it gets."""

MOST_DB = 120.0
"""SQNR of a full bar: beyond float32's own rounding."""

AROUND = 8
"""Rows shown before and after the first departure."""


@click.command("diff")
@click.argument("a", metavar="A", type=MODEL)
@click.argument("b", metavar="B", type=MODEL)
@data_option
@shape_option
@click.option("--floor", type=float, metavar="DB", help="An SQNR below this is a departure.  [default: what B's recipe allows]")
@click.option("--all", "everything", is_flag=True, help="Show every tensor, not only those around the first departure.")
@plot_option("Draw the SQNR along the network into this .svg.")
@may_install
@as_json
def command(
    a: Path,
    b: Path,
    data: Path | None,
    shapes: tuple[str, ...],
    floor: float | None,
    everything: bool,
    plot: Path | None,
    install: bool,
    json_wanted: bool,
) -> int:
    """Name the first operator whose output in B departs from A's.

    A and B are a model and a file made from it, or two such files, in any format. Each tensor of A is compared with its counterpart
    in B; ends with 1 if one departs.
    """
    fixed = shapes_from(shapes)
    plot_place(plot)
    made = {fmt.suffix for fmt in formats().values()}
    for path in (a, b):
        needs.toolchains(None if path.suffix in made else recognise(path), [format_named("onnx")], install)
    with working(f"reading {a.name}") as progress:
        found = diff(a, b, data, fixed, floor, progress)
    if plot is not None:
        draw(plot, found, f"{b.name} against {a.name}")
        err.print(f"drawn in {plot}", style="dim")
    if json_wanted:
        print_json("diff", {"a": str(a), "b": str(b), "floor_db": found.floor_db, **found.found.model_dump(mode="json")})
    else:
        show(found, a, b, everything)
    return 1 if found.found.first else 0


def show(found: Difference, a: Path, b: Path, everything: bool) -> None:
    """The table around the first departure, and one sentence."""
    rows, first = found.found.tensors, found.found.first
    middle = next((place for place, row in enumerate(rows) if first and row.index == first.index), len(rows) - 1)
    begin, end = (0, len(rows)) if everything else (max(0, middle - AROUND), min(len(rows), middle + AROUND + 1))
    columns = [Column("", right=True), Column("op"), Column("tensor", shortened=True), Column("SQNR dB", right=True), Column("max rel", right=True, drop=2)]
    columns += [Column(f"0 to {MOST_DB:g} dB", drop=3), Column("counterpart", drop=1, shortened=True)]
    stressed = middle - begin if first and begin <= middle < end else None
    print_table(columns, [line(row, found.floor_db) for row in rows[begin:end]], bold=stressed)
    if end - begin < len(rows):
        err.print(f"{end - begin} of {len(rows)} tensors shown: --all shows the others, --plot FILE.svg draws them", style="dim")
    for value in found.found.outputs:
        out.print(f"output {value.name}: {value.sqnr_db:.1f} dB")
    if first is None:
        out.print(f"[green]no tensor departs[/green]: all that can be seen agree to {found.floor_db:g} dB or better")
    else:
        gone = f"{first.sqnr_db:.1f} dB" if first.sqnr_db is not None else "nothing like it"
        out.print(f"[bold red]first departure[/bold red]: {first.op} (node {first.node}), {gone} in {b.name}; below {found.floor_db:g} dB")
    if not any(row.verdict == "agrees" for row in rows):
        err.print("no tensor has a counterpart that agrees: are these files of one model?")
    err.print(f"compared {samples_text(found.found.samples, found.origin)}", style="dim")


def line(row: Compared, floor_db: float) -> list[str | Text]:
    """One tensor."""
    style = {"agrees": "green", "departs": "red", "unseen": "dim"}[row.verdict]
    sqnr = "fused" if row.sqnr_db is None and row.verdict == "unseen" else "–" if row.sqnr_db is None else f"{min(row.sqnr_db, MOST_DB * 2):.1f}"
    bar = "" if row.sqnr_db is None else "█" * max(1, round(BAR * min(max(row.sqnr_db, 0.0), MOST_DB) / MOST_DB))
    relative = "" if row.max_rel is None else f"{row.max_rel:.1e}"
    return [str(row.index), Text(row.op, style), row.tensor, Text(sqnr, style), relative, Text(bar, style), row.counterpart or ""]


def draw(path: Path, found: Difference, title: str) -> None:
    """The SQNR of every tensor that can be seen, in the order of computation, as an SVG."""
    import pygal
    from pygal.style import CleanStyle

    seen: Sequence[Compared] = [row for row in found.found.tensors if row.sqnr_db is not None]
    chart = pygal.XY(style=CleanStyle, title=title, x_title="tensor, in order of computation", y_title="SQNR, dB", show_legend=True, js=[])
    chart.add("SQNR", [{"value": (row.index, min(row.sqnr_db or 0.0, MOST_DB * 2)), "label": f"{row.op} {row.tensor}"} for row in seen])
    if seen:
        chart.add("floor", [(seen[0].index, found.floor_db), (seen[-1].index, found.floor_db)], show_dots=False)
    write_text(path, chart.render(is_unicode=True))
