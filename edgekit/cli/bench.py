"""`edgekit bench FILE --target NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekit.cli import needs
from edgekit.cli.deploy import finish
from edgekit.cli.measuring import measuring_options, protocol_from, settings_from
from edgekit.cli.options import data_option, target_option
from edgekit.cli.say import as_json, may_install, working
from edgekit.device import resolve
from edgekit.verbs.bench import bench, format_of


@click.command("bench")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@target_option
@data_option
@measuring_options
@may_install
@as_json
def command(
    file: Path,
    target: str,
    data: Path | None,
    threads: int | None,
    cores: str | None,
    install: bool,
    json_wanted: bool,
    **options: Any,
) -> int:
    """Measure one TFLite, ONNX or Core ML file on a device.

    A file made by edgekit is compared with its source model, by the lineage beside it; any other with itself on this machine.
    """
    length, settings = protocol_from(options), settings_from(options)
    device = resolve(target)
    needs.toolchains(None, [format_of(file)], install)
    needs.native(device, settings.runner, install)
    with working(f"connecting to {device.address}") as progress:
        done = bench(file, device, data=data, protocol=length, settings=settings, threads=threads, cores=cores, progress=progress)
    return finish("bench", done, json_wanted)
