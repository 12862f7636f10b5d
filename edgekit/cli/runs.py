"""`edgekit runs list|show`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.text import Text

from edgekit.cli import show
from edgekit.cli.file_notes import print_file_notes
from edgekit.cli.say import Column, as_json, err, print_json, print_table
from edgekit.records import SEARCH_NAMED, Summary
from edgekit.store import open_store
from edgekit.units import duration_text

NEWEST = 20
"""Lines of the list, where nothing is said."""


@click.group("runs")
def command() -> None:
    """List and show what was measured."""


@command.command("list")
@click.option("--limit", type=click.IntRange(1), help=f"How many of the newest.  [default: {NEWEST}, or all of a search]")
@click.option("--search", metavar="NAME", help="The trials of this search.")
@as_json
def list_command(limit: int | None, search: str | None, json_wanted: bool) -> None:
    """List the newest runs; a search with all its trials is one line, in --json each trial is a run."""
    with open_store() as store:
        if search is not None:
            rows = store.trials(search)[:limit]
        else:
            rows = store.list(limit or NEWEST) if json_wanted else store.newest(limit or NEWEST)
    if json_wanted:
        print_json("runs", {"runs": [asdict(row) for row in rows]})
        return
    if not rows:
        err.print("nothing was measured yet: try `edgekit deploy MODEL --target local`")
        return
    same = search is not None  # all trials of a search are of one model, on one device
    columns = [
        Column("run"), Column("started (UTC)", drop=3), Column("model", shortened=True, drop=5 * same), Column("device", shortened=True, drop=4 if same else 1),
        Column("variants", drop=2), Column(""), Column("variant", late=True), Column("p50", right=True),
    ]  # fmt: skip
    lines = [[row] for row in rows] if search is not None else by_search(rows)
    print_table(columns, [search_cells(line) if search is None and line[0].search else cells(line[0]) for line in lines])
    if search is None and (searched := next((row.search for row in rows if row.search), None)):
        err.print(f"the trials of a search: edgekit runs list --search {searched[:SEARCH_NAMED]}", style="dim")


def by_search(rows: Sequence[Summary]) -> list[list[Summary]]:
    """Each run alone, and the trials of a search together, where its latest stands."""
    found: dict[str, list[Summary]] = {}
    for row in rows:
        found.setdefault(row.search or row.id, []).append(row)
    return list(found.values())


def search_cells(trials: Sequence[Summary]) -> list[str | Text]:
    """One line of the list: a search, since its first trial."""
    latest, first = trials[0], trials[-1]
    names = Text(Path(latest.model_path).name), Text(latest.device_name)
    told = f"{len(trials)} trial{'' if len(trials) == 1 else 's'}" + ("" if latest.finished else " not finished")
    ok = f"{sum(row.ok for row in trials)} of {len(trials)} ok"
    return [f"search {(latest.search or '')[:SEARCH_NAMED]}", first.started_utc, *names, ok, "", told, "—"]


def cells(row: Summary) -> list[str | Text]:
    """One line of the list: what was chosen, with an arrow as in the table of a run; where nothing was, the only variant that was measured."""
    told = " ".join(filter(None, (f"{row.format} {row.recipe}" if row.recipe else "", "" if row.finished else "not finished")))
    names = Text(Path(row.model_path).name), Text(row.device_name)
    return [row.id, row.started_utc, *names, f"{row.ok} of {row.variants} ok", "→" if row.chosen else "", told or "—", duration_text(row.p50_ns)]


@command.command("show")
@click.argument("run_id", metavar="RUN")
@as_json
def show_command(run_id: str, json_wanted: bool) -> None:
    """Show one run: its id, the beginning of it, or `last`, which is no trial of a search."""
    with open_store() as store:
        run = store.get(run_id)
        finished = store.finished(run.id)
    if json_wanted:
        print_json("runs", {**show.run_json(run), "finished": finished})
        return
    show.print_run(run)
    print_file_notes(run.variants, f"`edgekit runs show {run.id} --json`")
    show.print_choice(run, finished=finished)
