"""What benchmark_model prints, in every documented form and damaged; and what is made of it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from edgekit.benchmark_model_told import delegation
from edgekit.facts import benchmark_model as facts
from edgekit.facts.benchmark_model import parse
from tests.test_facts import SAMPLES, mangled

DOCUMENTED = Path(__file__).parent / "device_output/documented/benchmark_model"


def documented(name: str) -> str:
    return "\n".join(json.loads((DOCUMENTED / f"{name}.json").read_text(encoding="utf-8"))["output"])


CASES = sorted(path.stem for path in DOCUMENTED.glob("*.json"))


@pytest.mark.parametrize("name", CASES)
def test_each_documented_form_is_read(name: str) -> None:
    case = json.loads((DOCUMENTED / f"{name}.json").read_text(encoding="utf-8"))

    assert json.loads(json.dumps(asdict(parse(documented(name))))) == case["expected"]
    assert case["source"]


@pytest.mark.parametrize("name", CASES)
def test_a_text_that_was_cut_gives_no_figure_that_the_whole_does_not(name: str) -> None:
    text = documented(name)
    whole = asdict(parse(text))

    for end in range(0, len(text), 7):
        found = asdict(parse(text[:end]))
        for field in ("load_us", "first_us", "warm_up", "runs", "growth_bytes", "peak_bytes", "nodes"):
            assert found[field] in (None, whole[field]), (field, end)


OTHER_TIMINGS = "INFO: Inference timings in us: Init: 102319, First inference: 670083, Warmup (avg): 670083, Inference (avg): 699438\nINFO: Note"


@pytest.mark.parametrize(
    ("name", "old", "new", "field"),
    [
        ("android-xnnpack-percentiles", "Init: 102320", "Init: 112320", "load_us"),
        ("android-xnnpack-percentiles", "First inference: 670083", "First inference: 670084", "first_us"),
        ("android-xnnpack-percentiles", "Warmup (avg): 670083", "Warmup (avg): 690083", "warm_up"),
        ("android-xnnpack-percentiles", "Inference (avg): 699438", "Inference (avg): 799438", "runs"),
        ("android-xnnpack-percentiles", "INFO: Note", OTHER_TIMINGS, "load_us"),
        ("android-xnnpack-percentiles", "p95=1373207", "p95=1373207\nINFO: count=49 curr=5(all same)", "runs"),
        ("android-xnnpack-percentiles", "median=576856", "median=1576856", "runs"),
        ("android-xnnpack-percentiles", "min=502355", "min=602355", "runs"),
        ("peak-memory", "overall=86.543", "overall=186.543", "growth_bytes"),
        ("peak-memory", "overall=86.543", "overall=186.543", "peak_bytes"),
        ("profile-xnnpack-kernels", "executed: 4", "executed: 5", "nodes"),
    ],
)
def test_what_is_said_twice_and_differs_is_not_known(name: str, old: str, new: str, field: str) -> None:
    text = documented(name)
    assert text.count(old) == 1
    assert getattr(parse(text), field) is not None

    assert getattr(parse(text.replace(old, new)), field) is None


def test_more_operators_than_there_are_are_not_replaced() -> None:
    assert parse(documented("android-xnnpack-percentiles").replace("Replacing 49 out of 49", "Replacing 59 out of 49")).replaced == ()


def unfounded(text: str, told: facts.Told) -> Iterator[str]:
    """Figures that do not stand in the text, whole, where they should; looked for by other means than the parser's."""
    lines = text.split("\n")

    def stands(*words: str) -> bool:
        return any(all(re.search(rf"(?<![0-9.]){re.escape(word)}(?![0-9.e])", line) for word in words) for line in lines)

    if told.load_us is not None and not stands("timings in us", f"Init: {told.load_us}"):
        yield "load"
    if told.first_us is not None and not stands("timings in us", f"First inference: {told.first_us}"):
        yield "first"
    for runs in (told.warm_up, told.runs):
        if runs and runs.min_us != runs.max_us and not stands(f"count={runs.count}", f"min={runs.min_us}", f"max={runs.max_us}", f"std={runs.std_us}"):
            yield "runs"
        if runs and runs.p50_us is not None and not stands(f"count={runs.count}", f"median={runs.p50_us}"):
            yield "median"
    for what, value in (("Memory footprint delta", told.growth_bytes), ("periodic monitoring", told.peak_bytes)):
        figures = [float(word) * 2**20 for line in lines if what in line for word in re.findall(r"[0-9]+(?:\.[0-9]+)?", line)]
        if value is not None and not any(abs(figure - value) < 1 for figure in figures):
            yield what
    for node in told.nodes or ():
        if not any(node.op in line and f"{100 * node.share:.3f}%" in line for line in lines):
            yield node.op
    if told.nodes and sum(node.share for node in told.nodes) > 1.01:
        yield "shares"


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_text_gives_no_figure_that_does_not_stand_in_it(name: str) -> None:
    chance, others = random.Random(name), [documented(other) for other in CASES]

    for _ in range(SAMPLES):
        text = mangled(documented(name), chance.choice(others), chance)
        assert list(unfounded(text, parse(text))) == [], text


def test_operators_outside_the_delegate_are_counted_by_kind() -> None:
    profile = "Operator-wise Profiling Info for Regular Benchmark Runs:\n==== Run Order ====\n"
    profile += "[node type] [first] [avg ms] [%] [cdf%] [mem KB] [times called] [Name]\n"
    rows = "TfLiteGpuDelegateV2 1.000 1.000 60.000% 60.000% 0.000 1 [a]:1\nGATHER_ND 0.500 0.500 30.000% 90.000% 0.000 1 [b]:2\n"
    rows += "TfLiteXNNPackDelegate 0.100 0.100 10.000% 100.000% 0.000 1 [c]:3\n\n"

    found = delegation([parse(documented("android-gpu-partially")), parse(profile + rows)], "gpu")

    assert found == {"asked": "GPU", "ran": "GPU, XNNPACK", "ops": 559, "outside": {"GATHER_ND": 1, "XNNPACK": 456}, "time_outside": 0.4}


def test_without_a_profile_nothing_is_said_of_operators_outside() -> None:
    found = delegation([parse(documented("android-gpu-partially")), parse("")], "gpu")

    assert (found["outside"], found["time_outside"]) == (None, None)
