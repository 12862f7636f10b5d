"""`edgekit targets`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import click
from rich.text import Text

from edgekit.cli.say import Column, as_json, out, print_json, print_table
from edgekit.verbs.targets import Target, targets


@click.command("targets")
@as_json
def command(json_wanted: bool) -> None:
    """List the devices and profiles that --target takes.

    Devices of ./lab.toml and of your own lab.toml, those that adb has attached, and the profiles: a profile's name stands for the
    only device of its kind that is known, and for a virtual one only where there is no other.
    An address works too: local, ssh:user@host[:port], adb:SERIAL[@HOST[:PORT]].
    """
    found = targets()
    if json_wanted:
        print_json("targets", {"targets": [asdict(target) for target in found.targets], "adb": found.adb})
        return
    of_kind = {kind: [target for target in found.targets if target.kind == kind] for kind in ("device", "attached", "profile")}
    columns = [Column("device"), Column("address"), Column("profile", drop=1), Column("what it is", drop=2)]
    print_table(columns, cells([t.name, t.address or "", t.profile or "—", t.title] for t in of_kind["device"]))
    if of_kind["attached"]:
        out.print()
        columns = [Column("attached"), Column("state"), Column("what it is"), Column("profile", drop=1)]
        print_table(columns, cells([t.name, "ready" if t.state == "device" else t.state or "", t.title or "—", t.profile or "—"] for t in of_kind["attached"]))
    for target in found.targets:
        if target.cure:
            say(f"{target.name} {target.cure}", "yellow")
    if any(target.virtual for target in found.targets):
        say("a profile's name means a virtual device only where no other device, named or attached, is of that kind", "dim")
    if found.adb:
        say(f"attached devices are not listed: {found.adb}", "dim")
    out.print()
    columns = [Column("profile"), Column("tested"), Column("what it is", drop=1)]
    print_table(columns, cells([t.name, "untested on hardware" if t.untested else "yes", t.title] for t in of_kind["profile"]))
    say_why(found.targets)


def say_why(found: Sequence[Target]) -> None:
    """Each reason why something is untested, once, with the profiles that it holds for."""
    reasons: dict[str, list[str]] = {}
    for target in found:
        if target.untested and target.profile:
            reasons.setdefault(target.untested, []).append(target.profile)
    for reason, names in reasons.items():
        say(f"{', '.join(dict.fromkeys(names))}: {reason}", "dim")


def cells(rows: Iterable[Sequence[str]]) -> list[list[Text]]:
    """Words as they are: what a device says may look like rich's own markup or emoji."""
    return [[Text(word) for word in row] for row in rows]


def say(words: str, style: str) -> None:
    """One line, however long."""
    out.print(Text(words, style=style))
