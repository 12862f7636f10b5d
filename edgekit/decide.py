"""Variants and a profile in; what breaks its limits, and the one to ship and why, out; no I/O.

The rule: of the variants that are ok, were measured, break no limit and lose no more accuracy than allowed, the one
with the lowest p50 is chosen; of those as fast as it (95 % intervals of p50 overlap, or 3 % apart at most), the one
with the smallest download.
An emulated latency says nothing about the device, so there only the download counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgekit.profile import Limit, Profile
from edgekit.records import Accuracy, Artifact, Choice, Latency, Measurement, Variant, Violation
from edgekit.units import bytes_text, duration_text

ACCURACY_DROP_POINTS = 1.0
"""Percentage points that compression may cost where no profile says: what is usually accepted for a file a quarter the size."""

SAME_SPEED = 1.03
"""Ratio of two p50 up to which they are called equal: an interval says how well one series of runs is known, not how
well the next one repeats it, and thousands of runs make it narrower than that."""

ROUNDING_POINTS = 1e-9
"""0.95 - 0.94 is a little more than one point in binary fractions; that is not a loss."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant that can be shipped, with its parts at hand."""

    variant: Variant
    artifact: Artifact
    measurement: Measurement
    latency: Latency


def violations(variant: Variant, profile: Profile | None) -> tuple[Violation, ...]:
    """The limits of the profile that a variant breaks; none for a variant that is not ok.

    What the device did not tell is not judged, and neither are latency and memory where the processor is emulated.
    """
    if profile is None or variant.status != "ok" or variant.artifact is None:
        return ()
    limits = profile.limits
    latency, peak = judged_latency(variant), judged_peak_rss(variant)
    accuracy = accuracy_of(variant)
    download, points = variant.artifact.download_bytes, None if accuracy is None else drop_points(accuracy)
    found = (
        over("download_bytes_max", limits.download_bytes_max, download, "download", size_text),
        over("peak_rss_bytes_max", limits.peak_rss_bytes_max, peak, "peak memory", size_text),
        over("latency_p50_ns_max", limits.latency_p50_ns_max, latency.p50_ns if latency else None, "p50", duration_text),
        over("accuracy_drop_points_max", limits.accuracy_drop_points_max, points, "loss of accuracy", points_text),
    )
    return tuple(violation for violation in found if violation is not None)


def not_judged(variant: Variant, profile: Profile | None) -> tuple[str, ...]:
    """The limits of the profile that a measured variant was not held against, each with the reason."""
    measurement = variant.measurement
    if profile is None or variant.status != "ok" or measurement is None:
        return ()
    limits, emulated = profile.limits, measurement.conditions.emulated
    reasons = (
        ("latency_p50_ns_max", limits.latency_p50_ns_max, judged_latency(variant), "emulated" if emulated else "not measured"),
        ("peak_rss_bytes_max", limits.peak_rss_bytes_max, judged_peak_rss(variant), "emulated" if emulated else "the device does not tell"),
        ("accuracy_drop_points_max", limits.accuracy_drop_points_max, accuracy_of(variant), "no labelled data"),
    )
    return tuple(f"{name} not judged: {reason}" for name, limit, found, reason in reasons if limit is not None and found is None)


def choose(variants: Sequence[Variant], profile: Profile | None) -> Choice | None:
    """The variant to ship, by the rule above, or None where none can be shipped or nothing was measured."""
    candidates = shippable(variants, profile)
    if not candidates:
        return None
    fastest = min(candidates, key=lambda candidate: candidate.latency.p50_ns)
    rivals = candidates if emulated(candidates) else [candidate for candidate in candidates if as_fast(candidate.latency, fastest.latency)]
    best = min(rivals, key=lambda candidate: (candidate.artifact.download_bytes, candidate.latency.p50_ns))
    return Choice(best.variant.recipe, best.variant.format, reason(best, fastest, measured(variants), emulated(candidates)))


def shippable(variants: Sequence[Variant], profile: Profile | None) -> list[Candidate]:
    """Those that are ok, measured, within all limits, and accurate enough by the best baseline."""
    limit = profile.limits.accuracy_drop_points_max if profile else None
    allowed = ACCURACY_DROP_POINTS if limit is None else limit.value
    candidates = measured(variants)
    known = [accuracy for candidate in candidates if (accuracy := accuracy_of(candidate.variant))]
    baseline = max((accuracy.baseline for accuracy in known), default=0.0)

    def accurate(candidate: Candidate) -> bool:
        accuracy = accuracy_of(candidate.variant)
        return accuracy is None or 100 * (baseline - accuracy.value) <= allowed + ROUNDING_POINTS

    return [candidate for candidate in candidates if accurate(candidate) and not candidate.variant.violations and not violations(candidate.variant, profile)]


def measured(variants: Sequence[Variant]) -> list[Candidate]:
    """Those that are ok and have a latency."""
    return [
        Candidate(variant, variant.artifact, variant.measurement, variant.measurement.latency)
        for variant in variants
        if variant.status == "ok" and variant.artifact and variant.measurement and variant.measurement.latency
    ]


def reason(best: Candidate, fastest: Candidate, all_measured: Sequence[Candidate], is_emulated: bool) -> str:
    """Why, in one sentence with figures: `w8a8 tflite: 1.60 ms p50, 2.5× faster than fp32, 0.28 of its download, …`."""
    float32 = reference(best, all_measured)
    parts = [] if is_emulated else [f"{duration_text(best.latency.p50_ns)} p50"]
    if float32 is None:
        size = bytes_text(best.artifact.download_bytes)
        parts.append(f"smallest download ({size})" if is_emulated else f"{size} of download")
    else:
        name = "fp32" if float32.variant.format == best.variant.format else f"fp32 {float32.variant.format}"
        share = f"{best.artifact.download_bytes / float32.artifact.download_bytes:.2f}"
        if is_emulated:
            parts.append(f"smallest download ({share} of {name}'s)")
        else:
            its = f" ({duration_text(float32.latency.p50_ns)})" if float32 == fastest else ""
            parts += [f"{speed_text(best.latency, float32.latency)}{name}{its}", f"{share} of its download"]
    accuracy = accuracy_of(best.variant)
    if accuracy is None:
        parts.append("accuracy unknown without labelled data")
    else:
        parts.append(f"accuracy {round(-drop_points(accuracy), 1) + 0.0:+.1f} points".replace("-", "−"))
    if is_emulated:
        return f"{title(best)}: {', '.join(parts)}; the latency is emulated"
    if fastest not in (best, float32):
        parts.append(f"smaller than {title(fastest)}, whose p50 of {duration_text(fastest.latency.p50_ns)} is not clearly lower")
    return f"{title(best)}: {', '.join(parts)}"


def reference(best: Candidate, all_measured: Sequence[Candidate]) -> Candidate | None:
    """The float32 variant to compare with: of the same format where there is one; None for a float32 variant itself."""
    if best.variant.recipe == "fp32":
        return None
    floats = [candidate for candidate in all_measured if candidate.variant.recipe == "fp32" and candidate.artifact.download_bytes]
    return min(floats, key=lambda candidate: candidate.variant.format != best.variant.format, default=None)


def speed_text(mine: Latency, other: Latency) -> str:
    """`2.5× faster than `, `1.3× slower than ` or, where that is as fast or would read 1.0×, `as fast as `."""
    least, most = sorted((max(mine.p50_ns, 1), max(other.p50_ns, 1)))
    factor = f"{most / least:.1f}"
    if as_fast(mine, other) or factor == "1.0":
        return "as fast as "
    return f"{factor}× {'faster' if mine.p50_ns < other.p50_ns else 'slower'} than "


def over(name: str, limit: Limit | None, found: float | None, what: str, text: Callable[[float], str]) -> Violation | None:
    """The violation of one limit, or None if there is no such limit, nothing to hold against it, or it holds."""
    if limit is None or found is None or found <= limit.value + ROUNDING_POINTS:
        return None
    return Violation(name, limit.value, float(found), f"{what} is {text(found)}, allowed is {text(limit.value)}")


def size_text(size_bytes: float) -> str:
    return bytes_text(int(size_bytes))


def points_text(points: float) -> str:
    return f"{points:.1f} points"


def as_fast(one: Latency, other: Latency) -> bool:
    """Whether two 95 % intervals of p50 have a value in common, or their p50 hardly differ."""
    overlap = False
    if one.p50_low_ns and one.p50_high_ns and other.p50_low_ns and other.p50_high_ns:  # a runner that keeps its samples gives no interval
        overlap = one.p50_low_ns <= other.p50_high_ns and other.p50_low_ns <= one.p50_high_ns
    return overlap or max(one.p50_ns, other.p50_ns) <= SAME_SPEED * min(one.p50_ns, other.p50_ns)


def emulated(candidates: Iterable[Candidate]) -> bool:
    return any(candidate.measurement.conditions.emulated for candidate in candidates)


def title(candidate: Candidate) -> str:
    return f"{candidate.variant.recipe} {candidate.variant.format}"


def drop_points(accuracy: Accuracy) -> float:
    """Percentage points below the source model; negative where the variant is better."""
    return 100 * (accuracy.baseline - accuracy.value)


def accuracy_of(variant: Variant) -> Accuracy | None:
    """As the device measured it, else as it was found on this machine."""
    if variant.measurement and variant.measurement.accuracy:
        return variant.measurement.accuracy
    return variant.artifact.accuracy if variant.artifact else None


def judged_latency(variant: Variant) -> Latency | None:
    """The latency, unless the processor is emulated."""
    measurement = variant.measurement
    return None if measurement is None or measurement.conditions.emulated else measurement.latency


def judged_peak_rss(variant: Variant) -> int | None:
    """The agent's peak memory, unless the processor is emulated: the peak is then the emulator's own."""
    measurement = variant.measurement
    return None if measurement is None or measurement.memory is None or measurement.conditions.emulated else measurement.memory.peak_rss_bytes
