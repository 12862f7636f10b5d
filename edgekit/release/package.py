"""A run in, a package for an app's release out: the chosen file, its lineage, and a manifest with what justifies it."""

from __future__ import annotations

import json
import re
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgekit.deflate import download_bytes
from edgekit.errors import ReleaseError
from edgekit.files import sha256_file, sha256_tree, size_bytes, walk, written_aside
from edgekit.recipe import beside
from edgekit.records import Artifact, Run
from edgekit.records_json import to_json
from edgekit.release.archive import stored_zip
from edgekit.release.choice import Picked, Platform, pick
from edgekit.release.layout import LAYOUTS
from edgekit.release.manifest import NAME, SCHEMA, SEAL, Device, File, Manifest, SourceModel, Variant, seal
from edgekit.release.verify import list_files, verify


def package(run: Run, platform: Platform, out: Path, variant: str | None = None) -> Path:
    """Pack a variant of a run; the same run gives the same bytes.

    Args:
        run: as the store gives it; the files of its artifacts have to be there still.
        platform: `generic` is a folder, `android` an AAR, `ios` a Swift package.
        out: the package's folder; for android the archive, or the folder to put it into.
        variant: `w8a8` or `w8a8.tflite`; the run's choice without it.

    Returns:
        The package: the folder, or the `.aar`. An earlier package of edgekit's there is replaced.

    Raises:
        InputError: the run has no such variant.
        ReleaseError: nothing to pack, the file is gone or was changed since, or `out` holds something else.
        SetupError: the disk is full, read-only or forbidden.
    """
    picked = pick(run, platform, variant)
    model = plain(Path(run.model_path).stem)
    final = out.absolute()
    if platform == "android" and final.suffix != ".aar":
        final = final / f"{model}.aar"
    refuse_to_replace(final)
    with written_aside(final) as aside:
        if platform == "android":
            tree = aside.with_name("tree")
            lay_out(run, picked, platform, model, tree)
            with aside.open("wb") as archive:
                archive.writelines(stored_zip({file.relative_to(tree).as_posix(): file for file in walk(tree)}))
        else:
            lay_out(run, picked, platform, model, aside)
        verify(aside)
    return final


def refuse_to_replace(final: Path) -> None:
    """Only an intact package of edgekit's own, or an empty folder, may be replaced: nothing else is ours to remove."""
    for parent in final.parents:
        if parent.exists() and not parent.is_dir():
            raise ReleaseError(f"{parent} is not a folder: choose another place for the package")
    if final.is_symlink():
        raise ReleaseError(f"{final} is a symbolic link: choose another place for the package")
    if not final.exists() or (final.is_dir() and not any(final.iterdir())):
        return
    try:
        verify(final)
    except ReleaseError as exc:
        raise ReleaseError(f"{final} is there already and is not an intact package of edgekit's: remove it, or choose another place") from exc


def lay_out(run: Run, picked: Picked, platform: Platform, model: str, root: Path) -> None:
    """Write a package's files below `root`."""
    file = f"{model}.{plain(beside(Path(run.model_path).stem, picked.artifact.recipe))}{picked.artifact.path.suffix}"
    lineage = f"{file}.json"
    layout = LAYOUTS[platform](model, picked.artifact.path, file, (lineage, NAME, SEAL))
    resources = root / layout.resources
    resources.mkdir(parents=True)
    copy_artifact(run, picked.artifact, resources / file)
    write_json(resources / lineage, lineage_of(run, picked.artifact, file))
    for name, content in layout.files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    files = tuple(File(path=name, sha256=sha256_file(root / name), size_bytes=(root / name).stat().st_size) for name in list_files(root))
    manifest = manifest_of(run, picked, platform, resources / file, root, files).to_bytes()
    (resources / NAME).write_bytes(manifest)
    (resources / SEAL).write_bytes(seal(manifest))


def copy_artifact(run: Run, artifact: Artifact, final: Path) -> None:
    """Copy the artifact, then check the copy: what was measured is what is packed."""
    if not artifact.path.exists():
        raise ReleaseError(f"{artifact.path} is gone, which run {run.id} measured: deploy the model again")
    for source in walk(artifact.path):
        target = final / source.relative_to(artifact.path) if artifact.path.is_dir() else final
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    if not final.exists() or sha256_tree(final) != artifact.sha256:
        raise ReleaseError(f"{artifact.path} is not the file that run {run.id} measured, its SHA-256 is another one: deploy the model again")


def lineage_of(run: Run, artifact: Artifact, file: str) -> dict[str, Any]:
    """Where the file comes from; no path of this machine."""
    model = {"name": Path(run.model_path).name, "sha256": run.model_sha256}
    return {"schema": "edgekit.lineage/1", "edgekit": version("edgekit-mobile"), "model": model, "artifact": {**to_json(artifact), "path": file}}


def manifest_of(run: Run, picked: Picked, platform: Platform, file: Path, root: Path, files: tuple[File, ...]) -> Manifest:
    """The manifest of a package laid out below `root`."""
    measurement: dict[str, Any] | None = to_json(picked.variant.measurement)
    conditions: dict[str, Any] | None = None
    if measurement is not None:
        conditions = measurement.pop("conditions")
        conditions["device"].pop("hostname", None)
        for key in ("samples_ns", "device"):
            del measurement[key]
    artifact = picked.artifact
    return Manifest(
        schema=SCHEMA,
        edgekit=version("edgekit-mobile"),
        platform=platform,
        run=run.id,
        started_utc=run.started_utc,
        model=SourceModel(name=Path(run.model_path).name, sha256=run.model_sha256),
        device=Device(name=device_name(run), profile=run.profile, emulated=run.emulated),
        variant=Variant(
            recipe=artifact.recipe,
            format=artifact.format,
            path=file.relative_to(root).as_posix(),
            sha256=artifact.sha256,
            size_bytes=size_bytes(file),
            download_bytes=download_bytes(file),
        ),
        reason=picked.reason,
        measured=picked.measured,
        measurement=measurement,
        conditions=conditions,
        violations=tuple(violation.text for violation in picked.variant.violations),
        files=files,
    )


def device_name(run: Run) -> str:
    """The device's name, unless that is its address, which is nobody else's business."""
    return run.device_name if ":" not in run.device_name else run.profile or "a device of the user's"


def plain(name: str) -> str:
    """A name that any file system and build tool takes: `Tiny Net` → `Tiny-Net`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "model"


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
