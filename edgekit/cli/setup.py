"""`edgekit setup --target NAME [--remove]`."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import click
from rich.text import Text

from edgekit.cli.options import formats_from
from edgekit.cli.say import Column, as_json, err, print_json, print_table, working
from edgekit.device import Device, resolve
from edgekit.errors import InputError
from edgekit.runners import NAMES
from edgekit.units import bytes_text
from edgekit.verbs.deploy import runs_there
from edgekit.verbs.setup import Item, Plan, grouped, planned, stored


@click.command("setup")
@click.option(
    "--target", required=True, metavar="NAME", help="A device of lab.toml, a profile, a serial, or an address: local, ssh:user@host[:port], adb:SERIAL."
)
@click.option("--to", "to", metavar="FMT,…", help="tflite, onnx, coreml or all.  [default: what the device runs]")
@click.option("--runner", type=click.Choice(NAMES), help="What will run the files there: see `edgekit explain runners`.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--remove", is_flag=True, help="Remove all that edgekit has put on the device.")
@as_json
def command(target: str, to: str | None, runner: str | None, yes: bool, remove: bool, json_wanted: bool) -> int:
    """Send a device what it needs to run files, or remove it all.

    Nothing is installed there: it is one folder of the user's. `deploy` and `bench` send the same where it is missing.
    """
    device = resolve(target)
    if remove:
        return removed(device, yes, json_wanted)
    formats = [one.name for one in formats_from(to, runs_there(device.profile))]
    with ExitStack() as connected:
        with working(f"connecting to {device.address}") as progress:
            plan = connected.enter_context(planned(device, formats, runner, progress, every=to is not None))
        missing = [item for item in plan.items if not item.there]
        if not json_wanted:
            show_plan(plan)
        if missing and not agreed(f"Send {bytes_text(plan.missing_bytes)} to {device.name}?", yes):
            err.print("nothing was sent")
            return 1
        with working("sending") as progress:
            sent = plan.send(progress) if missing else 0
        root = plan.delivery.root
    if json_wanted:
        items = [
            {"title": item.need.title, "file": item.need.path.name, "formats": item.formats, "size_bytes": item.size_bytes, "was_there": item.there}
            for item in plan.items
        ]
        print_json("setup", {"device": named(device), "runner": plan.runner.name, "folder": root, "items": items, "pushed_bytes": sent})
    else:
        err.print(f"{bytes_text(sent)} sent; {device.name} has all it needs in {root}", highlight=False, markup=False)
    return 0


def removed(device: Device, yes: bool, json_wanted: bool) -> int:
    """Show what lies there, and remove it."""
    with ExitStack() as connected:
        with working(f"connecting to {device.address}") as progress:
            store = connected.enter_context(stored(device, progress))
        if store.things and not json_wanted:
            rows: list[list[str | Text]] = [[bytes_text(group.size_bytes), str(group.count), Text(group.title)] for group in grouped(store.things)]
            print_table([Column("size", right=True), Column("count", right=True), Column("what")], rows)
        place = f"{store.delivery.root} on {device.name}"
        if device.address == "local:":
            place = f"{store.delivery.root}, this machine's own, which all edgekits of this user run files from (toolchains and results stay)"
        question = f"Remove {bytes_text(store.size_bytes)} from {place}?"
        if store.things and not agreed(question, yes):
            err.print("nothing was removed")
            return 1
        store.remove()
    if json_wanted:
        things = [{"path": thing.path, "name": thing.name or None, "size_bytes": thing.size_bytes} for thing in store.things]
        print_json("setup", {"device": named(device), "folder": store.delivery.root, "removed": things, "removed_bytes": store.size_bytes})
    else:
        words = f"{bytes_text(store.size_bytes)} removed" if store.things else "nothing to remove"
        err.print(f"{words}; {device.name} has nothing of edgekit's in {store.delivery.root}", highlight=False, markup=False)
    return 0


def agreed(question: str, yes: bool) -> bool:
    """Ask, unless told not to.

    Raises:
        InputError: there is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError(f"there is no terminal to ask at “{question}”: give --yes to agree beforehand")
    return click.confirm(question, err=True)


def show_plan(plan: Plan) -> None:
    columns = [Column("what"), Column("for"), Column("size", right=True), Column("there"), Column("file", drop=1)]
    print_table(columns, [row(item) for item in plan.items])


def row(item: Item) -> list[str | Text]:
    there = Text("yes", style="green") if item.there else Text("no", style="yellow")
    return [item.need.title, ", ".join(item.formats), bytes_text(item.size_bytes), there, item.need.path.name]


def named(device: Device) -> dict[str, str]:
    return {"name": device.name, "address": device.address}
