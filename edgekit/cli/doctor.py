"""`edgekit doctor --target NAME`."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import date
from pathlib import Path

import click
from rich.text import Text

from edgekit.ask import question
from edgekit.cli.say import Column, as_json, console, print_json, print_table, working
from edgekit.device import Device, resolve
from edgekit.doctor import examine
from edgekit.errors import DeviceError
from edgekit.transport import Transport, connect

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command("doctor")
@click.option(
    "--target", required=True, metavar="NAME", help="A device of lab.toml, a profile, a serial, or an address: local, ssh:user@host[:port], adb:SERIAL."
)
@click.option(
    "--record", is_flag=False, flag_value=".", metavar="[DIR]", help="Write what the device tells, without names, to a file that you may send; nothing is sent."
)
@as_json
def command(target: str, record: str | None, json_wanted: bool) -> int:
    """Examine a device: each finding with its cure. Ends with 1 if something fails."""
    device = resolve(target)
    with working(f"examining {device.address}"), connect(device.address) as transport:
        findings = examine(transport, device)
        written = None if record is None else write_record(transport, device, Path(record))
    if json_wanted:
        named = {"name": device.name, "address": device.address}
        print_json("doctor", {"device": named, "findings": [asdict(finding) for finding in findings], "recorded": written and str(written)})
    else:
        columns = [Column("check"), Column("verdict"), Column("found"), Column("cure")]
        print_table(columns, [[f.check, Text(f.verdict, style=STYLES[f.verdict]), f.found, f.cure or ""] for f in findings])
    if written is not None:
        say = console(stderr=True)
        say.print(written.read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
        say.print(f"This is in {written}. Nothing was sent: look through it, then send it with what you know of the device.", markup=False, highlight=False)
    return 1 if any(finding.verdict == "fail" for finding in findings) else 0


def write_record(transport: Transport, device: Device, folder: Path) -> Path:
    """A file with the device's own words, without what names it or its owner, in the form of `tests/device_output/recorded/`."""
    import json

    from edgekit.conditions import NotToldError
    from edgekit.conditions.recorded import anonymous, reading
    from edgekit.files import written_aside
    from edgekit.runtime import platform_of

    words = re.split(r"[:@/]", device.address) + ([device.name] if device.name != "local" else [])
    text = anonymous(
        question(transport, platform_of(transport), device.python, "all"), [word for word in words if word not in ("ssh", "adb", "local", "root", "shell", "")]
    )
    try:
        read = reading(text)
    except NotToldError as exc:
        raise DeviceError(transport.address, f"its answer is not whole ({exc}): repeat the command", stdout=text) from exc
    identity = read["identity"]
    name = " ".join(filter(None, (identity.get("model") or identity.get("product") or identity["machine"], identity.get("os"))))
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    content = {"source": f"recorded by edgekit doctor on {date.today()}, names removed", "output": text.split("\n"), "expected": read}
    folder.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
