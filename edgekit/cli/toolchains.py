"""`edgekit toolchains [install]`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from edgekit.cli.say import as_json, err, out, print_json, table, working
from edgekit.errors import InputError, SetupError
from edgekit.nearest import unknown
from edgekit.toolchains.catalog import Toolchain, host, names, toolchain
from edgekit.toolchains.install import install
from edgekit.units import bytes_text


@click.group("toolchains", invoke_without_command=True)
@as_json
@click.pass_context
def command(ctx: click.Context, json_wanted: bool) -> None:
    """List the converters' environments, or install them."""
    if ctx.invoked_subcommand is None:
        show(json_wanted)


@command.command("install")
@click.argument("wanted", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Install every toolchain.")
@as_json
def install_command(wanted: tuple[str, ...], everything: bool, json_wanted: bool) -> None:
    """Install toolchains by name, or all of them; those that are there are left alone."""
    for name in wanted:
        if name not in names():
            raise unknown("toolchain", name, names())
    if not wanted and not everything:
        raise InputError("name what to install, or give --all: " + ", ".join(names()))
    install_all([toolchain(name) for name in (names() if everything else wanted)])
    if json_wanted:
        show(json_wanted)


def install_all(wanted: Sequence[Toolchain]) -> None:
    """Install what is missing, saying so."""
    for one in wanted:
        if one.installed:
            err.print(f"{one.name}: already installed")
            continue
        with working(f"{one.name}: installing") as progress:
            install(one, lambda text, _one=one: progress(f"{_one.name}: {text} (about {bytes_text(_one.description.size_bytes)})", None))
        err.print(f"[green]{one.name}: installed[/green]")


def show(json_wanted: bool) -> None:
    rows = []
    for name in names():
        try:
            one = toolchain(name)
            rows.append({"name": name, "installed": one.installed, "size_bytes": one.description.size_bytes, "purpose": one.description.purpose})
        except SetupError as exc:
            rows.append({"name": name, "installed": False, "size_bytes": None, "purpose": str(exc)})
    if json_wanted:
        print_json("toolchains", {"host": host(), "toolchains": rows})
        return
    shown = table("toolchain", "installed", ("size", "right"), "what for")
    for row in rows:
        shown.add_row(str(row["name"]), "yes" if row["installed"] else "no", bytes_text(row["size_bytes"]), str(row["purpose"]))  # type: ignore[arg-type]
    out.print(shown)
    missing = [str(row["name"]) for row in rows if not row["installed"]]
    if missing:
        err.print(f"install with: edgekit toolchains install {' '.join(missing)}")
