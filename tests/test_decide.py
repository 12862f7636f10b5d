"""The decision: what breaks a limit, what is not judged, and which variant is chosen with which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.decide import choose, not_judged, violations
from edgekit.profile import Limit, Limits, Profile
from edgekit.records import Accuracy, Choice, Variant
from tests.lab.runs import broken, variant


def limit(value: float) -> Limit:
    return Limit(value=value, source="the test")


def profile(limits: Limits) -> Profile:
    return Profile(name="tested", title="Tested", platform="linux", formats=("tflite",), limits=limits)


STRICT = profile(
    Limits(
        download_bytes_max=limit(1_000_000),
        peak_rss_bytes_max=limit(60_000_000),
        latency_p50_ns_max=limit(3_000_000),
        accuracy_drop_points_max=limit(1.0),
    )
)


def top1(value: float, baseline: float = 0.95) -> Accuracy:
    return Accuracy("top1", value, baseline, 1000)


def chosen(*variants: Variant, by: Profile | None = None) -> Choice:
    choice = choose(variants, by)
    assert choice is not None
    return choice


def test_what_is_within_every_limit_breaks_none() -> None:
    assert violations(variant("w8a8", "tflite", 3_000_000, 1_000_000, accuracy=top1(0.94)), STRICT) == ()


@pytest.mark.parametrize(
    ("given", "name", "allowed", "found", "text"),
    [
        (variant("w8", "tflite", 2_000_000, 1_500_000), "download_bytes_max", 1e6, 1.5e6, "download is 1.5 MB, allowed is 1.0 MB"),
        (variant("w8", "tflite", 3_500_000, 1000), "latency_p50_ns_max", 3e6, 3.5e6, "p50 is 3.50 ms, allowed is 3.00 ms"),
        (
            variant("w8", "tflite", 2_000_000, 1000, accuracy=top1(0.925)),
            "accuracy_drop_points_max",
            1.0,
            2.5,
            "loss of accuracy is 2.5 points, allowed is 1.0 points",
        ),
    ],
)
def test_each_limit_is_broken_with_its_figures(given: Variant, name: str, allowed: float, found: float, text: str) -> None:
    (violation,) = violations(given, STRICT)
    assert (violation.limit, violation.allowed, violation.text) == (name, allowed, text)
    assert violation.found == pytest.approx(found)


def test_peak_memory_is_judged() -> None:
    (violation,) = violations(variant("w8", "tflite", 1000, 1000), profile(Limits(peak_rss_bytes_max=limit(59_999_999))))
    assert violation.limit == "peak_rss_bytes_max"


def test_an_emulated_processor_is_judged_for_neither_latency_nor_memory() -> None:
    slow = variant("w8", "tflite", 900_000_000, 1000, emulated=True)
    strict = profile(Limits(peak_rss_bytes_max=limit(1), latency_p50_ns_max=limit(1), download_bytes_max=limit(1)))
    assert [violation.limit for violation in violations(slow, strict)] == ["download_bytes_max"]
    assert not_judged(slow, strict) == ("latency_p50_ns_max not judged: emulated", "peak_rss_bytes_max not judged: emulated")


def test_without_labels_accuracy_is_not_judged() -> None:
    assert not_judged(variant("w8", "tflite", 1000, 1000), STRICT) == ("accuracy_drop_points_max not judged: no labelled data",)


def test_a_failed_variant_and_no_profile_break_nothing() -> None:
    assert violations(broken("w8", "tflite"), STRICT) == ()
    assert violations(variant("w8", "tflite", 2**40, 2**40), None) == ()


def test_the_fastest_is_chosen_and_the_reason_has_its_figures() -> None:
    choice = chosen(
        variant("fp32", "tflite", 4_000_000, 10_000_000, accuracy=top1(0.95)),
        variant("w8a8", "tflite", 1_600_000, 2_800_000, accuracy=top1(0.949)),
        variant("fp32", "onnx", 4_500_000, 10_000_000, accuracy=top1(0.95)),
    )
    assert (choice.recipe, choice.format) == ("w8a8", "tflite")
    assert choice.reason == "w8a8 tflite: 1.60 ms p50, 2.5× faster than fp32, 0.28 of its download, accuracy −0.1 points"


def test_a_float32_winner_is_not_compared_with_itself() -> None:
    choice = chosen(variant("fp32", "tflite", 1_000_000, 10_000_000, accuracy=top1(0.95)), variant("w8", "tflite", 4_000_000, 10))
    assert choice.reason == "fp32 tflite: 1.00 ms p50, 10.0 MB of download, accuracy +0.0 points"


def test_where_intervals_overlap_the_smaller_download_wins() -> None:
    fast = variant("fp32", "tflite", 1_000_000, 10_000_000, spread_ns=40_000)
    small = variant("w8", "tflite", 1_070_000, 3_000_000, spread_ns=40_000)
    choice = chosen(fast, small)
    assert choice.recipe == "w8"
    assert choice.reason == "w8 tflite: 1.07 ms p50, as fast as fp32 (1.00 ms), 0.30 of its download, accuracy unknown without labelled data"
    assert chosen(fast, variant("w8", "tflite", 1_090_000, 3_000_000, spread_ns=40_000)).recipe == "fp32"


def test_a_rival_that_is_not_the_float32_is_named_with_its_p50() -> None:
    float32, fast = variant("fp32", "tflite", 4_000_000, 10_000_000), variant("w8", "onnx", 1_000_000, 3_100_000)
    choice = chosen(float32, fast, variant("w8", "tflite", 1_010_000, 3_000_000))
    assert choice.reason == (
        "w8 tflite: 1.01 ms p50, 4.0× faster than fp32, 0.30 of its download, accuracy unknown without labelled data, "
        "smaller than w8 onnx, whose p50 of 1.00 ms is not clearly lower"
    )


def test_what_hardly_differs_is_as_fast_however_narrow_the_intervals() -> None:
    fast = variant("fp32", "tflite", 1_000_000, 10_000_000, spread_ns=1)
    assert chosen(fast, variant("w8", "tflite", 1_030_000, 3_000_000, spread_ns=1)).recipe == "w8"
    assert chosen(fast, variant("w8", "tflite", 1_031_000, 3_000_000, spread_ns=1)).recipe == "fp32"
    assert "as fast as fp32" in chosen(fast, variant("w8", "tflite", 990_000, 3_000_000, spread_ns=1)).reason


@pytest.mark.parametrize(("float32_ns", "text"), [(1_040_000, "as fast as fp32"), (1_060_000, "1.1× faster than fp32")])
def test_nothing_is_faster_by_a_factor_that_reads_one(float32_ns: int, text: str) -> None:
    choice = chosen(variant("w8", "tflite", 1_000_000, 3_000_000, spread_ns=1), variant("fp32", "tflite", float32_ns, 10_000_000, spread_ns=1))
    assert choice.reason.startswith(f"w8 tflite: 1.00 ms p50, {text}, 0.30 of its download")


def test_another_formats_float32_is_named() -> None:
    choice = chosen(variant("fp32", "onnx", 4_000_000, 10_000_000), variant("w8a8", "tflite", 1_600_000, 2_800_000))
    assert "2.5× faster than fp32 onnx" in choice.reason


def test_too_great_a_loss_against_the_best_baseline_is_not_shipped() -> None:
    float32, lossy = (
        variant("fp32", "tflite", 4_000_000, 100, accuracy=top1(0.95)),
        variant("w8a8", "tflite", 1_000_000, 10, accuracy=top1(0.93, baseline=0.935)),
    )
    assert chosen(float32, lossy).recipe == "fp32"
    assert chosen(float32, lossy, by=profile(Limits(accuracy_drop_points_max=limit(2.5)))).recipe == "w8a8"


def test_a_loss_of_exactly_what_is_allowed_is_shipped() -> None:
    assert chosen(variant("w8a8", "tflite", 1_000_000, 10, accuracy=top1(0.94))).recipe == "w8a8"


def test_a_broken_limit_rules_a_variant_out() -> None:
    float32, big = variant("fp32", "tflite", 2_500_000, 100_000), variant("w8", "tflite", 1_000_000, 2_000_000)
    assert chosen(float32, big, by=STRICT).recipe == "fp32"
    noted = replace(big, violations=violations(big, STRICT))
    assert chosen(float32, noted).recipe == "fp32"


def test_emulated_latencies_do_not_rank() -> None:
    choice = chosen(variant("fp32", "tflite", 1_000_000, 1000, emulated=True), variant("w8", "tflite", 9_000_000, 300, emulated=True))
    assert choice.recipe == "w8"
    assert choice.reason == "w8 tflite: smallest download (0.30 of fp32's), accuracy unknown without labelled data; the latency is emulated"
    alone = chosen(variant("fp32", "tflite", 1_000_000, 1000, emulated=True), variant("w8", "tflite", 9_000_000, 3000, emulated=True))
    assert alone.reason.startswith("fp32 tflite: smallest download (1.0 kB), ")


def test_nothing_measured_means_no_choice() -> None:
    made = variant("w8", "coreml", 1000, 1000)
    assert choose([replace(made, status="skipped", measurement=None), broken("fp32", "coreml")], None) is None
    assert made.measurement is not None
    assert choose([replace(made, measurement=replace(made.measurement, latency=None))], None) is None
    assert choose([replace(made, status="failed")], None) is None
    assert choose([], None) is None
