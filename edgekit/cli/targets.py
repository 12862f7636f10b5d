"""`edgekit targets`."""

from __future__ import annotations

import click

from edgekit.cli.say import as_json, out, print_json, table
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
    shown = table("target", "kind", "address", "profile", "what it is", "remark")
    for target in found:
        shown.add_row(target.name, target.kind, target.address or "—", target.profile or "—", target.title, target.untested or "")
    out.print(shown)
    out.print("an address works too: ssh:user@host[:port]", style="dim")
