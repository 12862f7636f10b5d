"""Advice: each rule holds where it should and nowhere else, names its source, and is said before the work, once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.text import Text

from edgekit.advice import Figures, advice, rules
from edgekit.cli.advising import line
from edgekit.recipe import parse
from edgekit.records import Model
from edgekit.verbs.convert import planned
from edgekit.write.format import format_named
from edgekit.write.wishes import Wishes
from tests.lab.cli import edgekit
from tests.lab.onnx_cases import classifier, save

LARGE, SMALL, DEPTHWISE = Figures(4_000_000, 0.0), Figures(19_000, 0.2), Figures(3_500_000, 0.07)


def said(recipe: str, figures: Figures = LARGE, machine: str | None = "x86_64", *formats: str) -> list[str]:
    return [one.rule.id for one in advice([(parse(recipe), name) for name in formats or ("tflite", "onnx")], machine, figures)]


@pytest.mark.parametrize(
    ("recipe", "figures", "machine", "expected"),
    [
        ("fp32", LARGE, "x86_64", []),
        ("w8a8", LARGE, "x86_64", []),
        ("w8a8", SMALL, "x86_64", ["A15"]),
        ("prune50+tune+w8a8", DEPTHWISE, "x86_64", ["A01", "A02"]),
        ("prune50block4+tune", LARGE, "x86_64", []),
        ("prune50", DEPTHWISE, "x86_64", ["A01", "A02", "A11"]),
        ("w8d", LARGE, "x86_64", ["A03"]),
        ("w8d", LARGE, None, ["A03"]),
        ("w8d", LARGE, "aarch64", []),
        ("w4", SMALL, "x86_64", ["A04", "A10", "A15"]),
        ("w4+tune", LARGE, "aarch64", []),
        ("w8a16", LARGE, "x86_64", ["A05"]),
        ("fp16", LARGE, "x86_64", ["A06"]),
        ("lowrank50+tune", LARGE, "x86_64", ["A08"]),
        ("lowrank50+tune", DEPTHWISE, "x86_64", ["A07", "A08"]),
        ("bits2", SMALL, "x86_64", ["A09", "A15"]),
        ("cluster16+tune", LARGE, "x86_64", ["A12"]),
        ("binary", LARGE, "x86_64", ["A13"]),
        ("channels30", LARGE, "x86_64", ["A14"]),
    ],
)
def test_a_rule_holds_where_it_should(recipe: str, figures: Figures, machine: str | None, expected: list[str]) -> None:
    assert said(recipe, figures, machine) == expected


def test_it_is_said_once_for_all_files_that_it_is_about() -> None:
    found = advice([(parse(recipe), name) for recipe in ("cluster16+tune", "cluster16+tune+w8") for name in ("tflite", "coreml")], None, LARGE)
    about = {one.rule.id: one.variants for one in found}
    assert about["A12"] == (("tflite", "cluster16+tune"), ("tflite", "cluster16+tune+w8"))


def test_steps_of_which_the_same_is_known_are_one_line() -> None:
    planned = [(parse(recipe), name) for recipe in ("prune50", "prune80", "channels50+w8") for name in ("tflite", "onnx")]
    files = [(name, recipe.name) for recipe, name in planned]
    lines = {one.rule.id: Text.from_markup(line(one, files)).plain for one in advice(planned, None, DEPTHWISE)}
    cites = {rule.id: rule.cite for rule in rules()}
    assert lines["A01"].startswith("advice A01 prune50, prune80: smaller to download")
    assert lines["A01"].endswith(f" (onnx; {cites['A01']})")
    assert lines["A11"].startswith("advice A11 prune50, prune80 without tuning: ")
    assert lines["A11"].endswith(f" ({cites['A11']})")
    assert lines["A14"].startswith("advice A14 channels50 without tuning: ")
    assert lines["A14"].endswith(f" (channels50+w8; {cites['A14']})")


def test_rules_are_numbered_and_each_has_a_source() -> None:
    assert [rule.id for rule in rules()] == [f"A{number:02}" for number in range(1, len(rules()) + 1)]
    assert all(re.compile(rule.steps) for rule in rules())
    assert all(re.search(r"\b(19|20)\d\d\b|measured: |coremltools|README|arithmetic|not measured here", rule.source) for rule in rules())


def test_every_rule_is_explained() -> None:
    sections = edgekit("explain", "advice", "--json").json["sections"]
    assert [section["name"].split()[0] for section in sections] == [rule.id for rule in rules()]
    assert "said in tflite, on x86_64" in sections[2]["facts"]
    assert sections[2]["name"] == "A03  w8d, in tflite, on x86_64"
    assert not [section["name"] for section in sections if set(section["name"]) & set("\\[]|*?+")]


@pytest.mark.toolchain
def test_convert_and_deploy_say_it_before_they_begin_unless_told_not_to(tmp_path: Path) -> None:
    network = save(classifier(), tmp_path / "net.onnx")
    argv = ["convert", network, "--to", "onnx", "--recipe", "w8", "-o", tmp_path]
    before = edgekit(*argv, "--json")
    assert "advice A15 w8: less is saved than the bits say, as the model has few parameters" in before.stderr
    assert before.json["artifacts"][0]["status"] == "ok"
    assert "advice" not in edgekit(*argv, "--no-advice").stderr
    deployed = edgekit("deploy", network, "--target", "local", "--to", "onnx", "--recipe", "w8")
    assert deployed.stderr.count("advice A15") == 1


def test_files_that_are_refused_have_no_advice(tmp_path: Path) -> None:
    hub = tmp_path / "hub.onnx"
    hub.write_bytes(b"small")
    model = Model(hub, "onnx", "", hub, "", (), ())
    formats = [format_named(name) for name in ("tflite", "coreml", "onnx")]
    recipes = [parse(name) for name in ("prune50+w8d", "w8", "prune50+tune", "w8a8")]

    made = planned(model, recipes, formats, Wishes(), False)

    assert [f"{fmt.name} {recipe.name}" for recipe, fmt in made] == ["tflite prune50+w8d", "onnx prune50+w8d", "tflite w8", "coreml w8", "onnx w8"]
    hub.write_bytes(bytes(101))
    assert planned(model, [parse("w8")], [replace(formats[0], most_bytes=100)], Wishes(), False) == []
