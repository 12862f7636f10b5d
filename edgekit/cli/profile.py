"""`edgekit profile draft | show`."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click
from rich.padding import Padding
from rich.text import Text

from edgekit.cli.options import target_option
from edgekit.cli.say import Column, as_json, err, out, print_json, print_table, working
from edgekit.errors import InputError
from edgekit.files import require_file_place, write_text
from edgekit.profile import Profile, load, match_profile, plain
from edgekit.units import bytes_text, duration_text


@click.group("profile")
def command() -> None:
    """Show what a kind of device is and allows; draft a profile from a device."""


@command.command("show")
@click.argument("name")
@as_json
def show_command(name: str, json_wanted: bool) -> None:
    """Show a profile: its facts, what it matches and its limits, each with its source."""
    profile = load(name)
    if json_wanted:
        print_json("profile.show", {"profile": profile.model_dump(mode="json", exclude_none=True)})
        return
    out.print(Text(f"{profile.name}: {profile.title}", style="bold"))
    out.print(Text(f"{profile.platform}, runs {', '.join(profile.formats)}"))
    if profile.aliases:
        out.print(Text(f"also called {', '.join(profile.aliases)}"))
    if profile.untested:
        out.print(Text(f"untested on hardware: {profile.untested}", style="yellow"))
    out.print()
    for fact, given in told(profile).items():
        out.print(Text(f"{fact}: {shown(fact, given['value'])}"))
        out.print(Padding(Text(str(given["source"]), style="dim"), (0, 0, 0, 4)))
    rules = profile.match.model_dump(exclude_none=True)
    if rules:
        out.print()
        print_table([Column("matches a device with"), Column("")], [[rule, Text(shown(rule, value))] for rule, value in rules.items()])


@command.command("draft")
@target_option
@click.option("-o", "path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it there, as device_profiles/my-board.toml.")
@as_json
def draft_command(target: str, path: Path | None, json_wanted: bool) -> None:
    """Ask a device what it is, and draft a profile for its kind: its own words as facts, edgekit's defaults as limits."""
    from edgekit.ask import ask
    from edgekit.device import resolve
    from edgekit.runtime import platform_of
    from edgekit.transport import connect
    from edgekit.verbs.profile import draft

    if path is not None and (path.suffix != ".toml" or path.exists()):
        fault = "exists already: choose another name, or delete it" if path.exists() else "does not end in .toml: profiles do"
        raise InputError(f"{path} {fault}")
    if path is not None and path.parent != Path("device_profiles"):  # where profiles are looked for
        require_file_place(path)
    device = resolve(target)
    with working(f"asking {device.address}"), connect(device.address) as transport:
        identity = ask(transport, platform_of(transport), device.python).identity
    made = draft(identity, name=path.stem if path else None, on=date.today())
    known = match_profile(identity)
    if path is not None:
        write_text(path, made.toml)
    if json_wanted:
        body = {"profile": made.profile.model_dump(mode="json", exclude_none=True), "toml": made.toml, "path": str(path) if path else None}
        print_json("profile.draft", {**body, "matched": known.name if known else None})
        return
    if path is None:
        click.echo(made.toml, nl=False)
    if known is not None:
        err.print(Text(already(known, made.profile), style="yellow"))
    where = "look it over" if path and path.parent.resolve() == (Path.cwd() / "device_profiles").resolve() else "put it into ./device_profiles"
    written = f"written to {path}; " if path else ""
    err.print(Text(f"{written}{where}: `--target {made.profile.name}` finds it there", style="dim"))


def already(known: Profile, drafted: Profile) -> str:
    """What to think of where there is a profile that the device matches."""
    words = f"the device matches the profile {known.name} already (`edgekit profile show {known.name}`): none is needed for it"
    if plain(drafted.name) == plain(known.name):
        return f"{words}, and this one would hide it"
    return f"{words}, and in ./device_profiles this one would be taken before it" if drafted.match.rules >= known.match.rules else words


def told(profile: Profile) -> dict[str, dict[str, str | int | float]]:
    """Its facts and limits by name, each as value and source."""
    return {**profile.facts.model_dump(exclude_none=True), **profile.limits.model_dump(exclude_none=True)}


def shown(name: str, value: str | int | float) -> str:
    """A value with its unit, by the name it has."""
    if isinstance(value, str):
        return value
    if "bytes" in name:
        return bytes_text(int(value))
    if name.endswith("_ns_max"):
        return duration_text(value)
    return f"{value} percentage points" if name == "accuracy_drop_points_max" else f"{value:g}"
