"""A model file and a Device in, a Run out: converted, verified, measured there, judged, and the one to ship chosen."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from edgekit.baseline import Baseline
from edgekit.decide import choose
from edgekit.device import Device, match_profile
from edgekit.errors import InputError
from edgekit.hub.bounds import BOUNDS
from edgekit.model import Shapes
from edgekit.places import data_dir
from edgekit.profile import Profile
from edgekit.protocol import PROTOCOLS, Protocol, Settings, Subject
from edgekit.recipe import Recipe
from edgekit.records import Run, Variant
from edgekit.runtime import adapter_of
from edgekit.store import open_store
from edgekit.toolchains.jobs import Progress
from edgekit.transport import connect
from edgekit.verbs.compressed import compress
from edgekit.verbs.convert import convert, prefixed
from edgekit.verbs.measured import Plan, measured, protocol_for, settings_for, with_integers
from edgekit.verbs.source import Source, open_source
from edgekit.workbench import Bench
from edgekit.write.format import Format
from edgekit.write.wishes import Tuning, Wishes

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
    """How much of it the device's agent ran: the rest is edgekit's own overhead, the conversion, and waiting."""
    waited_s: float
    """How much of it the device was left alone to become fit."""
    whole: bool
    """Whether the device was there to the end; if not, the next run takes over what was measured."""
    baseline: Baseline | None = None
    """The model's own accuracy, where there are labels."""


def deploy(
    path: Path,
    device: Device,
    recipes: Sequence[Recipe],
    formats: Sequence[Format],
    *,
    data: Path | None = None,
    shapes: Shapes | None = None,
    protocol: Protocol = PROTOCOLS["quick"],
    settings: Settings = Settings(),  # noqa: B008 (frozen)
    threads: int | None = None,
    cores: str | None = None,
    wishes: Wishes = Wishes(),  # noqa: B008 (frozen)
    opened: Callable[[Source], object] | None = None,
    search: str | None = None,
    progress: Progress,
) -> Deployment:
    """Convert a model, measure every variant on a device and keep the Run in the store, process by process.

    Args:
        data: samples to calibrate and evaluate with; with labels, the metric is computed from outputs made on the device.
        threads, cores: for each inference; None takes the device's own setting, else 1 and all.
        opened: called with the model and its data once they and the device are there, before anything is made.
        search: name of the search that this is a trial of.

    Raises:
        InputError: the model, the data, or a choice that nothing can carry.
        SetupError: a toolchain is missing, or the disk is full.
        DeviceError: the device could not be reached or is in use; once it was, what goes wrong there fails a variant only.
    """
    started = time.monotonic()
    if wishes.layout != "model":
        raise InputError("what is measured has the axes of the model: leave out the layout, or write such files with `edgekit convert`")
    settings = settings_for(device, settings, threads, cores)
    progress(f"connecting to {device.address}", None)
    with connect(device.address) as transport, Bench.open(transport, device, settings, verb="search" if search else "deploy") as bench:
        protocol = protocol_for(bench, protocol)
        profile = device.profile or match_profile(bench.told.identity)
        lacking = lacks(bench, formats)
        with open_source(path, shapes or {}, data, recipes, formats, progress, wishes) as source, open_store() as store:
            if opened is not None:
                opened(source)
            run = replace(new_run(source.model.path, source.model.sha256, device, profile, bench), search=search)
            store.begin(run)
            # All are converted before the first is measured, so that no conversion disturbs a measurement.
            converted = convert(source, recipes, formats, lambda sha256: data_dir() / "artifacts" / sha256[:16], progress, wishes)
            named = {recipe.name: recipe for recipe in recipes}
            plans = [plan(source, named[one.recipe], wishes.tuning, one, device, profile, lacking, progress) for one in converted]
            done = measured(bench, store, run, plans, profile, protocol, settings, prefixed(f"on {device.name}", progress))
            run = replace(run, variants=done.variants, chosen=choose(done.variants, profile))
            store.finish(run, whole=done.whole)
            own = source.baseline(progress)
        return Deployment(run, bench.pushed_bytes, time.monotonic() - started, bench.agent_s, bench.waited_s, done.whole, own)


def new_run(model_path: Path, model_sha256: str, device: Device, profile: Profile | None, bench: Bench) -> Run:
    """A Run with no variants yet; its id sorts by time."""
    now = datetime.now(UTC)
    return Run(
        id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        started_utc=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        model_path=str(model_path),
        model_sha256=model_sha256,
        device_name=device.name,
        device_address=bench.transport.address,  # `adb:` has become the serial of the one device
        emulated=bench.emulated,
        profile=profile.name if profile else None,
        variants=(),
        chosen=None,
    )


def runs_there(profile: Profile | None) -> Sequence[str]:
    """The formats that a device runs."""
    return profile.formats if profile else RUN_BY_DEFAULT


def runs(form: str, profile: Profile | None) -> bool:
    """Whether files of a format are to be tried on a device: those that bring their own runtime along always are."""
    return form in runs_there(profile) or adapter_of(form) is not None


def lacks(bench: Bench, formats: Sequence[Format]) -> Mapping[str, str]:
    """Format → why nothing runs it on the device.

    Raises:
        InputError: nothing runs any of them.
    """
    found = {fmt.name: words for fmt in formats if (words := bench.platform.description.lacking(bench.told.machine, fmt.name))}
    if found and len(found) == len({fmt.name for fmt in formats}):
        raise InputError("; ".join(found.values()))
    return found


def plan(
    source: Source,
    recipe: Recipe,
    tuning: Tuning,
    variant: Variant,
    device: Device,
    profile: Profile | None,
    lacking: Mapping[str, str],
    progress: Progress,
) -> Plan:
    """What to measure of a converted variant; nothing of one that failed, or that the device does not run."""
    artifact = variant.artifact
    if variant.status != "ok" or artifact is None:
        return Plan(variant, None)
    if variant.format in lacking or not runs(variant.format, profile):
        error = f"converted and checked on this machine; {lacking.get(variant.format) or f'{device.name} does not run {variant.format}'}"
        return Plan(replace(variant, status="skipped", error=error), None)
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
        bound=None if artifact.compression is None else BOUNDS[artifact.compression.numbers],
        held_to=None if artifact.compression is None else compress(source, recipe, tuning, progress).reference.folder,  # made before: out of the cache
    )
    return Plan(variant, with_integers(subject, artifact.quantization, progress))
