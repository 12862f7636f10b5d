"""`edgekit runs list|show`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edgekit.cli import show
from edgekit.cli.say import Column, as_json, err, print_json, print_table
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
        Column("run"),
        Column("started (UTC)", drop=2),
        Column("model"),
        Column("device"),
        Column("variants", drop=1),
        Column("chosen"),
        Column("p50", right=True),
    ]
    shown = []
    for row in rows:
        chosen = f"{row.recipe} {row.format}" if row.recipe else "—" if row.finished else "not finished"
        shown.append([row.id, row.started_utc, Path(row.model_path).name, row.device_name, f"{row.ok} of {row.variants} ok", chosen, duration_text(row.p50_ns)])
    print_table(columns, shown)


@command.command("show")
@click.argument("run_id", metavar="RUN")
@as_json
def show_command(run_id: str, json_wanted: bool) -> None:
    """Show one run: its id, the beginning of it, or `last`."""
    with open_store() as store:
        run = store.get(run_id)
    if json_wanted:
        print_json("runs", show.run_json(run))
        return
    show.print_run(run)
