"""`edgekit toolchains [install]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import click

from edgekit.cli.say import Column, Progress, as_json, err, print_json, print_table, working
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


def tell(progress: Progress, one: Toolchain, text: str) -> None:
    progress(f"{one.name}: {text} (about {bytes_text(one.description.size_bytes)})", None)


def install_all(wanted: Sequence[Toolchain]) -> None:
    """Install what is missing, saying so."""
    for one in wanted:
        if one.installed and not one.lacks:
            err.print(f"{one.name}: already installed")
            continue
        with working(f"{one.name}: installing") as progress:
            install(one, partial(tell, progress, one))
        err.print(f"[green]{one.name}: installed[/green]")
        if one.lacks:
            err.print(f"[yellow]{one.name}: {one.lacks}[/yellow]")


@dataclass(frozen=True, slots=True)
class Row:
    """One toolchain, as listed."""

    name: str
    installed: bool
    size_bytes: int | None
    purpose: str


def row_of(name: str) -> Row:
    try:
        one = toolchain(name)
    except SetupError as exc:
        return Row(name, False, None, str(exc))
    return Row(name, one.installed, one.size_bytes, one.description.purpose)


def size_text(row: Row) -> str:
    return bytes_text(row.size_bytes) if row.installed else f"about {bytes_text(row.size_bytes)}"


def show(json_wanted: bool) -> None:
    rows = [row_of(name) for name in names()]
    if json_wanted:
        print_json("toolchains", {"host": host(), "toolchains": [asdict(row) for row in rows]})
        return
    columns = [Column("toolchain"), Column("installed"), Column("size", right=True), Column("what for", drop=1)]
    print_table(columns, [[row.name, "yes" if row.installed else "no", size_text(row), row.purpose] for row in rows])
    missing = [row.name for row in rows if not row.installed]
    if missing:
        err.print(f"install with: edgekit toolchains install {' '.join(missing)}")
