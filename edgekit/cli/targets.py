"""`edgekit targets`."""

from __future__ import annotations

import click

from edgekit.cli.say import Column, as_json, out, print_json, print_table
from edgekit.device import targets


@click.command("targets")
@as_json
def command(json_wanted: bool) -> None:
    """List the devices and profiles that --target takes."""
    found = targets()
    if json_wanted:
        rows = [{"name": t.name, "kind": t.kind, "address": t.address, "profile": t.profile, "title": t.title, "untested": t.untested} for t in found]
        print_json("targets", {"targets": rows})
        return
    columns = [Column("target"), Column("kind"), Column("address"), Column("profile", drop=2), Column("what it is", drop=1)]
    print_table(columns, [[t.name, t.kind, t.address or "—", t.profile or "—", t.title] for t in found])
    for target in found:
        if target.untested:
            out.print(f"{target.name}: {target.untested}", style="dim", markup=False)
    out.print("an address works too: ssh:user@host[:port]", style="dim")
