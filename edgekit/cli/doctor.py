"""`edgekit doctor --target NAME`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

import click
from rich.text import Text

from edgekit.ask import question
from edgekit.cli.say import Column, as_json, err, out, print_json, print_table, working
from edgekit.device import Device, resolve
from edgekit.doctor import Finding, examine
from edgekit.errors import DeviceError
from edgekit.transport import Transport, connect

WIDE = 100
"""Characters in a line that two columns of sentences need."""
KEPT = "Serials, names and addresses are removed, the model and the system's build stay"
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command("doctor")
@click.option(
    "--target", required=True, metavar="NAME", help="A device of lab.toml, a profile, a serial, or an address: local, ssh:user@host[:port], adb:SERIAL."
)
@click.option(
    "--record",
    is_flag=False,
    flag_value=".",
    metavar="[DIR]",
    help="Write what the device tells to a file that you may send, without serials, names and addresses; nothing is sent.",
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
        show(findings)
    if written is not None:
        words = f"What it tells is in {written}. {KEPT}. Nothing was sent: look through it, then send it with what you know of the device."
        err.print(words, markup=False)
    return 1 if any(finding.verdict == "fail" for finding in findings) else 0


def show(findings: Sequence[Finding]) -> None:
    """A table; on a narrow terminal each cure stands below what was found; no path is cut."""
    wide = out.width >= WIDE
    rows: list[list[str | Text]] = []
    for one in findings:
        found, cure = Text(one.found, overflow="fold"), Text(one.cure, overflow="fold")
        words = [found, cure] if wide else [Text("\n→ ", overflow="fold").join([found, cure]) if one.cure else found]
        rows.append([one.check, Text(one.verdict, style=STYLES[one.verdict]), *words])
    columns = [Column("check"), Column("verdict"), *([Column("found"), Column("cure")] if wide else [Column("found, and the cure")])]
    print_table(columns, rows)


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
    content = {"source": f"recorded by edgekit doctor on {date.today()}. {KEPT}.", "output": text.split("\n"), "expected": read}
    folder.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
