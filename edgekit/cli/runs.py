"""`edgekit runs list|show`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.text import Text

from edgekit.cli import show
from edgekit.cli.say import Column, as_json, err, print_json, print_table
from edgekit.records import Summary
from edgekit.store import open_store
from edgekit.units import duration_text


@click.group("runs")
def command() -> None:
    """List and show what was measured."""


@command.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many of the newest.")
@as_json
def list_command(limit: int, json_wanted: bool) -> None:
    """List the newest runs."""
    with open_store() as store:
        rows = store.list(limit)
    if json_wanted:
        print_json("runs", {"runs": [asdict(row) for row in rows]})
        return
    if not rows:
        err.print("nothing was measured yet: try `edgekit deploy MODEL --target local`")
        return
    columns = [
        Column("run"), Column("started (UTC)", drop=3), Column("model", shortened=True), Column("device", shortened=True, drop=1),
        Column("variants", drop=2), Column(""), Column("variant"), Column("p50", right=True),
    ]  # fmt: skip
    print_table(columns, [cells(row) for row in rows])


def cells(row: Summary) -> list[str | Text]:
    """One line of the list: what was chosen, with an arrow as in the table of a run; where nothing was, the only variant that was measured."""
    told = " ".join(filter(None, (f"{row.format} {row.recipe}" if row.recipe else "", "" if row.finished else "not finished")))
    names = Text(Path(row.model_path).name), Text(row.device_name)
    return [row.id, row.started_utc, *names, f"{row.ok} of {row.variants} ok", "→" if row.chosen else "", told or "—", duration_text(row.p50_ns)]


@command.command("show")
@click.argument("run_id", metavar="RUN")
@as_json
def show_command(run_id: str, json_wanted: bool) -> None:
    """Show one run: its id, the beginning of it, or `last`."""
    with open_store() as store:
        run = store.get(run_id)
        finished = store.finished(run.id)
    if json_wanted:
        print_json("runs", {**show.run_json(run), "finished": finished})
        return
    show.print_run(run, finished=finished)
