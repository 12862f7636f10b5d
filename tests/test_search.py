"""`edgekit search`: trials on this machine, kept and gone on with; what is shown of them; what a budget allows; what is tried first."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.device import resolve
from edgekit.errors import DeviceError, EdgekitError, InputError, InUse
from edgekit.recipe import Recipe, parse
from edgekit.records import Accuracy, Memory
from edgekit.store import open_store
from edgekit.toolchains.jobs import Progress
from edgekit.transport import connect
from edgekit.verbs.deploy import Deployment, deploy
from edgekit.verbs.search import Search, Weighing, next_start, once_free, search, tuned_before, values_of
from edgekit.verbs.search_budget import Budget, is_outgrown
from edgekit.verbs.search_front import WORSE, Floor, Tried, floor, front
from edgekit.verbs.search_space import FIRST, Given, Space, parameters, tuned_part
from edgekit.verbs.search_study import Begun
from edgekit.workbench import Bench
from edgekit.write.format import Format, format_named
from tests.conftest import missing
from tests.lab.cli import edgekit
from tests.lab.onnx_cases import classifier, outputs_for, save
from tests.lab.runs import run, variant

MS = 1_000_000


@pytest.fixture
def optuna() -> None:
    if importlib.util.find_spec("optuna") is None:
        missing("optuna", "run `pip install -e '.[dev]'`")


ANY = Floor(0.0, labelled=True)


def one(
    number: int,
    quality: float,
    p50_ms: float,
    download: int,
    peak: int = 60_000_000,
    recipe: str = "w8",
    seconds: float = 1.0,
    n: int = 1000,
    emulated: bool = False,
) -> Tried:
    """A trial on `n` samples, its p50 known to 1 %; the model itself is right in 98 %."""
    p50_ns = round(p50_ms * MS)
    made = variant(recipe, "onnx", p50_ns, download, spread_ns=p50_ns // 100, accuracy=Accuracy("top1", quality, 0.98, n), emulated=emulated)
    assert made.measurement is not None
    made = replace(made, measurement=replace(made.measurement, memory=Memory(peak, None)))
    return Tried(number, recipe, "onnx", values_of(made, True)[0], None, seconds, None, None, made)


def test_the_front_holds_what_is_better_in_something() -> None:
    best, small, worse, equal = one(0, 0.98, 40, 100), one(1, 0.95, 60, 30), one(2, 0.94, 60, 30), one(3, 0.98, 40, 100)
    failed = Tried(4, "w2", "onnx", None, "no", 1.0, None)
    found = front([worse, equal, small, failed, best], ANY)
    assert found.shown == (best, small)
    assert found.left_out == {2: WORSE, 3: WORSE}
    assert front([worse], ANY).shown == (worse,)
    less_memory = one(5, 0.94, 60, 31, peak=50_000_000)
    assert less_memory in front([small, less_memory], ANY).shown


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        (one(1, 0.983, 60, 31), False),  # three samples of 1,000 more: the standard error of 98.3 % is 0.4 points
        (one(1, 0.987, 60, 31), True),
        (one(1, 0.980, 59, 31), False),  # the intervals of 59 and 60 ms ± 1 % overlap
        (one(1, 0.980, 50, 31), True),
        (one(1, 0.980, 50, 31, emulated=True), False),
        (one(1, 0.980, 60, 31, peak=58_000_000), False),  # 3 % of memory
        (one(1, 0.980, 60, 31, peak=50_000_000), True),
        (one(1, 0.900, 90, 29), True),
    ],
)
def test_what_is_better_within_noise_only_is_left_out(other: Tried, shown: bool) -> None:
    found = front([one(0, 0.980, 60, 30), other], ANY)
    assert (other in found.shown) == shown


def test_nobody_takes_a_slower_file_for_a_hundredth_of_its_download() -> None:
    small, quick = one(0, 0.98, 60, 3000), one(1, 0.98, 50, 3030)
    assert front([small, quick], ANY).shown == (quick,)
    assert front([small, quick, one(2, 0.99, 60, 3060)], ANY).shown == (quick, one(2, 0.99, 60, 3060))
    chain = [one(0, 0.98, 60, 3000), one(1, 0.98, 50, 3080), one(2, 0.98, 40, 3160)]  # the last is clearly larger than the first
    assert [other.number for other in front(chain, ANY).shown] == [2, 0]


def test_of_few_samples_one_more_is_no_difference_even_where_all_are_right() -> None:
    all_right, one_wrong = one(0, 1.0, 60, 31, n=40), one(1, 0.975, 60, 30, n=40)
    assert front([all_right, one_wrong], ANY).shown == (one_wrong,)


def test_nothing_near_guessing_or_far_below_the_model_is_shown() -> None:
    good, poor = one(0, 0.97, 60, 30), one(1, 0.87, 10, 10)
    assert front([good, poor], floor(0.98, 10)).left_out == {1: "below 88.0% of accuracy"}
    assert front([good, poor], floor(0.98, 10, most_lost_points=20)).left_out == {}
    assert floor(0.98, 10, most_lost_points=100).least == pytest.approx(0.54)  # half way to one in ten
    assert floor(0.58, 2).least == pytest.approx(0.54)
    assert floor(None, 10).words == "below 10 dB"
    assert Weighing(labelled=True).floor([]) is None
    assert Weighing(labelled=True, classes=10).floor([good]) == floor(0.98, 10)


def test_what_is_recommended_is_shown_whatever_else_is() -> None:
    chosen, smaller = one(0, 0.974, 60, 31), one(1, 0.972, 60, 30)
    assert front([chosen, smaller], ANY).shown == (smaller,)
    assert len(front([chosen, smaller], ANY, recommended=chosen).shown) == 2


def test_no_trial_is_begun_that_would_end_too_late() -> None:
    slow, tuned = one(3, 1, 1, 1, seconds=70), one(4, 1, 1, 1, recipe="prune50+tune", seconds=60)
    known = [slow, one(0, 1, 1, 1, seconds=9), one(1, 1, 1, 1, seconds=10), tuned, one(5, 1, 1, 1, recipe="prune50+tune+w8", seconds=10)]
    budget = Budget(100, None)
    assert budget.over(5, 89, known) is None
    assert budget.over(5, 91, known) == "the next trial would not end within 100 s by what earlier ones took"
    assert Budget(None, 3).over(3, 1e9, known) == "3 trials"
    assert Budget(None, None).over(3, 1e9, known) is None


def test_a_tuning_takes_a_fifth_of_what_is_left() -> None:
    known, budget = [one(0, 1, 1, 1, seconds=10)], Budget(100, None)
    assert budget.tune_s(88.0, known) == 8  # it is expected to take twice as long as it is told
    assert budget.tune_s(88.0, known, before=30.0) == 30  # its result is there
    assert budget.tune_s(20.0, known) == 2
    tuned = replace(one(1, 1, 1, 1, recipe="prune50+tune", seconds=50), tune_s=10.0)
    again = replace(one(2, 1, 1, 1, recipe="prune50+tune+w8", seconds=10), tune_s=10.0)
    assert budget.tune_s(88.0, [*known, tuned, again]) == 4  # the first took four times as long
    assert Budget(100, None, each_tuning_s=40.0).tune_s(88.0, known, before=30.0) == 40
    assert Budget(None, 3).tune_s(None, known) is None


def test_what_was_tuned_briefly_is_tried_again_with_more_time() -> None:
    tuned = replace(one(1, 1, 1, 1, recipe="prune50+tune"), tune_s=10.0)
    assert is_outgrown(tuned, 40.0)
    assert not is_outgrown(tuned, 39.0)
    assert not is_outgrown(tuned, None)
    assert not is_outgrown(one(1, 1, 1, 1), 40.0)
    assert not is_outgrown(replace(tuned, values=None), 40.0)


def test_nothing_is_tuned_that_would_end_too_late_or_to_no_effect() -> None:
    known, budget = [one(0, 1, 1, 1, seconds=10)], Budget(100, None)
    assert budget.may_tune(60, known)
    assert not budget.may_tune(49, known)  # five seconds are the least
    assert not budget.may_tune(60, [one(0, 1, 1, 1, seconds=51)])
    assert not Budget(100, None, each_tuning_s=40.0).may_tune(85, known)
    assert Budget(100, None, each_tuning_s=40.0).may_tune(95, known)
    assert Budget(None, 3).may_tune(None, known)


def test_what_is_known_to_be_good_comes_first_and_goes_on_where_it_was() -> None:
    onnx = format_named("onnx")
    space = Space([onnx, format_named("tflite")], calibrated=True, tuned=True)
    starts = list(space.first())
    named = [space.suggest(Given(start), may_tune=True) for start in starts]
    assert [(name, fmt.name) for name, fmt in named[:4]] == [("fp32", "onnx"), ("fp32", "tflite"), ("channels50+tune", "onnx"), ("channels50+tune", "tflite")]
    assert [name for name, fmt in named if fmt is onnx] == list(FIRST)
    assert next_start(starts, space, {}, may_tune=True) == parameters("fp32", onnx)
    plain = {(name, fmt.name): one(0, 1, 1, 1) for name, fmt in named if not tuned_part(name)}
    assert next_start(starts, space, plain, may_tune=True) == parameters("channels50+tune", onnx)
    assert next_start(starts, space, plain, may_tune=False) is None
    known = [replace(one(0, 1, 1, 1, recipe="channels50+tune"), tune_s=40.0)]
    assert next_start(starts, space, {**plain, ("channels50+tune", "onnx"): known[0]}, may_tune=False) == parameters("channels50+tune", format_named("tflite"))
    assert tuned_before("channels50+tune+w8a8", known, [Begun("w4+tune", "onnx", 30.0)], 10.0) == 40
    assert tuned_before("w4+tune", known, [Begun("w4+tune", "onnx", 30.0)], 30.0) == 30
    assert tuned_before("w4+tune", known, [Begun("w4+tune", "onnx", 30.0)], 29.0) is None  # it was cut off, and there is no longer so much time
    assert tuned_before("channels30+tune", known, [], None) is None


def test_without_data_to_train_with_nothing_is_tuned() -> None:
    space = Space([format_named("onnx")], calibrated=True, tuned=False)
    assert [space.suggest(Given(start), may_tune=True)[0] for start in space.first()] == [name for name in FIRST if "tune" not in name]


def test_a_device_that_another_has_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.verbs.search.ASK_AGAIN_S", 0.0)
    asked: list[str] = []

    def attempt(*_: object) -> object:
        asked.append("once")
        if len(asked) < 3:
            raise InUse("local:", "in use by ml@laptop")
        return "done"

    waiting = once_free(attempt, until=1e12)  # type: ignore[arg-type]
    assert waiting(parse("w8"), format_named("onnx"), None, lambda *_: None) == "done"  # type: ignore[comparison-overlap]
    del asked[:]
    with pytest.raises(InUse):
        once_free(attempt, until=0.0)(parse("w8"), format_named("onnx"), None, lambda *_: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"numbers onnx": "fp32"}, "fp32"),
        ({"numbers onnx": "w8", "zeros": "prune", "prune": 50}, "prune50+tune+w8"),
        ({"numbers onnx": "fp32", "zeros": "prune", "prune": 50}, "prune50+tune"),
        ({"numbers onnx": "w8a8", "shapes": "channels", "channels": 30}, "channels30+tune+w8a8"),
        ({"numbers onnx": "w8a8", "shapes": "channels", "channels": 30, "tune": "after"}, "channels30+w8a8+tune"),
        ({"numbers onnx": "w8d", "values": "cluster", "cluster": 16, "tune": "after"}, "cluster16+tune+w8d"),
        ({"numbers onnx": "w4", "learn": "yes"}, "w4+tune"),
    ],
)
def test_choices_spell_recipes_that_make_sense(chosen: dict[str, object], expected: str) -> None:
    given = Given({"format": "onnx", "learn": "no", **chosen})
    space = Space([format_named("onnx")], calibrated=True, tuned=True)
    name, fmt = space.suggest(given, may_tune=True)
    assert (name, fmt.name) == (expected, "onnx")
    assert parse(name).steps == tuple(expected.split("+"))
    assert "tune" not in space.suggest(given, may_tune=False)[0]


class Device:
    """In the place of `deploy`: what each recipe comes to is given, and what was asked for is kept."""

    def __init__(self, comes_to: Callable[[str], float | EdgekitError]) -> None:
        self.comes_to = comes_to
        self.asked: list[str] = []

    def __call__(self, recipe: Recipe, fmt: Format, tune_s: float | None, say: Progress) -> Deployment:
        self.asked.append(recipe.name)
        quality = self.comes_to(recipe.name)
        if isinstance(quality, EdgekitError) and not isinstance(quality, DeviceError):
            raise quality
        made = one(0, 0 if isinstance(quality, DeviceError) else quality, 40, 1000, recipe=recipe.name).variant
        assert made is not None
        if isinstance(quality, DeviceError):  # as `deploy` has it
            made = replace(made, status="failed", error=str(quality), measurement=None)
        done = run(f"{time.monotonic_ns()}", made, profile=None)
        with open_store() as store:
            store.begin(done)
            store.finish(done)
        return Deployment(done, 0, 0.1, 0.1, 0.0, whole=True)

    def search(self, trials: int, space: Space) -> Search:
        return search("made-up", space, self, Budget(None, trials), Weighing(True, 10, 10.0), time.monotonic(), lambda *_: None)


@pytest.mark.slow
def test_what_failed_is_tried_again_only_if_the_device_failed_it(optuna: None) -> None:
    space = Space([format_named("onnx")], calibrated=False, tuned=False)
    results: dict[str, float | EdgekitError] = {"w8": InputError("refused"), "fp16": DeviceError("local:", "no space left")}
    device = Device(lambda name: results.get(name, 0.98))
    found = device.search(3, space)
    assert device.asked == ["fp32", "w8", "fp16"]
    assert [(tried.error, tried.device_failed) for tried in found.trials] == [(None, False), ("refused", False), ("local: no space left", True)]
    assert device.search(1, space).new == 1
    assert device.asked[3:] == ["fp16"]
    del results["fp16"]
    found = device.search(1, space)
    assert device.asked[4:] == ["fp16"]
    assert [(tried.recipe, tried.error) for tried in found.trials] == [("fp32", None), ("w8", "refused"), ("fp16", None)]


@pytest.mark.slow
def test_a_search_learns_from_what_is_refused(optuna: None) -> None:
    refused = re.compile("lowrank|cluster")  # two thirds of what there is
    device = Device(lambda name: InputError("too little is left") if refused.search(name) else 0.98)
    device.search(36, Space([format_named("onnx")], calibrated=True, tuned=False))
    assert len(set(device.asked)) == 36
    assert sum(refused.search(name) is not None for name in device.asked[20:]) <= 8


@pytest.mark.slow
def test_a_search_does_not_end_where_the_sampler_keeps_to_what_is_best(optuna: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.verbs.search.STUCK", 3)
    monkeypatch.setattr("edgekit.verbs.search.STALE", 8)
    monkeypatch.setattr("edgekit.verbs.search_study.STARTUP_TRIALS", 4)
    device = Device(lambda name: 0.98 - 0.2 * name.count("+"))  # all but the six plain ones are below the floor
    assert device.search(40, Space([format_named("onnx")], calibrated=True, tuned=False)).stopped == "40 trials"


def test_without_samples_nothing_is_calibrated() -> None:
    assert "w8a8" not in Space([format_named("onnx")], calibrated=False, tuned=False).numbers(format_named("onnx"))


def test_accuracy_needs_labels(tmp_path: Path) -> None:
    save(classifier(), tmp_path / "net.onnx")
    np.savez(tmp_path / "plain.npz", image=np.zeros((40, 1, 1, 8, 8), np.float32))
    for argv in ([], ["--data", tmp_path / "plain.npz"]):
        said = edgekit("search", tmp_path / "net.onnx", "--target", "local", *argv)
        assert said.code == 2
        assert "give --data with them, or judge by --parity" in said.error
    assert "is not a length of time" in edgekit("search", tmp_path / "net.onnx", "--target", "local", "--parity", "--budget", "soon").error


@pytest.mark.toolchain
def test_whoever_wants_the_device_meanwhile_is_told_of_the_search(tmp_path: Path) -> None:
    told: list[str] = []

    def another(_: object) -> None:
        with connect("local:") as transport, pytest.raises(InUse) as refused:
            Bench.open(transport, resolve("local"), verb="bench")
        told.append(str(refused.value))
        raise InputError("that was all")

    asked = (save(classifier(), tmp_path / "net.onnx"), resolve("local"), [parse("fp32")], [format_named("onnx")])
    for name in ("0123456789abcdef", None):
        with pytest.raises(InputError, match="that was all"):
            deploy(*asked, opened=another, search=name, progress=lambda *_: None)
    assert ["(edgekit search)" in told[0], "(edgekit deploy)" in told[1]] == [True, True]


@pytest.mark.toolchain
def test_a_search_is_kept_and_goes_on_where_it_was(tmp_path: Path, optuna: None) -> None:
    made = classifier()
    images = np.random.default_rng(0).normal(size=(104, 1, 1, 8, 8)).astype(np.float32)
    labels = outputs_for(made, [images])[0].reshape(104, 10).argmax(axis=1)
    np.savez(tmp_path / "data.npz", image=images[:40], labels=labels[:40])
    np.savez(tmp_path / "train.npz", image=images[40:], labels=labels[40:])
    argv: list[object] = ["search", save(made, tmp_path / "net.onnx"), "--target", "local", "--to", "onnx", "--data", tmp_path / "data.npz"]
    argv += ["--train", tmp_path / "train.npz", "--epochs", 2, "--drop", 100]

    first = edgekit(*argv, "--trials", 1, "--json")
    assert first.code == 0, first.stderr
    (plain,) = first.json["trials"]
    assert (plain["recipe"], plain["status"], plain["quality"], plain["on_front"]) == ("fp32", "ok", 1.0, True)
    assert plain["p50_ns"] > 0
    assert first.json["recommended"]["commands"][0] == f"edgekit package {plain['run']} --platform generic -o DIR"

    (row,) = edgekit("runs", "list", "--json").json["runs"]
    assert (row["id"], row["search"]) == (plain["run"], first.json["search"])

    plot = tmp_path / "front.svg"
    more = edgekit(*argv, "--trials", 1, "--plot", plot, "--json")
    assert more.code == 0, more.stderr
    told = more.json
    assert [(one["recipe"], one["status"]) for one in told["trials"]] == [("fp32", "ok"), ("channels50+tune", "ok")]
    assert (told["new"], told["stopped"]) == (1, "1 trial")
    earlier = told["trials"][0]
    assert earlier == {**plain, "on_front": earlier["on_front"], "left_out": earlier["left_out"]}
    assert {(one["recipe"], one["run"]) for one in told["front"]} == {(one["recipe"], one["run"]) for one in told["trials"] if one["on_front"]}
    assert re.search(r"onnx (fp32|channels50\+tune): ", plot.read_text())
