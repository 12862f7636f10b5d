"""Converted variants and a device that is ready in, the same variants with their measurements out, each kept as soon as there is more of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from edgekit.agent import LOST
from edgekit.decide import violations
from edgekit.device import Device
from edgekit.errors import InputError, Unreachable
from edgekit.measure import Found, measure
from edgekit.profile import Profile
from edgekit.protocol import Protocol, Settings, Subject
from edgekit.records import Quantization, Run, Variant
from edgekit.records_json import to_json
from edgekit.store_sqlite import Store
from edgekit.toolchains.jobs import Job, Progress, run
from edgekit.workbench import Bench

TAKEN_UP_WITHIN = timedelta(hours=24)
"""A device is not the same for ever: what was measured longer ago is measured again."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """A variant, and what to measure of it; None where there is nothing to be measured."""

    variant: Variant
    subject: Subject | None


def with_integers(subject: Subject, ends: Quantization | None, progress: Progress) -> Subject:
    """A file with integer inputs gets its samples as such, and is run with the dtypes that it has."""
    if ends is None:
        return subject
    samples = run(Job("convert", "integer_samples", {"samples": subject.samples}, {"how": to_json(ends.inputs)}), progress).folder
    inputs, outputs = (
        tuple(spec if how is None else replace(spec, dtype=how.dtype) for spec, how in zip(specs, one, strict=True))
        for specs, one in ((subject.inputs, ends.inputs), (subject.outputs, ends.outputs))
    )
    return replace(subject, samples=samples, inputs=inputs, outputs=outputs, integers=ends)


@dataclass(frozen=True, slots=True)
class Done:
    """All variants in their order, and whether the device was there to the end."""

    variants: tuple[Variant, ...]
    whole: bool


def settings_for(device: Device, given: Settings, threads: int | None, cores: str | None) -> Settings:
    """What was asked for, else what the lab says of the device, else one thread on all cores."""
    return replace(given, threads=threads or device.threads or 1, cores_asked=cores or device.cores or "all")


def protocol_for(bench: Bench, protocol: Protocol) -> Protocol:
    """The protocol on this device: shortened where its processor is emulated.

    Raises:
        InputError: a sustained measurement of an emulated processor, which heats another one.
    """
    if bench.emulated and protocol.is_sustained:
        raise InputError(f"{bench.transport.address} is emulated: what heat does to a device shows on a real one only; leave out --sustained")
    return protocol.shortened if bench.emulated else protocol


def measured(
    bench: Bench, store: Store, run: Run, plans: Sequence[Plan], profile: Profile | None, protocol: Protocol, settings: Settings, progress: Progress
) -> Done:
    """Measure what is planned; what an earlier run of the same files was cut off with is taken over, not measured again."""
    variants: dict[Key, Variant] = {}
    whole = True

    def keep(variant: Variant) -> None:
        judged = replace(variant, violations=violations(variant, profile))
        store.append(run.id, judged)
        variants[(variant.recipe, variant.format)] = judged

    earlier = taken_up(store, run, bench, protocol, settings)
    subjects: list[Subject] = []
    for plan in plans:
        variant = plan.variant
        before = earlier.get(plan.subject.sha256) if plan.subject else None
        if before is not None and before.measurement is not None:
            keep(replace(variant, measurement=before.measurement))
        elif plan.subject is not None:
            variants[(variant.recipe, variant.format)] = variant
            subjects.append(plan.subject)
        else:
            keep(variant)
    for subject, found in measure(bench, subjects, protocol, settings, progress):
        key = (subject.recipe, subject.format)
        whole = whole and not lost(found)
        keep(outcome(variants[key], found))
    return Done(tuple(variants[(plan.variant.recipe, plan.variant.format)] for plan in plans), whole)


def lost(found: Found) -> bool:
    """Whether the connection was lost, so that the rest can still be measured when it is back."""
    if isinstance(found, Exception):
        return isinstance(found, Unreachable)
    return any(LOST in note for note in found.notes[:1])


def outcome(variant: Variant, found: Found) -> Variant:
    """The variant with what was found: its measurement, or `failed` with what went wrong on the device."""
    if isinstance(found, Exception):  # a runtime that there is none of for this device costs its format only
        return replace(variant, status="failed", error=str(found))
    if found.latency is None:
        why = found.notes[0] if found.notes else "no latency"
        whose = "" if found.complete else f"{found.device.rstrip(':')}: "  # it was cut short by the device, not found wrong
        return replace(variant, status="failed", error=whose + why, measurement=found)
    return replace(variant, status="ok", error=None, measurement=found)


def taken_up(store: Store, run: Run, bench: Bench, protocol: Protocol, settings: Settings) -> Mapping[str, Variant]:
    """By the file's digest, what the last run measured to its end before it was cut off: same model, device, protocol and settings."""
    since = datetime.now(UTC) - TAKEN_UP_WITHIN
    earlier = store.cut_off(run.model_sha256, run.device_address, f"{since:%Y-%m-%dT%H:%M:%SZ}", before=run.id)
    if earlier is None:
        return {}
    note = f"measured in run {earlier.id}, which was cut off"
    same: Callable[[Variant], bool] = lambda variant: comparable(variant, bench, protocol, settings)  # noqa: E731
    found = {}
    for variant in filter(same, earlier.variants):
        assert variant.artifact is not None
        assert variant.measurement is not None
        notes = variant.measurement.notes if note in variant.measurement.notes else (*variant.measurement.notes, note)
        found[variant.artifact.sha256] = replace(variant, measurement=replace(variant.measurement, notes=notes))
    return found


def comparable(variant: Variant, bench: Bench, protocol: Protocol, settings: Settings) -> bool:
    """Whether a variant was measured to its end as it would be now."""
    taken = variant.measurement
    if variant.status != "ok" or variant.artifact is None or taken is None or taken.latency is None or not taken.complete:
        return False
    held = taken.conditions
    there = (protocol.name, held.device, held.runner, held.runtime_build, held.threads, held.cores_asked)
    return there == (taken.protocol, dict(bench.told.identity), bench.runner.name, bench.runner.build, settings.threads, settings.cores_asked)
