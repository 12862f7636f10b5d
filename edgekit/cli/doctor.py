"""`edgekit doctor --target NAME`."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.text import Text

from edgekit.cli.say import Column, as_json, print_json, print_table, working
from edgekit.device import resolve
from edgekit.doctor import examine
from edgekit.transport import connect

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command("doctor")
@click.option("--target", required=True, metavar="NAME", help="A device of lab.toml, a profile, or an address: local, ssh:user@host[:port].")
@as_json
def command(target: str, json_wanted: bool) -> int:
    """Examine a device: each finding with its cure. Ends with 1 if something fails."""
    device = resolve(target)
    with working(f"examining {device.address}"), connect(device.address) as transport:
        findings = examine(transport, device.python)
    if json_wanted:
        print_json("doctor", {"device": {"name": device.name, "address": device.address}, "findings": [asdict(finding) for finding in findings]})
    else:
        columns = [Column("check"), Column("verdict"), Column("found"), Column("cure")]
        print_table(columns, [[f.check, Text(f.verdict, style=STYLES[f.verdict]), f.found, f.cure or ""] for f in findings])
    return 1 if any(finding.verdict == "fail" for finding in findings) else 0
