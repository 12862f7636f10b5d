"""`edgekit runs list|show`."""

from __future__ import annotations

import click

from edgekit.cli import show
from edgekit.cli.say import as_json, err, out, print_json, table
from edgekit.store import open_store


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
        print_json("runs", {"runs": [show.summary_json(row) for row in rows]})
        return
    if not rows:
        err.print("nothing was measured yet: try `edgekit deploy MODEL --target local`")
        return
    shown = table("run", "started (UTC)", "model", "device", ("variants", "right"), "chosen")
    for row in rows:
        shown.add_row(row.id, row.started_utc, show.short_name(row.model_path), row.device_name, str(row.variants), row.chosen or "—")
    out.print(shown)


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
