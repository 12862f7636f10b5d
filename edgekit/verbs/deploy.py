"""A model file and a Device in, a Run out: converted, verified, measured there, judged, and the one to ship chosen."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from edgekit.decide import choose, violations
from edgekit.device import Device, match_profile
from edgekit.errors import DeviceError, SetupError
from edgekit.measure import PROTOCOLS, Bench, Protocol, Subject
from edgekit.model import Shapes
from edgekit.places import data_dir
from edgekit.profile import Profile
from edgekit.recipe import Recipe
from edgekit.records import Run, Variant
from edgekit.store import open_store
from edgekit.toolchains.jobs import Progress
from edgekit.transport import connect
from edgekit.verbs.convert import Source, convert, open_source, prefixed
from edgekit.write.format import Format

RUN_BY_DEFAULT = ("tflite", "onnx")
"""What a device of an unknown profile is taken to run: Linux with a runtime that edgekit brings along."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A Run, and what it cost."""

    run: Run
    pushed_bytes: int
    """What was sent to the device; 0 where all of it was there already."""
    elapsed_s: float
    agent_s: float
    """How much of it the device's agent ran: the rest is edgekit's own overhead and the conversion."""


def deploy(
    path: Path,
    device: Device,
    recipes: Sequence[Recipe],
    formats: Sequence[Format],
    *,
    data: Path | None = None,
    shapes: Shapes | None = None,
    protocol: Protocol = PROTOCOLS["quick"],
    threads: int | None = None,
    progress: Progress,
) -> Deployment:
    """Convert a model, measure every variant on a device and keep the Run in the store, variant by variant.

    Args:
        data: samples to calibrate and evaluate with; with labels, the metric is computed from outputs made on the device.
        threads: for each inference; None takes the device's own setting, else 1.

    Raises:
        InputError: the model, the data, or a choice that nothing can carry.
        SetupError: a toolchain is missing, or the disk is full.
        DeviceError: the device could not be reached at all; once it was, what goes wrong there fails a variant only.
    """
    started = time.monotonic()
    progress(f"connecting to {device.address}", None)
    with connect(device.address) as transport, Bench.open(transport, device.python) as bench:
        profile = device.profile or match_profile(bench.told.identity)
        with open_source(path, shapes or {}, data, recipes, formats, progress) as source, open_store() as store:
            run = new_run(source.model.path, source.model.sha256, device, profile, bench.emulated)
            store.begin(run)
            # All are converted before the first is measured, so that no conversion disturbs a measurement.
            converted = convert(source, recipes, formats, lambda sha256: data_dir() / "artifacts" / sha256[:16], progress)
            variants: list[Variant] = []
            for one in converted:
                variant = measure(bench, source, one, device, profile, protocol, threads, progress)
                variant = replace(variant, violations=violations(variant, profile))
                store.append(run.id, variant)
                variants.append(variant)
            run = replace(run, variants=tuple(variants), chosen=choose(variants, profile))
            store.finish(run)
        return Deployment(run, bench.pushed_bytes, time.monotonic() - started, bench.agent_s)


def new_run(model_path: Path, model_sha256: str, device: Device, profile: Profile | None, emulated: bool) -> Run:
    """A Run with no variants yet; its id sorts by time."""
    now = datetime.now(UTC)
    return Run(
        id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        started_utc=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        model_path=str(model_path),
        model_sha256=model_sha256,
        device_name=device.name,
        device_address=device.address,
        emulated=emulated,
        profile=profile.name if profile else None,
        variants=(),
        chosen=None,
    )


def runs_there(profile: Profile | None) -> Sequence[str]:
    """The formats that a device runs."""
    return profile.formats if profile else RUN_BY_DEFAULT


def measure(
    bench: Bench,
    source: Source,
    variant: Variant,
    device: Device,
    profile: Profile | None,
    protocol: Protocol,
    threads: int | None,
    progress: Progress,
) -> Variant:
    """A converted variant measured on the device; what goes wrong there fails this variant only."""
    artifact = variant.artifact
    if variant.status != "ok" or artifact is None:
        return variant
    if variant.format not in runs_there(profile):
        return replace(variant, status="skipped", error=f"converted and checked on this machine; {device.name} does not run {variant.format}")
    subject = Subject(
        path=artifact.path,
        sha256=artifact.sha256,
        format=artifact.format,
        recipe=artifact.recipe,
        inputs=source.model.inputs,
        outputs=source.model.outputs,
        samples=source.samples.evaluation,
        reference=source.reference.folder,
        labels=source.samples.labels,
    )
    return attempt_on(
        bench, subject, variant, protocol, threads or device.threads or 1, prefixed(f"{variant.format} {variant.recipe} on {device.name}", progress)
    )


def attempt_on(bench: Bench, subject: Subject, variant: Variant, protocol: Protocol, threads: int, progress: Progress) -> Variant:
    """The variant with its measurement, or `failed` with what went wrong on the device."""
    try:
        found = bench.measure(subject, protocol, threads=threads, progress=progress)
    except (DeviceError, SetupError) as exc:  # a runtime that has no wheels for this device costs its format only
        return replace(variant, status="failed", error=str(exc))
    if found.latency is None:
        return replace(variant, status="failed", error=found.notes[0] if found.notes else "no latency", measurement=found)
    return replace(variant, measurement=found)
