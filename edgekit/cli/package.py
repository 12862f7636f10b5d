"""`edgekit package RUN` and `edgekit package verify DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.say import as_json, err, out, print_json
from edgekit.cli.show import UNFINISHED
from edgekit.errors import InputError, ReleaseError
from edgekit.files import require_file_place, size_bytes
from edgekit.release.choice import pick
from edgekit.release.package import package
from edgekit.release.verify import verify
from edgekit.store import open_store
from edgekit.units import bytes_text

PLATFORMS = click.Choice(["generic", "android", "ios"])


class RunOrVerify(click.Group):
    """`package verify DIR` is a verb of its own; any other first word is a run's id."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, args if args and args[0] in self.commands else ["make", *args])


@click.group("package", cls=RunOrVerify, subcommand_metavar="RUN|verify …")
def command() -> None:
    """Package a run's choice for an app release, or verify a package.

    \b
    edgekit package RUN --platform generic -o DIR        a folder
    edgekit package RUN --platform android -o FILE.aar   an AAR with the file in its assets
    edgekit package RUN --platform ios -o DIR            a Swift package with the file in its resources
    edgekit package verify PATH                          every byte against the manifest

    RUN is a run's id, the beginning of it, or `last`, which is no trial of a search. --variant w8.tflite packs another variant than the chosen one.
    """


@command.command("make", hidden=True)
@click.argument("run_id", metavar="RUN")
@click.option("--platform", type=PLATFORMS, required=True, help="A folder, an AAR, or a Swift package.")
@click.option("--variant", metavar="RECIPE.FORMAT", help="Another variant than the chosen one, such as w8.tflite.")
@click.option("-o", "--out", "folder", type=click.Path(path_type=Path), required=True, help="Where the package goes.")
@as_json
def make_command(run_id: str, platform: str, variant: str | None, folder: Path, json_wanted: bool) -> None:
    """Package a run's choice, with its lineage and the measurements that justify it."""
    if folder.suffix == ".aar":
        require_file_place(folder)
    with open_store() as store:
        run = store.get(run_id)
        finished = store.finished(run.id)
    if not finished and run.chosen is None and variant is None:
        raise ReleaseError(f"run {run.id} is not finished: {UNFINISHED}; or name a variant that it has with --variant RECIPE.FORMAT")
    made = package(run, platform, folder, variant)  # type: ignore[arg-type]
    picked = pick(run, platform, variant).variant  # type: ignore[arg-type]
    for violation in picked.violations:
        err.print(f"{picked.format} {picked.recipe} is too much for {run.device_name}: {violation.text}", style="yellow", markup=False)
    if run.emulated:
        err.print("measured on an emulated processor only: the outputs were right there, how fast it is on a device is not known", style="yellow")
    if json_wanted:
        print_json("package", {"run": run.id, "platform": platform, "path": str(made), "size_bytes": size_bytes(made)})
    else:
        out.print(f"[green]packaged[/green] {made} ({bytes_text(size_bytes(made))})")


@command.command("verify")
@click.argument("path", metavar="DIR", type=click.Path(path_type=Path))
@as_json
def verify_command(path: Path, json_wanted: bool) -> None:
    """Check every byte of a package against its manifest."""
    if not path.exists():
        raise InputError(f"there is no package {path}: check the path")
    manifest = verify(path)
    if json_wanted:
        print_json("package-verify", {"path": str(path), "ok": True, "files": len(manifest.files)})
    else:
        out.print(f"[green]intact[/green] {path}: {len(manifest.files)} files as the manifest says")
