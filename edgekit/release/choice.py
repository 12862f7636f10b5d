"""A run and a platform in, the variant to pack and why out; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekit.errors import InputError, ReleaseError
from edgekit.nearest import unknown
from edgekit.records import Artifact, Run, Variant

Platform = Literal["generic", "android", "ios"]


@dataclass(frozen=True, slots=True)
class Picked:
    """The variant to pack."""

    variant: Variant
    artifact: Artifact
    reason: str

    @property
    def measured(self) -> bool:
        return self.variant.measurement is not None and self.variant.measurement.latency is not None


def pick(run: Run, platform: Platform, name: str | None) -> Picked:
    """The variant that was asked for, else the run's choice; for ios its Core ML counterpart, where the run has one.

    Args:
        name: `w8a8` or `w8a8.tflite`.

    Raises:
        InputError: no variant has that name, or several have.
        ReleaseError: the variant failed, does not run on the platform, or there is none to pack.
    """
    if name is not None:
        picked = packable(run, named(run, name), "asked for by name")
    else:
        picked = ios_choice(run) if platform == "ios" else chosen(run)
    if picked.variant.format == "coreml" and platform == "android":
        raise ReleaseError(f"run {run.id}: {title(picked.variant)} does not run on Android: name a TFLite or ONNX variant with --variant")
    return picked


def chosen(run: Run) -> Picked:
    """The run's choice."""
    choice = run.chosen
    if choice is None:
        raise ReleaseError(f"run {run.id} chose no variant: name the one to pack with --variant RECIPE.FORMAT")
    found = [variant for variant in run.variants if (variant.recipe, variant.format) == (choice.recipe, choice.format)]
    if not found:
        raise ReleaseError(f"run {run.id} chose {choice.recipe} {choice.format}, which it does not have: deploy the model again")
    return packable(run, found[0], choice.reason)


def ios_choice(run: Run) -> Picked:
    """Core ML of the chosen recipe, else the smallest Core ML file (those that break no limit first), else what was chosen."""
    coreml = [variant for variant in run.variants if variant.format == "coreml" and variant.status != "failed" and variant.artifact is not None]
    if not coreml or (run.chosen is not None and run.chosen.format == "coreml"):
        return chosen(run)
    wanted = run.chosen.recipe if run.chosen else None
    best = min(coreml, key=lambda variant: (bool(variant.violations), variant.recipe != wanted, variant.artifact.download_bytes if variant.artifact else 0))
    why = f"Core ML of the chosen recipe ({run.chosen.reason})" if run.chosen and best.recipe == wanted else "the smallest Core ML file of the run"
    picked = packable(run, best, why)
    return picked if picked.measured else Picked(picked.variant, picked.artifact, f"{why}; this file itself was not measured on a device")


def named(run: Run, name: str) -> Variant:
    """The variant called `RECIPE` or `RECIPE.FORMAT`."""
    found = [variant for variant in run.variants if name in (variant.recipe, f"{variant.recipe}.{variant.format}")]
    names = [f"{variant.recipe}.{variant.format}" for variant in run.variants]
    if not found:
        raise unknown(f"variant of run {run.id}", name, names)
    if len(found) > 1:
        raise InputError(f"run {run.id} has '{name}' in several formats: name one of {', '.join(f'{variant.recipe}.{variant.format}' for variant in found)}")
    return found[0]


def packable(run: Run, variant: Variant, reason: str) -> Picked:
    """Refuse a variant that failed or has no file."""
    if variant.status == "failed" or variant.artifact is None:
        raise ReleaseError(f"run {run.id}: {title(variant)} cannot be packed: {variant.error or 'it has no file'}")
    return Picked(variant, variant.artifact, reason)


def title(variant: Variant) -> str:
    return f"{variant.recipe} {variant.format}"
