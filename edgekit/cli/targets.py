"""`edgekit targets`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from edgekit.cli.say import Column, as_json, out, print_json, print_table
from edgekit.verbs.targets import Target, targets


@click.command("targets")
@as_json
def command(json_wanted: bool) -> None:
    """List the devices and profiles that --target takes.

    Devices of ./lab.toml and of your own lab.toml, those that adb has attached, and the profiles: a profile's name stands for the
    only device of its kind that is known. An address works too: local, ssh:user@host[:port], adb:SERIAL[@HOST[:PORT]].
    """
    found = targets()
    if json_wanted:
        print_json("targets", {"targets": [asdict(target) for target in found.targets], "adb": found.adb})
        return
    of_kind = {kind: [target for target in found.targets if target.kind == kind] for kind in ("device", "attached", "profile")}
    columns = [Column("device"), Column("address"), Column("profile", drop=1), Column("what it is", drop=2)]
    print_table(columns, [[t.name, t.address or "", t.profile or "—", t.title] for t in of_kind["device"]])
    if of_kind["attached"]:
        out.print()
        columns = [Column("attached"), Column("state"), Column("what it is"), Column("profile", drop=1)]
        print_table(columns, [[t.name, "ready" if t.state == "device" else t.state or "", t.title or "—", t.profile or "—"] for t in of_kind["attached"]])
    for target in found.targets:
        if target.cure:
            out.print(f"{target.name}: {target.cure}", style="yellow", markup=False, soft_wrap=True)
    if found.adb:
        out.print(f"attached devices are not listed: {found.adb}", style="dim", markup=False, soft_wrap=True)
    out.print()
    columns = [Column("profile"), Column("tested"), Column("what it is", drop=1)]
    print_table(columns, [[t.name, "untested on hardware" if t.untested else "yes", t.title] for t in of_kind["profile"]])
    say_why(found.targets)


def say_why(found: Sequence[Target]) -> None:
    """Each reason why something is untested, once, with the profiles that it holds for."""
    reasons: dict[str, list[str]] = {}
    for target in found:
        if target.untested and target.profile:
            reasons.setdefault(target.untested, []).append(target.profile)
    for reason, names in reasons.items():
        out.print(f"{', '.join(dict.fromkeys(names))}: {reason}", style="dim", markup=False, soft_wrap=True)
