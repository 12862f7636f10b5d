"""What is shown of runs: the list tells them apart, a run says how it was measured, how sure p50 is, and whether it is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.agent import Delegation
from edgekit.cli.remarks import cores_text, how_measured, interval_text
from edgekit.measurement import left_out
from edgekit.records import Choice, Run, Variant
from edgekit.store import open_store
from tests.lab.cli import edgekit
from tests.lab.runs import broken, latency, run, variant

ID = "20261122-014235-k3f9"
NOT_FINISHED = "not finished: still going, or cut off; if it was cut off, repeat the command, and it goes on with what is missing"


def keep(given: Run, *, whole: bool = True) -> None:
    with open_store() as store:
        store.begin(given)
        store.finish(given, whole=whole)


def held(given: Variant, **conditions: object) -> Variant:
    """The same variant, measured under other conditions."""
    assert given.measurement is not None
    return replace(given, measurement=replace(given.measurement, conditions=replace(given.measurement.conditions, **conditions)))  # type: ignore[arg-type]


FP32, W8 = variant("fp32", "tflite", 4_000_000, 10), variant("w8", "onnx", 1_600_000, 5)
LITERT = {"runtime": "LiteRT", "runtime_version": "2.3.0", "runner": "native", "cores_asked": "all"}
ONNX = {**LITERT, "runtime": "ONNX Runtime", "runtime_version": "1.31.1"}


@pytest.mark.parametrize("columns", ["10", "60", "120"])
def test_the_list_has_every_id_whole(columns: str) -> None:
    keep(replace(run(ID, FP32), device_name="a-device-with-a-long-name", model_path="/models/[a]-network-with-a-long-name.onnx"))
    row = edgekit("runs", "list", COLUMNS=columns).stdout.splitlines()[1]
    assert row.split()[0] == ID
    if columns == "120":
        assert "[a]-network" in row


def test_the_list_tells_benches_apart_from_choices() -> None:
    keep(run("1", W8))
    keep(run("2", W8, FP32, chosen=Choice("w8", "onnx", "the fastest")))
    keep(run("3", W8, FP32))
    keep(run("4", FP32), whole=False)
    said = edgekit("runs", "list")
    unfinished, several, chosen, alone = (line.split("ok", 1)[1].split() for line in said.stdout.splitlines()[1:])
    assert alone == ["onnx", "w8", "1.60", "ms"]
    assert chosen == ["→", "onnx", "w8", "1.60", "ms"]
    assert several == ["—", "—"]
    assert unfinished == ["tflite", "fp32", "not", "finished", "4.00", "ms"]


def test_the_list_has_one_line_for_a_search() -> None:
    keep(run("0", FP32))
    keep(replace(run("1", FP32), started_utc="2026-11-22T01:00:00Z", search="0123456789abcdef"))
    keep(replace(run("2", broken("w8", "onnx")), search="0123456789abcdef"))
    keep(replace(run("3", W8), search="0123456789abcdef"))
    said = edgekit("runs", "list")
    search, alone = said.stdout.splitlines()[1:]
    assert search.split() == ["search", "01234567", "2026-11-22T01:00:00Z", "Tiny", "Net.onnx", "local", "2", "of", "3", "ok", "3", "trials", "—"]
    assert alone.split()[0] == "0"
    assert said.stderr == "the trials of a search: edgekit runs list --search 01234567\n"
    assert [line.split()[0] for line in edgekit("runs", "list", "--search", "01234567").stdout.splitlines()[1:]] == ["3", "2", "1"]
    assert [(one["id"], one["search"]) for one in edgekit("runs", "list", "--limit", 2, "--json").json["runs"]] == [(name, "0123456789abcdef") for name in "32"]
    assert edgekit("runs", "show", "3", "--json").json["search"] == "0123456789abcdef"
    assert edgekit("runs", "show", "3").stdout.splitlines()[0].endswith("  run 3 of search 01234567")
    assert edgekit("runs", "show", "last").stdout.splitlines()[0].endswith("  run 0")


@pytest.mark.parametrize(("columns", "variant_told"), [("60", "tflite channels60+prune30+…"), ("80", "tflite channels60+prune30+cluster8+w8d")])
def test_variants_lose_their_ends_where_nothing_else_can_give_way(columns: str, variant_told: str) -> None:
    keep(replace(run(ID, variant("channels60+prune30+cluster8+w8d", "tflite", 47_200, 10), broken("w8", "onnx")), search="0123456789abcdef"))
    said = edgekit("runs", "list", "--search", "01234567", COLUMNS=columns)
    assert said.stdout.splitlines()[1] == f"{ID}    {variant_told}  47.2 µs"


def test_as_json_what_was_only_measured_is_not_called_chosen() -> None:
    keep(run("1", W8))
    keep(run("2", W8, chosen=Choice("w8", "onnx", "the fastest")))
    rows = edgekit("runs", "list", "--json").json["runs"]
    assert [(row["recipe"], row["p50_ns"], row["chosen"]) for row in rows] == [("w8", 1_600_000, True), ("w8", 1_600_000, False)]


def test_a_run_says_how_it_was_measured_below_its_heading() -> None:
    keep(replace(run(ID, held(FP32, **LITERT), held(W8, **ONNX), profile="pixel-7"), emulated=True))
    head, how, _, row = edgekit("runs", "show", ID).stdout.splitlines()[:4]
    assert head == f"Tiny Net.onnx on local (emulated processor, profile pixel-7)  run {ID}"
    assert how == "quick · native runner · 1 thread · all cores · LiteRT 2.3.0, ONNX Runtime 1.31.1"
    assert "4.00 ms  3.99–4.01 ms" in row


def test_interval_goes_first_on_a_narrow_terminal() -> None:
    keep(run(ID, FP32))
    said = edgekit("runs", "show", ID, COLUMNS="100")
    assert said.stderr.splitlines() == ["not shown for want of width: 95 % of p50 (--json has everything)", "tflite fp32: a note"]


def test_where_variants_differ_each_value_names_its_own() -> None:
    given = run(ID, held(FP32, **LITERT, threads=4), held(W8, **LITERT, runtime_build="another"), broken("w8a8", "onnx"))
    assert how_measured(given) == (
        "quick · native runner · 4 threads (tflite fp32), 1 thread (onnx w8) · all cores · LiteRT 2.3.0"
        " · glibc wheel, linux x86_64 (tflite fp32), another (onnx w8)"
    )
    assert how_measured(run(ID, broken("w8", "onnx"))) == ""


def test_the_users_own_benchmark_model_is_called_so() -> None:
    assert how_measured(run(ID, held(FP32, **{**LITERT, "runner": "benchmark_model"}))).startswith("quick · benchmark_model · ")


@pytest.mark.parametrize(
    ("asked", "cores", "text"),
    [
        ("all", (0, 1), "all cores"),
        ("big", (6, 7), "big cores (6, 7)"),
        ("0xf0", (4, 5), "cores 4, 5"),
        ("3", (3,), "core 3"),
        ("", (), ""),
        ("", (0,), "core 0"),
    ],
)
def test_cores_as_asked_and_which_they_are(asked: str, cores: tuple[int, ...], text: str) -> None:
    assert cores_text(asked, cores) == text


def test_an_interval_has_its_two_ends() -> None:
    assert interval_text(replace(latency(13_000), p50_low_ns=12_900, p50_high_ns=13_800)) == "12.9–13.8 µs"
    assert interval_text(replace(latency(1_000_000), p50_low_ns=990_000, p50_high_ns=1_100_000)) == "990 µs–1.10 ms"
    assert interval_text(replace(latency(13_000), p50_low_ns=None, p50_high_ns=None)) == "—"
    assert interval_text(None) == "—"


def test_a_run_that_is_not_finished_says_how_it_goes_on() -> None:
    keep(run("a", FP32, W8), whole=False)
    keep(run("b", FP32, W8))
    cut, whole = edgekit("runs", "show", "a"), edgekit("runs", "show", "b")
    assert cut.stdout.splitlines()[-1] == NOT_FINISHED
    assert "nothing to ship" not in cut.stdout
    assert NOT_FINISHED not in whole.stdout
    assert "nothing to ship" in whole.stdout


def test_as_json_a_run_says_whether_it_is_over() -> None:
    keep(run("a"), whole=False)
    keep(run("b"))
    assert [edgekit("runs", "show", name, "--json").json["finished"] for name in "ab"] == [False, True]


def test_before_the_first_variant_there_is_no_table() -> None:
    keep(run("a"), whole=False)
    assert edgekit("runs", "show", "a").stdout.splitlines()[1:] == [NOT_FINISHED]


def test_what_no_delegate_took_is_not_outside_of_one() -> None:
    ops = {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 4, "ADD": 4, "MEAN": 3}
    told = left_out(Delegation(asked="XNNPACK", ran="none", ops=16, outside=ops))
    assert told == "no delegate: the runtime's own kernels compute all 16 ops (5 CONV_2D, 4 DEPTHWISE_CONV_2D, 4 ADD, …)"
    assert left_out(Delegation(asked="XNNPACK", ran="XNNPACK", ops=16, outside={"ADD": 4})) == "4 of 16 ops outside XNNPACK (4 ADD)"
    assert left_out(Delegation(asked="XNNPACK", ran="XNNPACK", ops=16, outside={})) is None
