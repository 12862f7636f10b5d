"""Routes are tried in their order until one gives a file that is right, and the lineage tells what became of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.errors import ConvertError, InputError
from edgekit.model import SOURCES
from edgekit.recipe import Recipe, parse
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import cached
from edgekit.toolchains.workers import script_of
from edgekit.verbs.make import below, make
from edgekit.verbs.source import Source, open_source, refusal_of, refuse_idle, routes_of
from edgekit.verbs.written import Floats, Task
from edgekit.write.format import format_named, formats
from edgekit.write.routes import HUB, ORDER, Route, hub_route, routes_for
from edgekit.write.wishes import Wishes
from tests.lab.tiny import tiny

VERBS = Path(__file__).parent / "lab/verbs"
REFUSED, WRONG, NATIVE = (Route(name, "convert", VERBS / f"write_{name}.py", ("onnx",), native=name == "native") for name in ("refused", "wrong", "native"))
ONNX = format_named("onnx")
FP32 = parse("fp32")


@contextmanager
def source(tmp_path: Path) -> Iterator[Source]:
    with open_source(tiny(tmp_path / "tiny").onnx, {}, None, [FP32], [ONNX], lambda text, fraction: None) as opened:
        yield opened


def test_the_table_names_what_there_is() -> None:
    for (kind, form), routes in ORDER.items():
        assert kind in {one.name for one in SOURCES}
        assert form in formats()
        assert HUB in routes
        for route in routes_for(kind, formats()[form]):
            assert script_of(route.toolchain, route.verb).is_file()
            assert all(toolchain(route.toolchain).version(package) for package in route.tools)
    assert [route.native for route in routes_for("onnx", format_named("tflite"))] == [False]


def test_a_recipe_that_changes_the_hub_cannot_go_around_it() -> None:
    tflite = format_named("tflite")
    assert [route.native for route in routes_of("keras", FP32, tflite, Wishes(route="native"))] == [True]
    pruned = Recipe("prune50+w8", ("prune50", "w8"))
    assert not any(route.native for route in routes_of("keras", pruned, tflite, Wishes()))
    assert routes_of("keras", pruned, tflite, Wishes(route="native")) == []


def test_what_a_format_cannot_be_wished_to_be_is_said_before_any_work() -> None:
    w8a8 = parse("w8a8")
    assert "leave out --route" in str(refusal_of("onnx", FP32, ONNX, Wishes(route="native"), True))
    assert "leave out --layout" in str(refusal_of("onnx", FP32, ONNX, Wishes(layout="nhwc"), True))
    assert "leave out --io" in str(refusal_of("onnx", w8a8, format_named("coreml"), Wishes(io="integer"), True))
    assert refusal_of("onnx", FP32, ONNX, Wishes(io="integer"), True) is None  # a float file has float ends anyway
    assert refusal_of("onnx", w8a8, format_named("tflite"), Wishes(io="integer"), True) is None


@pytest.mark.parametrize(
    ("wishes", "recipes", "formats", "words"),
    [
        (Wishes(io="integer"), ["fp32", "w8"], ["onnx"], "--io integer is for recipes with calibrated activations, not for fp32, w8"),
        (Wishes(calibration="mse"), ["w4"], ["tflite"], "leave out --calibration"),
        (Wishes(keep_float="auto"), ["fp32"], ["tflite", "onnx"], "not for fp32 in TFLite, ONNX"),
        (Wishes(keep_float=40.0), ["fp16"], ["coreml"], "leave out --keep-float"),
        (Wishes(keep_float=40.0), ["fp16"], ["coreml", "onnx"], None),
        (Wishes(io="integer", calibration="mse"), ["fp32", "w8a8"], ["tflite"], None),
        (Wishes(), ["fp32"], ["onnx"], None),
    ],
)
def test_a_wish_that_no_recipe_can_use_is_refused(wishes: Wishes, recipes: list[str], formats: list[str], words: str | None) -> None:
    asked = [parse(name) for name in recipes], [format_named(name) for name in formats], wishes
    if words is None:
        refuse_idle(*asked)
        return
    with pytest.raises(InputError, match=words):
        refuse_idle(*asked)


@pytest.mark.toolchain
def test_a_file_below_the_floor_that_its_quantizer_kept_says_both(tmp_path: Path) -> None:
    with source(tmp_path) as opened:
        task = Task(opened, parse("w8"), ONNX, Wishes(keep_float=25.0))
        (note,) = below(task, 24.04, "8 calibration samples kept aside")
        assert note.startswith("25 dB were asked for and are kept on 8 calibration samples kept aside; on the 4 evaluation samples it is 24.0 dB")
        assert below(task, 25.0, "8 samples") == below(replace(task, wishes=Wishes(keep_float="auto")), 24.0, "8 samples") == []
        beyond = replace(task, recipe=FP32, wishes=Wishes(keep_float=1000.0))
        artifact, _ = make(beyond, [hub_route(ONNX)], Floats(), lambda sha: tmp_path, lambda *_: None)
        assert artifact.notes[-1].startswith("1000 dB were asked for; on the 4 evaluation samples it is ")


@pytest.mark.toolchain
def test_the_next_route_is_taken_where_one_is_refused_or_wrong(tmp_path: Path) -> None:
    with source(tmp_path) as opened:
        artifact, words = make(Task(opened, FP32, ONNX, Wishes()), (REFUSED, WRONG, hub_route(ONNX)), Floats(), lambda sha: tmp_path, lambda *_: None)
    assert words is None
    assert artifact.path == tmp_path / "tiny.fp32.onnx"
    assert artifact.path.exists()
    first, second = artifact.notes[-2:]
    assert first.startswith("refused was left (node 'n' has operator Foo, which this route does not carry")
    assert "wrong was left (" in second
    assert second.endswith("; onnx was taken")
    routes = json.loads((tmp_path / "tiny.fp32.onnx.json").read_text())["routes"]
    assert [(one["name"], one["outcome"] == "taken") for one in routes] == [("refused", False), ("wrong", False), ("onnx", True)]


@pytest.mark.toolchain
def test_where_no_route_is_right_all_are_told_and_nothing_is_delivered(tmp_path: Path) -> None:
    with source(tmp_path) as opened:
        task = Task(opened, FP32, ONNX, Wishes())
        artifact, words = make(task, (REFUSED, WRONG), Floats(), lambda sha: tmp_path, lambda *_: None)
        assert words is not None
        assert words.startswith("node 'n' has operator Foo")
        assert "; tried next: wrong: " in words
        assert artifact.parity is not None
        assert not (tmp_path / "tiny.fp32.onnx").exists()
        again = Route("again", "convert", VERBS / "write_refused.py", ())
        with pytest.raises(ConvertError, match="; tried next: again: the same") as caught:
            make(task, (REFUSED, again), Floats(), lambda sha: tmp_path, lambda *_: None)
        assert (caught.value.op, caught.value.node) == ("Foo", "n")


@pytest.mark.toolchain
def test_a_writer_that_refused_is_not_asked_again_for_the_next_recipe(tmp_path: Path) -> None:
    said: list[str] = []
    with source(tmp_path) as opened:
        floats = Floats()
        for name in ("fp32", "fp16"):
            make(Task(opened, parse(name), ONNX, Wishes()), (REFUSED, hub_route(ONNX)), floats, lambda sha: tmp_path, lambda text, _: said.append(text))
    assert said.count("about to refuse") == 1


@pytest.mark.toolchain
def test_a_native_route_gets_the_model_and_the_boundary(tmp_path: Path) -> None:
    with source(tmp_path) as opened:
        artifact, words = make(Task(opened, FP32, ONNX, Wishes()), (NATIVE,), Floats(), lambda sha: tmp_path, lambda *_: None)
    assert words is None
    assert artifact.route == ("native",)
    assert json.loads(artifact.notes[0]) == {"inputs": ["hub", "model"], "shapes": {"image": [1, 64]}}


@pytest.mark.toolchain
def test_without_the_cache_each_job_is_run_once_more(tmp_path: Path) -> None:
    def writers(wanted: bool) -> list[str]:
        said: list[str] = []
        with cached(wanted), source(tmp_path) as opened:
            for _ in range(2):
                make(Task(opened, FP32, ONNX, Wishes()), (hub_route(ONNX),), Floats(), lambda sha: tmp_path, lambda text, _: said.append(text))
        return [text for text in said if text == "writing ONNX"]

    writers(True)
    assert writers(True) == []
    assert writers(False) == ["writing ONNX"]  # and the second time, what the first has just made
