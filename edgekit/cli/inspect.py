"""`edgekit inspect MODEL`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import needs
from edgekit.cli.options import MODEL, shape_option, shapes_from
from edgekit.cli.say import Column, as_json, err, may_install, out, print_json, print_table, working
from edgekit.files import size_bytes
from edgekit.model import open_model, recognise
from edgekit.records import FlexibleAxis
from edgekit.records_json import to_json
from edgekit.units import bytes_text, count_text
from edgekit.verbs.inspect import inspect


@click.command("inspect")
@click.argument("model_path", metavar="MODEL", type=MODEL)
@shape_option
@may_install
@as_json
def command(model_path: Path, shapes: tuple[str, ...], install: bool, json_wanted: bool) -> None:
    """Show a model's inputs, outputs, operators, parameters, MACs and sizes."""
    fixed = shapes_from(shapes)
    needs.toolchains(recognise(model_path), [], install)
    with working(f"reading {model_path.name}") as progress:
        model = open_model(model_path, fixed, progress)
        figures = inspect(model, progress)
    on_disk, hub = size_bytes(model_path), size_bytes(model.hub)
    if json_wanted:
        sizes = {"size_bytes": on_disk, "hub_bytes": hub}
        head = {"model": {"path": str(model.path), "source": model.source, "sha256": model.sha256, "hub_sha256": model.hub_sha256}}
        flexible = [to_json(axis) for axis in model.flexible]
        print_json("inspect", {**head, **sizes, **figures.model_dump(mode="json"), "flexible": flexible, "notes": list(model.notes)})
        return
    out.print(f"[bold]{model_path.name}[/bold]  {model.source}  {bytes_text(on_disk)}  sha256 {model.sha256[:12]}")
    tensors = [("input", spec) for spec in figures.inputs] + [("output", spec) for spec in figures.outputs]
    columns = [Column(""), Column("name"), Column("dtype"), Column("shape")]
    print_table(columns, [[kind, spec.name, spec.dtype, " × ".join(str(d) for d in spec.shape) or "scalar"] for kind, spec in tensors])
    weights = f"parameters {count_text(figures.parameters)} (batch norms folded)   weights {bytes_text(figures.weights_bytes)}"
    out.print(f"{weights}   MACs {count_text(figures.macs)} a run")
    ops = sorted(figures.ops.items(), key=lambda item: (-item[1], item[0]))
    print_table([Column("operator"), Column("count", right=True)], [[name, str(count)] for name, count in ops])
    for axis in model.flexible:
        out.print(f"flexible   axis {axis.axis} of {axis.input} ({axis.symbol}): {sizes_text(axis)}, {axis.default} by default")
    for note in model.notes:
        err.print(f"note: {note}")


def sizes_text(axis: FlexibleAxis) -> str:
    """The sizes that an axis may have, in words."""
    if axis.listed:
        return " or ".join(map(str, axis.listed))
    return f"{axis.low} to {axis.high}" if axis.high is not None else f"{axis.low} and more"
