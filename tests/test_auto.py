"""`auto:size=…` and `auto:drop=…`: the allocation against all there are, budgets that are kept or refused, and a recipe that can be given again."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from edgekit.allocation import UNTOUCHED, Option, Way, filled, hull, ways
from edgekit.errors import InputError
from edgekit.recipe import parse
from edgekit.records import Artifact, Parity, Variant
from edgekit.verbs.auto import Asked, Spread, Tried, asked, corrected, recipe_of, spaced, toml, within_size
from edgekit.verbs.auto_files import Limit, missed
from tests.lab.cli import edgekit
from tests.lab.onnx_cases import classifier, outputs_for, save

RNG = np.random.default_rng(0)
LAYERS = {
    f"layer{number}": [Option(f"bits{bits}", int(1000 * (number + 1) * (8 - bits)), float(noise)) for bits, noise in zip((6, 4, 3), noises, strict=True)]
    for number, noises in enumerate(np.sort(RNG.exponential(1e-2, (4, 3)), axis=1))
}


def least_noise(saved: int) -> float:
    """By trying all there are."""
    every = itertools.product(*((UNTOUCHED, *options) for options in LAYERS.values()))
    return min(sum(one.noise for one in choice) for choice in every if sum(one.saved_bytes for one in choice) >= saved)


def test_each_way_saves_more_than_the_one_before_and_no_other_does_with_less_noise() -> None:
    path = ways(LAYERS)
    assert (path[0].steps, path[0].saved_bytes) == ({}, 0)
    assert path[-1].steps == dict.fromkeys(LAYERS, "bits3")
    for before, after in itertools.pairwise(path):
        assert after.saved_bytes > before.saved_bytes
        assert after.noise == pytest.approx(least_noise(after.saved_bytes))


@pytest.mark.parametrize("saved", [1500, 9000, 23_000, 31_000])
def test_what_a_way_saves_too_much_is_given_back(saved: int) -> None:
    first = next(way for way in ways(LAYERS) if way.saved_bytes >= saved)
    found = filled(first, LAYERS, saved)
    assert saved <= found.saved_bytes <= first.saved_bytes
    assert least_noise(saved) <= found.noise <= first.noise + 1e-12
    assert found.noise < 1.5 * least_noise(saved)


def test_ways_that_others_beat_are_left_out() -> None:
    worse, refused = Option("prune50", 500, 0.5), Option("prune90", 9000, float("inf"))
    mild, strong = Option("bits8", 1000, 0.1), Option("bits4", 2000, 0.3)
    assert hull([strong, worse, refused, mild]) == [UNTOUCHED, mild, strong]
    assert hull([Option("bits8", 1000, 0.4), strong]) == [UNTOUCHED, strong]


def test_a_budget_is_read() -> None:
    assert asked(parse("auto:drop=0.01+tune")) == Asked(parse("auto:drop=0.01+tune"), "drop", 0.01)
    assert asked(parse("auto:size=.25")).value == 0.25


def test_a_budget_that_cannot_be_met_names_the_nearest_that_can() -> None:
    with pytest.raises(InputError, match=r"the least that this model's layers can be brought to is size=0\.(\d+)") as refused:
        within_size(LAYERS, 60_000, asked(parse("auto:size=0.05")), 60_000)
    nearest = str(refused.value).partition("size=")[2].partition("; ")[0].split("=")[-1]
    assert within_size(LAYERS, 60_000, asked(parse(f"auto:size={nearest}")), 60_000)[0].saved_bytes == ways(LAYERS)[-1].saved_bytes


def test_a_file_that_takes_too_much_is_made_smaller_by_what_it_misses() -> None:
    way = within_size(LAYERS, 60_000, asked(parse("auto:size=0.7")), 60_000)[0]
    right, told = corrected(LAYERS, way, 0.7, {"onnx": (42_000, 60_000)}, "")
    assert (right, told) == (way, "0.700 of the float file's download")
    smaller, told = corrected(LAYERS, way, 0.7, {"onnx": (42_000, 60_000), "tflite": (45_000, 60_000)}, "")
    assert smaller.saved_bytes >= way.saved_bytes + 3000
    assert told.startswith("about 0.6")
    least, told = corrected(LAYERS, way, 0.7, {"onnx": (130_000, 100_000)}, "")
    assert least.steps == ways(LAYERS)[-1].steps
    assert float(told.split()[1]) > 0.7
    assert corrected(LAYERS, way, 0.7, {}, "told before") == (way, "told before")


def made(recipe: str, download: int) -> Variant:
    parity = Parity(0, 0, 1, 99, None, False, False, 1)
    artifact = Artifact("", recipe, "onnx", Path("f.onnx"), "", download, download, ("onnx",), {}, parity, None, ())
    return Variant(recipe, "onnx", "ok", None, artifact, None)


def test_what_a_file_misses_its_budget_by_is_told_with_the_reason() -> None:
    limits = {("auto:size=0.25", "onnx"): Limit(40_000, 0.25, 7_000)}
    (told,) = missed(limits, [made("auto:size=0.25", 11_000), made("w8", 20_000)])
    assert told.startswith(
        "onnx auto:size=0.25 takes 0.275 of its float file's download (11.0 kB of 40.0 kB), 10.0% more than was asked for: about 4.0 kB of it"
    )
    assert missed(limits, [made("auto:size=0.25", 10_000)]) == []


def test_the_recipe_that_is_written_is_the_one_that_is_read(tmp_path: Path) -> None:
    way = Way({"a": "prune80+bits4", "b": "bits8", "c": "prune80+bits8", 'd "quoted"': "bits8", "e": "prune50+bits8"}, 0, 0.0)
    made = recipe_of(parse("auto:size=0.25+tune"), way, [*way.steps, "f"])
    assert made.steps == ("prune80", "bits8", "tune")
    path = tmp_path / "found.toml"
    path.write_text(toml(made, "told"))
    read = parse(str(path))
    assert (read.steps, set(read.layers), read.per_layer) == (made.steps, set(made.layers), True)
    assert set(made.layers) == {("a", "bits4"), ("b", "no-prune"), ('d "quoted"', "no-prune"), ("e", "prune50"), ("f", "none")}


def test_a_drop_counts_what_is_not_known_of_it() -> None:
    tried = Tried(sqnr_db=20, agreement=0.96, top1=0.9, bytes=1, refused=None)
    assert Spread(found=(tried,), top1=0.91, samples=400).drop(tried) == pytest.approx(0.01 + 0.01)
    assert Spread(found=(tried,), top1=None, samples=100).drop(tried) == pytest.approx(0.04 + 0.02)
    assert Spread(found=(), top1=0.9, samples=9).drop(tried.model_copy(update={"agreement": None})) == float("inf")


def test_places_are_spread_evenly() -> None:
    assert spaced(1, 30, 4) == [1, 11, 20, 30]
    assert spaced(3, 4, 8) == [3, 4]
    assert spaced(5, 4, 8) == []


@pytest.mark.toolchain
def test_budgets_are_kept_and_their_recipes_can_be_given_again(tmp_path: Path) -> None:
    made = classifier()
    images = np.random.default_rng(0).normal(size=(200, 1, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", image=images, labels=outputs_for(made, [images])[0].reshape(200, 10).argmax(axis=1))
    argv = ["convert", save(made, tmp_path / "net.onnx"), "--to", "onnx", "--data", tmp_path / "data.npz", "-o", tmp_path / "out", "--json"]
    said = edgekit(*argv, "--recipe", "auto:size=0.4,auto:drop=0.1")
    assert said.code == 0, said.stderr
    small, right = said.json["artifacts"]
    assert (small["recipe"], right["recipe"]) == ("auto:size=0.4", "auto:drop=0.1")
    assert right["accuracy"]["value"] > 0.8
    assert re.search(r"\(0\.(3\d\d|400) of the float file's download\): written to", said.stderr)
    assert " more than was asked for" not in said.stderr
    found = tmp_path / "out/net.auto-size=0.4.toml"
    again = edgekit(*argv, "--recipe", found)
    assert again.code == 0, again.stderr
    assert again.json["artifacts"][0]["sha256"] == small["sha256"]
    assert again.json["artifacts"][0]["path"] == small["path"] == str(tmp_path / "out/net.auto-size=0.4.onnx")
    refused = edgekit(*argv, "--recipe", "auto:size=0.01")
    assert refused.code == 2
    assert "cannot be met: the least that this model's layers can be brought to is size=0." in refused.error
    assert (
        "spread over the layers by what each bears on samples: give some with --data" in edgekit(*argv[:4], "-o", tmp_path, "--recipe", "auto:size=0.4").error
    )
