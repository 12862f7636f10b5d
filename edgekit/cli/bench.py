"""`edgekit bench FILE --target NAME`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import needs
from edgekit.cli.deploy import finish
from edgekit.cli.options import data_option, protocol_option, threads_option
from edgekit.cli.say import as_json, may_install, working
from edgekit.device import resolve
from edgekit.measure import PROTOCOLS
from edgekit.verbs.bench import bench, format_of


@click.command("bench")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--target", required=True, metavar="NAME", help="A device of lab.toml, a profile, or an address: local, ssh:user@host[:port].")
@data_option
@protocol_option
@threads_option
@may_install
@as_json
def command(file: Path, target: str, data: Path | None, protocol: str, threads: int | None, install: bool, json_wanted: bool) -> int:
    """Measure one TFLite, ONNX or Core ML file on a device.

    A file made by edgekit is compared with its source model, by the lineage beside it; any other with itself on this machine.
    """
    device = resolve(target)
    needs.toolchains(None, [format_of(file)], install)
    with working(f"connecting to {device.address}") as progress:
        done = bench(file, device, data=data, protocol=PROTOCOLS[protocol], threads=threads, progress=progress)
    return finish("bench", done, json_wanted)
