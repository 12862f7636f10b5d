"""`edgekit lab add` and `edgekit lab virtual up|down|status`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.say import as_json

if TYPE_CHECKING:
    from edgekit.lab.virtual import Virtual

ELSEWHERE = {"add": "edgekit.cli.lab_add"}
"""Sub-commands with a file of their own, which is imported when one is asked for."""


class Lab(click.Group):
    """The lab's sub-commands by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*ELSEWHERE, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        found = importlib.import_module(ELSEWHERE[cmd_name]).command
        assert isinstance(found, click.Command)
        return found


@click.group("lab", cls=Lab)
def command() -> None:
    """Your devices: write one into lab.toml, or bring up virtual ones."""


@command.group("virtual")
def virtual() -> None:
    """An arm64 board and an arm64 phone under emulation, to try edgekit without a device.

    They are reached by genuine sshd and adbd as --target virtual-pi and --target virtual-android. What runs there gives right outputs and
    means nothing as a latency or a size in memory: every record says that it was emulated. Needs Debian on x86-64 and, for the
    phone, adb; and Linux 6.7 for whoever is not root.
    """


@virtual.command("up")
@click.option("--only", type=click.Choice(["pi", "android"]), help="Bring up one of the two.")
@click.option(
    "--as", "passes_for", multiple=True, metavar="NAME", help="What it passes for: pi5 pi4 pi-zero-2-32bit throttling-pi; pixel7 unknown-phone; repeatable."
)
@as_json
def up_command(only: str | None, passes_for: tuple[str, ...], json_wanted: bool) -> None:
    """Bring the virtual devices up; those that are up stay as they are."""
    from edgekit.cli.say import err, working
    from edgekit.lab import virtual as lab
    from edgekit.lab.answers import architectures
    from edgekit.lab.host import require_host
    from edgekit.units import bytes_text

    kinds = chosen(only, passes_for)
    require_host(architectures(kinds))
    with working("asking what is to be fetched") as progress:
        missing = lab.to_fetch(kinds, progress)
    if missing:
        err.print(f"fetching {len(missing)} packages of Debian, {bytes_text(sum(package.size_bytes for package in missing))}")
    with working("bringing the virtual devices up") as progress:
        devices = lab.up(kinds, say=progress)
    show(devices, json_wanted)


@virtual.command("down")
@click.option("--only", type=click.Choice(["pi", "android"]), help="End one of the two.")
@as_json
def down_command(only: str | None, json_wanted: bool) -> None:
    """End the virtual devices and take their targets away; what was fetched is kept for the next time."""
    from edgekit.cli.say import out, print_json
    from edgekit.lab.virtual import KINDS, down

    ended = down(kinds=(only,) if only else tuple(KINDS))
    if json_wanted:
        print_json("lab", {"ended": list(ended)})
    else:
        out.print(f"ended: {', '.join(ended) or 'nothing was up'}")


@virtual.command("status")
@as_json
def status_command(json_wanted: bool) -> None:
    """Say which virtual devices are up."""
    from edgekit.lab.virtual import status

    show(status(), json_wanted)


def chosen(only: str | None, passes_for: tuple[str, ...]) -> dict[str, str]:
    """`pi` and `android`, or the one that is asked for, each with what it passes for: as asked, else as it does, else the usual.

    Raises:
        InputError: a name that nothing can pass for, or one of a device that is not to be brought up.
    """
    from edgekit.errors import InputError
    from edgekit.lab.answers import answers, of_kind
    from edgekit.lab.virtual import status

    there = {device.kind: device.passes_for for device in status()}
    kinds = {kind: there.get(kind, of_kind(kind)[0]) for kind in ("pi", "android") if only in (None, kind)}
    for name in passes_for:
        kind = answers(name).kind
        if kind not in kinds:
            raise InputError(f"--as {name} is about the other device than --only {only}: leave one of them out")
        kinds[kind] = name
    return kinds


def show(devices: tuple[Virtual, ...], json_wanted: bool) -> None:
    """The devices that are up, and how to go on."""
    from edgekit.cli.say import Column, out, print_json, print_table
    from edgekit.lab.answers import answers

    if json_wanted:
        rows = [{"name": d.name, "address": d.address, "passes_for": d.passes_for, "pid": d.pid, "log": str(Path(d.folder) / "log")} for d in devices]
        print_json("lab", {"virtual": rows})
        return
    if not devices:
        out.print("no virtual device is up: edgekit lab virtual up")
        return
    columns = [Column("target"), Column("address"), Column("passes for"), Column("profile", drop=1)]
    print_table(columns, [[d.name, d.address, d.passes_for, answers(d.passes_for).profile or "—"] for d in devices])
    out.print("end them with: edgekit lab virtual down", style="dim")
