"""`edgekit lab add`."""

from __future__ import annotations

import click
from rich.text import Text

from edgekit.ask import ask
from edgekit.cli.options import target_option
from edgekit.cli.say import as_json, err, out, print_json, working
from edgekit.cli.setup import agreed
from edgekit.conditions import Told
from edgekit.device import resolve
from edgekit.lab_file import refuse_taken
from edgekit.runtime import platform_of
from edgekit.transport import connect
from edgekit.units import bytes_text
from edgekit.verbs.lab_add import prepare


@click.command("add")
@click.argument("name", required=False)
@target_option
@click.option("--profile", metavar="NAME", help="What kind of device it is.  [default: the profile that it matches]")
@click.option("--yes", is_flag=True, help="Write without asking.")
@as_json
def command(name: str | None, target: str, profile: str | None, yes: bool, json_wanted: bool) -> int:
    """Ask a device what it is, and write it into ./lab.toml if there is one, else into your own lab.toml.

    NAME is what --target takes from then on; without it, it is what the device calls itself.
    """
    device = resolve(target)
    refuse_taken(name or "", device.address)  # before the device is asked
    with working(f"asking {device.address}"), connect(device.address) as transport:
        told = ask(transport, platform_of(transport), device.python)
        address = transport.address
    addition = prepare(address, told, name=name, profile=profile)
    kind = addition.profile
    if not json_wanted:
        out.print(Text(f"{address}: {', '.join(words(told))}"))
        if kind is None:
            cure = f"no profile matches it: draft one with `edgekit profile draft --target {address}`"
            out.print(Text(cure, style="yellow"))
        out.print(Text(addition.toml))
    if not agreed(f"Write {addition.name} ({address}) into {addition.path}?", yes):
        err.print("nothing was written")
        return 1
    addition.write()
    if json_wanted:
        entry = {"name": addition.name, "address": address, "profile": kind.name if kind else None}
        told_json = {"identity": dict(told.identity), "python": told.python, "free_bytes": told.root_free_bytes}
        print_json("lab.add", {"device": entry, "path": str(addition.path), "told": told_json})
        return 0
    err.print(Text(f"written into {addition.path}: --target {addition.name}", style="green"))
    return 0


def words(told: Told) -> list[str]:
    """What the device is, for a person: `Raspberry Pi 5 Model B Rev 1.0`, `aarch64`, `8.44 GB memory`, `Python 3.11`, `20.0 GB free`."""
    identity = told.identity
    memory = identity.get("memory_kb", "")
    found = [
        identity.get("android_model") or identity.get("model") or identity.get("product") or identity.get("hostname"),
        identity.get("machine"),
        f"{bytes_text(int(memory) * 1024)} memory" if memory.isdecimal() else None,
        identity.get("os"),
        f"Python {told.python}" if told.python else "no Python",
        f"{bytes_text(told.root_free_bytes)} free" if told.root_free_bytes is not None else None,
        f"emulated: {identity['emulation']}" if told.emulated else None,
    ]
    return [word for word in found if word]
